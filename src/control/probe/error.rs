//! Why a probe found a server unfit. The server is to blame, or the way to it.

use std::io;
use std::time::Duration;

use crate::logic::websocket::frame::Violation;
use crate::runtime::socket::is_our_shortage;
use crate::tls::InWords;

/// What a server did wrong.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No connection.
    #[error("could not connect: {source}")]
    Connect {
        /// Why.
        source: io::Error,
    },
    /// No TLS, or with somebody else.
    #[error("no TLS: {}", InWords(source))]
    Insecure {
        /// Why.
        source: io::Error,
    },
    /// No verdict in time.
    #[error("no answer within {timeout:?}")]
    TimedOut {
        /// The check's `timeout`.
        timeout: Duration,
    },
    /// The connection broke.
    #[error("the connection broke before the answer")]
    Broken {
        /// Why.
        source: io::Error,
    },
    /// The stream ended.
    #[error("the connection was closed before the answer")]
    Ended,
    /// Not a response.
    #[error("the answer is not HTTP")]
    NotHttp {
        /// Where it breaks.
        source: httparse::Error,
    },
    /// An endless head, or data without end before the pong.
    #[error("no answer within {limit_bytes} bytes")]
    TooLong {
        /// The most that is read.
        limit_bytes: usize,
    },
    /// Neither 2xx nor 3xx; or not 101.
    #[error("answered {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// A 101 that RFC 6455 section 4.1 refuses.
    #[error("answered 101 with a wrong {field}")]
    BadHandshake {
        /// The field.
        field: &'static str,
    },
    /// A frame that a server must not send.
    #[error("sent a bad frame")]
    BadFrame {
        /// How it breaks RFC 6455.
        source: Violation,
    },
    /// A Close instead of the pong.
    #[error("closed the WebSocket before its pong")]
    Closed,
}

impl ProbeError {
    /// Whether it says nothing of the server: this machine had no descriptor, port or address for the check.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Connect { source } if is_our_shortage(source))
    }
}
