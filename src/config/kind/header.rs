//! Kinds that are header fields.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Describe, Kind, Written};
use crate::config::reader::Reader;
use crate::config::tree::{Node, Value};

/// A header field that is the operator's to change, in lower case.
pub(in crate::config) struct FieldName;

impl Describe for FieldName {
    fn words(&self) -> String {
        "header field name".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<Arc<str>> for FieldName {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Arc<str>> {
        let text = reader.text(node, "write a header field name")?;
        match check_field_name(&text) {
            Ok(()) if text.eq_ignore_ascii_case("host") => {
                reader.wrong(node, "every request needs it", "leave it out");
                None
            }
            Ok(()) => Some(text.to_ascii_lowercase().into()),
            Err(what) => {
                reader.wrong(node, what, "leave it out");
                None
            }
        }
    }

    fn write(&self, value: &Arc<str>) -> Written {
        Written::Text(value.to_string())
    }
}

/// Header fields and their values, in file order.
pub(in crate::config) struct Fields;

impl Describe for Fields {
    fn words(&self) -> String {
        "table of header fields".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "object", "additionalProperties": { "type": "string" } })
    }
}

impl Kind<Vec<(Arc<str>, Arc<str>)>> for Fields {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Vec<(Arc<str>, Arc<str>)>> {
        let Value::Table(table) = &node.value else {
            reader.wrong_type(node, r#"write { X-App = "chat" }"#);
            return None;
        };
        let errors = reader.errors.count();
        let mut fields: Vec<(Arc<str>, Arc<str>)> = Vec::with_capacity(table.entries.len());
        let mut seen = HashSet::new();
        for entry in &table.entries {
            reader.within(&entry.name, |reader| {
                if let Err(what) = check_field_name(&entry.name) {
                    reader.wrong_at(&entry.place, what, "leave it out");
                }
                if !seen.insert(entry.name.to_ascii_lowercase()) {
                    reader.wrong_entry(entry, "is set twice", "case does not matter");
                }
                let expected = r#"write a string such as "chat""#;
                if let Some(value) = reader.text(&entry.node, expected) {
                    reader.keeps_secret(&entry.node, &value);
                    if !is_field_value(&value) {
                        // The value may be a secret, so it is not shown.
                        reader.wrong_at(
                            &entry.node.place,
                            "not a header value",
                            "one line of text",
                        );
                    }
                    fields.push((entry.name.as_str().into(), value.into()));
                }
            });
        }
        (reader.errors.count() == errors).then_some(fields)
    }

    fn write(&self, value: &Vec<(Arc<str>, Arc<str>)>) -> Written {
        let field = |(name, value): &(Arc<str>, Arc<str>)| {
            let written = if is_secret_name(name) {
                Written::Secret
            } else {
                Written::Text
            };
            (name.to_string(), written(value.to_string()))
        };
        Written::Inline(value.iter().map(field).collect())
    }
}

/// Whether a header field's value is nobody's business.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [
        "auth",
        "cookie",
        "token",
        "secret",
        "key",
        "pass",
        "credential",
        "signature",
    ]
    .iter()
    .any(|word| name.contains(word))
}

/// RFC 9110 section 5.1; what belongs to the connection or the handshake is the proxy's own.
fn check_field_name(name: &str) -> Result<(), &'static str> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("not a header field name");
    }
    let name = name.to_ascii_lowercase();
    if PROXYS_OWN_FIELDS.contains(&name.as_str()) || name.starts_with("sec-websocket-") {
        return Err("belongs to the connection, which the proxy keeps itself");
    }
    Ok(())
}

fn is_field_value(value: &str) -> bool {
    value.trim_matches([' ', '\t']) == value
        && !value.bytes().any(|b| b.is_ascii_control() && b != b'\t')
}

const PROXYS_OWN_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_fields_are_not_the_operators() {
        assert!(check_field_name("X-App").is_ok());
        for name in ["Upgrade", "sec-websocket-key", "TE", "a b", ""] {
            assert!(check_field_name(name).is_err(), "{name}");
        }
    }
}
