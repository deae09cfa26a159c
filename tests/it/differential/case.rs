//! One request of the comparison, and the response it asks for.

use serde_json::{Value, json};

use super::Outcome;
use crate::support::Connection;
use crate::support::reply::Reply;

/// What the proxy is meant to change.
pub type Change = fn(&mut Outcome);

/// A request, and what the server is to answer.
#[derive(Clone, Debug)]
pub struct Case {
    method: String,
    target: String,
    version: &'static str,
    fields: Vec<String>,
    body: Vec<u8>,
    answer: Value,
    differs: Option<Change>,
    waits: bool,
}

impl Case {
    /// A request without fields or body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1",
            fields: Vec::new(),
            body: Vec::new(),
            answer: json!({}),
            differs: None,
            waits: false,
        }
    }

    /// A GET of `/`.
    pub fn get() -> Self {
        Self::new("GET", "/")
    }

    /// Of HTTP/1.0.
    pub fn old(self) -> Self {
        Self {
            version: "HTTP/1.0",
            ..self
        }
    }

    /// One more field line.
    pub fn with(mut self, line: impl Into<String>) -> Self {
        self.fields.push(line.into());
        self
    }

    /// With a body as it stands on the wire.
    pub fn sending(mut self, wire: impl AsRef<[u8]>) -> Self {
        self.body.extend_from_slice(wire.as_ref());
        self
    }

    /// With a body of known length.
    pub fn sized(self, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len();
        self.with(format!("Content-Length: {length}")).sending(body)
    }

    /// With a body in these chunks.
    pub fn chunked(self, chunks: &[&str]) -> Self {
        let wire: String = chunks
            .iter()
            .map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()))
            .collect();
        self.with("Transfer-Encoding: chunked")
            .sending(wire + "0\r\n\r\n")
    }

    /// The body only after a 100.
    pub fn waiting(self) -> Self {
        let case = self.with("Expect: 100-continue");
        Self {
            waits: true,
            ..case
        }
    }

    /// What the server is to answer, in the words of `cases.md`.
    pub fn answered(self, answer: Value) -> Self {
        Self { answer, ..self }
    }

    /// What is meant to differ: makes of the straight outcome the one through the proxy.
    pub fn but(self, differs: Change) -> Self {
        Self {
            differs: Some(differs),
            ..self
        }
    }

    /// The outcome through the proxy, given the one without.
    pub fn expected(&self, mut straight: Outcome) -> Outcome {
        if let Some(change) = self.differs {
            change(&mut straight);
        }
        straight
    }

    /// Its first lines.
    pub fn name(&self) -> String {
        let head = String::from_utf8_lossy(&self.head()).into_owned();
        head.chars().take(400).collect()
    }

    /// Everything that is sent.
    pub fn bytes(&self) -> Vec<u8> {
        [self.head(), self.body.clone()].concat()
    }

    /// Sends it and reads the response.
    pub fn send(&self, connection: &mut Connection) -> Option<Reply> {
        if !self.waits {
            connection.send(self.bytes());
            return Reply::read(connection, &self.method);
        }
        connection.send(self.head());
        let go_on = Reply::read_head(connection)?;
        if go_on.status != 100 {
            return None;
        }
        connection.send(&self.body);
        Reply::read(connection, &self.method)
    }

    fn head(&self) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        let has_host = self.fields.iter().any(|line| line.starts_with("Host:"));
        if !has_host {
            head.push_str("Host: a\r\n");
        }
        for line in &self.fields {
            head.push_str(line);
            head.push_str("\r\n");
        }
        if self.answer != json!({}) {
            head.push_str(&format!("X-Answer: {}\r\n", ascii(&self.answer)));
        }
        head.push_str("\r\n");
        // A character is a byte here, so that a field can hold any.
        head.chars()
            .map(|byte| u8::try_from(byte).expect("latin-1"))
            .collect()
    }
}

/// As JSON without a character that a field could not hold.
fn ascii(answer: &Value) -> String {
    let escape = |character: char| match character {
        ' '..='~' => character.to_string(),
        _ => format!("\\u{:04x}", u32::from(character)),
    };
    answer.to_string().chars().map(escape).collect()
}
