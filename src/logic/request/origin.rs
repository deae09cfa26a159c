//! `access.origins`: which pages may open a WebSocket (RFC 6455 section 10.2).

use std::sync::Arc;

/// One origin that may come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginRule {
    /// This scheme, host and port.
    Exact {
        /// Lower case.
        scheme: Arc<str>,
        /// Lower case.
        host: Arc<str>,
        /// Filled in where it is the scheme's default.
        port: u16,
    },
    /// This scheme and port, and any host below the suffix (kept with its leading dot).
    Wildcard {
        /// Lower case.
        scheme: Arc<str>,
        /// Lower case, leading dot.
        suffix: Arc<str>,
        /// Filled in where it is the scheme's default.
        port: u16,
    },
    /// The request's own scheme, host and port.
    SameHost,
    /// A request without an Origin.
    Absent,
    /// The opaque origin `null`, only where it is named.
    Null,
}
