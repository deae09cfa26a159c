//! A span: something that took time within a trace.

use std::sync::Arc;
use std::time::SystemTime;

/// A span that is over.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "OpenTelemetry's own words")]
pub struct Span {
    pub trace_id: u128,
    pub span_id: u64,
    pub parent: Option<u64>,
    pub name: &'static str,
    pub kind: SpanKind,
    pub start: SystemTime,
    pub end: SystemTime,
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it went wrong, if it did.
    pub error: Option<String>,
}

/// Who asked whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Nobody: a step of the proxy's own.
    Internal,
    /// Somebody asked the proxy.
    Server,
    /// The proxy asked somebody.
    Client,
}

/// What an attribute says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Arc<str>),
    /// A number.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&Arc<str>> for Value {
    fn from(text: &Arc<str>) -> Self {
        Self::Text(Arc::clone(text))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

#[cfg(test)]
impl Span {
    pub(super) fn example() -> Self {
        Self {
            trace_id: 0xabc,
            span_id: 0x12,
            parent: None,
            name: "connect",
            kind: SpanKind::Client,
            start: SystemTime::UNIX_EPOCH,
            end: SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_500_000_000),
            attributes: vec![("server.address", "a".into()), ("size", 7.into())],
            error: Some("refused".to_owned()),
        }
    }
}
