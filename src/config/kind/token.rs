//! Where a token stands in a request.

use serde_json::{Value as Json, json};

use super::{Describe, Kind, Written};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::logic::auth::Source;

/// One of `route.auth.jwt.from`.
pub(in crate::config) struct TokenSource;

impl Describe for TokenSource {
    fn words(&self) -> String {
        "`\"header\"`, `\"cookie:NAME\"`, `\"query:NAME\"`, `\"subprotocol\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<Source> for TokenSource {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Source> {
        let instead = r#"write "header", "cookie:NAME", "query:NAME" or "subprotocol""#;
        let source = Source::parse(&reader.text(node, instead)?);
        if source.is_none() {
            reader.wrong(node, "not a source of tokens", instead);
        }
        source
    }

    fn write(&self, value: &Source) -> Written {
        Written::Text(value.to_string())
    }
}
