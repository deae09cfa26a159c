//! Kinds that are text: names and file names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Describe, Kind, Written};
use crate::config::model::AccessLog;
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::logic::trace::Collector;

/// A text that `accepts` takes; `words` says what that is.
pub(in crate::config) struct Text {
    pub(in crate::config) words: &'static str,
    pub(in crate::config) example: &'static str,
    pub(in crate::config) accepts: fn(&str) -> bool,
}

impl Describe for Text {
    fn words(&self) -> String {
        self.words.to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<Arc<str>> for Text {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Arc<str>> {
        let instead = format!(r#"write something like "{}""#, self.example);
        let text = reader.text(node, &instead)?;
        if !(self.accepts)(&text) {
            reader.wrong(node, format!("not a {}", self.words), instead);
            return None;
        }
        Some(text.into())
    }

    fn write(&self, value: &Arc<str>) -> Written {
        Written::Text(value.to_string())
    }
}

/// A name that people type on a command line and read in metrics.
pub(in crate::config) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// What [`is_name`] takes.
pub(in crate::config) const NAME: Text = Text {
    words: "name (letters, digits, - _ .)",
    example: "chat",
    accepts: is_name,
};

/// The name of a route, which may be its host and path.
pub(in crate::config) const LABEL: Text = Text {
    words: "name (visible ASCII)",
    example: "chat",
    accepts: |text| {
        (1..=MAX_LABEL_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
    },
};

/// Any text without control characters.
pub(in crate::config) const ANY: Text = Text {
    words: "text",
    example: "chat",
    accepts: |text| !text.is_empty() && !text.chars().any(char::is_control),
};

/// A file that is read, relative to the file that names it.
pub(in crate::config) struct FileName;

impl Describe for FileName {
    fn words(&self) -> String {
        "file name".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<PathBuf> for FileName {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<PathBuf> {
        let text = reader.text(node, "write a file name")?;
        let path = resolved(&text, node, reader)?;
        reader.names_file(node, &path);
        Some(path)
    }

    fn write(&self, value: &PathBuf) -> Written {
        written_path(value)
    }
}

/// Where spans go.
pub(in crate::config) struct CollectorUrl;

impl Describe for CollectorUrl {
    fn words(&self) -> String {
        "URL such as `\"http://127.0.0.1:4318/v1/traces\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^http://" })
    }
}

impl Kind<Collector> for CollectorUrl {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Collector> {
        let instead = r#"write "http://127.0.0.1:4318/v1/traces""#;
        let collector = Collector::parse(&reader.text(node, instead)?);
        if collector.is_none() {
            reader.wrong(node, "not an http:// URL", instead);
        }
        collector
    }

    fn write(&self, value: &Collector) -> Written {
        Written::Text(value.to_string())
    }
}

/// `"off"`, `"stdout"` or a file that is written.
pub(in crate::config) struct LogTarget;

impl Describe for LogTarget {
    fn words(&self) -> String {
        "`\"off\"`, `\"stdout\"` or a file name".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<AccessLog> for LogTarget {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<AccessLog> {
        match reader
            .text(node, r#"write "off", "stdout" or a file name"#)?
            .as_str()
        {
            "off" => Some(AccessLog::Off),
            "stdout" => Some(AccessLog::Stdout),
            path => {
                let path = resolved(path, node, reader)?;
                reader.names_output(node, &path);
                Some(AccessLog::File(path))
            }
        }
    }

    fn write(&self, value: &AccessLog) -> Written {
        match value {
            AccessLog::Off => Written::Text("off".to_owned()),
            AccessLog::Stdout => Written::Text("stdout".to_owned()),
            AccessLog::File(path) => written_path(path),
        }
    }
}

pub(in crate::config) fn written_path(path: &Path) -> Written {
    Written::Text(path.to_string_lossy().into_owned())
}

fn resolved(text: &str, node: &Node, reader: &mut Reader) -> Option<PathBuf> {
    if text.is_empty() || text.contains('\0') {
        reader.wrong(
            node,
            "not a file name",
            "write one relative to this file, or absolute",
        );
        return None;
    }
    // A dump means the same files wherever it is loaded.
    let path = std::path::absolute(node.place.file().directory().join(text));
    if let Err(error) = &path {
        reader.wrong(node, error.to_string(), "write an absolute file name");
    }
    path.ok()
}

const MAX_NAME_BYTES: usize = 200;

/// Room for a host and a path.
const MAX_LABEL_BYTES: usize = 2000;
