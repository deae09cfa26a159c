//! Kinds that are parts of HTTP: hosts, paths, origins, header fields.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::address::is_host_name;
use super::text::Text;
use super::{Describe, Kind, Written};
use crate::config::reader::Reader;
use crate::config::tree::{Node, Value};
use crate::logic::request::OriginRule;
use crate::logic::route::{HostPattern, PathPattern};

/// `ws.example.com` or `*.example.com`.
pub(in crate::config) struct Host;

impl Describe for Host {
    fn words(&self) -> String {
        "host name, or `\"*.example.com\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<HostPattern> for Host {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<HostPattern> {
        let instead = r#"write "ws.example.com" or "*.example.com", without a port"#;
        let text = reader.text(node, instead)?;
        let pattern = host_pattern(&text);
        if pattern.is_none() {
            let instead = if text == "*" {
                "leave host out for any host"
            } else {
                instead
            };
            reader.wrong(node, "not a host", instead);
        }
        pattern
    }

    fn write(&self, value: &HostPattern) -> Written {
        Written::Text(written_host(value))
    }
}

/// A host as it is written.
pub(in crate::config) fn written_host(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.to_string(),
        HostPattern::Suffix(suffix) => format!("*{suffix}"),
    }
}

/// `/ws`, everything below it too, or `=/ws` alone.
pub(in crate::config) struct Path;

impl Describe for Path {
    fn words(&self) -> String {
        "path, or `\"=/ws\"` for that path alone".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": r"^=?/|\$\{" })
    }
}

impl Kind<PathPattern> for Path {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<PathPattern> {
        let instead = r#"write "/ws" or "=/ws""#;
        let text = reader.text(node, instead)?;
        let (exact, path) = match text.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, text.as_str()),
        };
        if let Err(what) = check_path(path) {
            reader.wrong(node, what, instead);
            return None;
        }
        Some(if exact {
            PathPattern::Exact(path.into())
        } else {
            PathPattern::Prefix(path.into())
        })
    }

    fn write(&self, value: &PathPattern) -> Written {
        Written::Text(written_path(value))
    }
}

/// A path as it is written.
pub(in crate::config) fn written_path(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Prefix(path) => path.to_string(),
        PathPattern::Exact(path) => format!("={path}"),
    }
}

/// A path in the one form that routes see.
pub(in crate::config) const PLAIN_PATH: Text = Text {
    words: "path",
    example: "/live",
    accepts: |text| check_path(text).is_ok(),
};

/// A path with or without a query, as a probe asks for it.
pub(in crate::config) const TARGET: Text = Text {
    words: "path",
    example: "/ws",
    accepts: |text| {
        text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    },
};

/// Who may open a WebSocket.
pub(in crate::config) struct Origin;

impl Describe for Origin {
    fn words(&self) -> String {
        "origin such as `\"https://app.example.com\"` or `\"https://*.example.com\"`, \
         `\"same-host\"`, `\"none\"`, `\"null\"`"
            .to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<OriginRule> for Origin {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<OriginRule> {
        let instead =
            r#"write "https://app.example.com", "https://*.example.com", "same-host" or "none""#;
        let rule = origin(&reader.text(node, instead)?);
        if rule.is_none() {
            reader.wrong(node, "not an origin", instead);
        }
        rule
    }

    fn write(&self, value: &OriginRule) -> Written {
        Written::Text(match value {
            OriginRule::SameHost => "same-host".to_owned(),
            OriginRule::Absent => "none".to_owned(),
            OriginRule::Null => "null".to_owned(),
            OriginRule::Exact { scheme, host, port } => written_origin(scheme, host, *port),
            OriginRule::Wildcard {
                scheme,
                suffix,
                port,
            } => written_origin(scheme, &format!("*{suffix}"), *port),
        })
    }
}

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
        let mut seen = std::collections::HashSet::new();
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

fn host_pattern(text: &str) -> Option<HostPattern> {
    let text = text.to_ascii_lowercase();
    if let Some(suffix) = text.strip_prefix('*') {
        let name = suffix.strip_prefix('.')?;
        return is_host_name(name).then(|| HostPattern::Suffix(suffix.into()));
    }
    is_host(&text).then(|| HostPattern::Exact(text.into()))
}

fn is_host(text: &str) -> bool {
    let v6 = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(text) && !text.ends_with('.'),
    }
}

/// RFC 6454 section 4: scheme, host and port, nothing else.
fn origin(text: &str) -> Option<OriginRule> {
    match text {
        "same-host" => return Some(OriginRule::SameHost),
        "none" => return Some(OriginRule::Absent),
        "null" => return Some(OriginRule::Null),
        _ => {}
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let default_port = default_port(scheme)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default_port),
    };
    let scheme = scheme.into();
    match host_pattern(host)? {
        HostPattern::Exact(host) => Some(OriginRule::Exact { scheme, host, port }),
        HostPattern::Suffix(suffix) => Some(OriginRule::Wildcard {
            scheme,
            suffix,
            port,
        }),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn written_origin(scheme: &str, host: &str, port: u16) -> String {
    match default_port(scheme) == Some(port) {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{host}:{port}"),
    }
}

/// Routes see a path in one form only; a pattern of any other form would never match.
fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("does not begin with /");
    }
    if !path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !br##"\#?"<>^`{|}"##.contains(&b))
    {
        return Err("has a character that no path has");
    }
    if path.contains("//")
        || path
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    {
        return Err("would never match: // and dot segments are refused in requests");
    }
    for (at, _) in path.match_indices('%') {
        let code = path
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            None => return Err("has % without two hex digits"),
            Some(b'/' | b'\\' | 0) => {
                return Err("would never match: %2f, %5c and %00 are refused in requests");
            }
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                return Err("would never match: escapes of plain characters are decoded first");
            }
            Some(_) => {}
        }
    }
    Ok(())
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
    fn origins_have_their_ports_filled_in() {
        let exact = |scheme: &str, host: &str, port| {
            Some(OriginRule::Exact {
                scheme: scheme.into(),
                host: host.into(),
                port,
            })
        };
        assert_eq!(
            origin("https://App.example.com"),
            exact("https", "app.example.com", 443)
        );
        assert_eq!(origin("http://a:8080"), exact("http", "a", 8080));
        assert_eq!(origin("http://[::1]"), exact("http", "[::1]", 80));
        for text in [
            "a.com",
            "ftp://a.com",
            "https://a.com/",
            "https://",
            "https://a.com:x",
            "*",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused() {
        for path in ["/", "/ws", "/ws/", "/a%20b", "/~user/@x:y"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for path in [
            "", "ws", "//", "/a/../b", "/a/.", "/%2f", "/%41", "/%", "/%zz", "/a?b", "/ü",
        ] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }

    #[test]
    fn handshake_fields_are_not_the_operators() {
        assert!(check_field_name("X-App").is_ok());
        for name in ["Upgrade", "sec-websocket-key", "TE", "a b", ""] {
            assert!(check_field_name(name).is_err(), "{name}");
        }
    }
}
