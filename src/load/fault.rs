//! What can go wrong with a connection under load, as the report counts it.

use std::fmt;
use std::io;

use crate::logic::websocket::frame::Violation;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The TCP connection could not be opened.
    Connect(io::ErrorKind),
    /// No port of ours is left.
    OutOfPorts,
    /// No descriptor of ours is left.
    OutOfDescriptors,
    /// The address to come from is not this machine's.
    Source,
    /// The target's certificate was refused.
    Certificate,
    /// The target refused to speak TLS with us.
    TlsAlert,
    /// What came is not TLS, or bad TLS.
    Tls,
    /// The handshake was answered with another status than 101.
    Status(u16),
    /// The answer to the handshake was not a right 101.
    BadHandshake,
    /// The server ended the stream without an answer to the handshake.
    Unanswered,
    /// Not open in time.
    OpenTimeout,
    /// A frame broke RFC 6455.
    BadFrame,
    /// The connection broke.
    Broken(io::ErrorKind),
    /// The server ended the stream without a Close.
    EndedEarly,
    /// The server sent a Close before we did; the code is counted too.
    ClosedEarly,
    /// An echo was not what had been sent.
    WrongEcho,
    /// A message that nobody asked for.
    Unasked,
    /// A message that was never echoed.
    Lost,
    /// A message that could not be sent, for earlier ones were still waiting.
    Unsent,
    /// Our Close was not answered in time.
    CloseTimeout,
    /// The process that is accounted has ended.
    ProcessEnded,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(kind) => write!(f, "could not connect: {kind}"),
            Self::OutOfPorts => f.write_str("no free port of our own (see --source)"),
            Self::OutOfDescriptors => f.write_str("no free descriptor of our own (see ulimit -n)"),
            Self::Source => f.write_str("could not come from an address of --source"),
            Self::Certificate => {
                f.write_str("its certificate is not to be trusted (see --ca, --tls-insecure)")
            }
            Self::TlsAlert => f.write_str("it refused our TLS with an alert"),
            Self::Tls => f.write_str("it speaks no TLS, or bad TLS"),
            Self::Status(status) => write!(f, "answered {status} to the handshake"),
            Self::Unanswered => f.write_str("connection ended without an answer to the handshake"),
            Self::BadHandshake => f.write_str("answered the handshake wrongly"),
            Self::OpenTimeout => f.write_str("not open in time"),
            Self::BadFrame => f.write_str("bad frame"),
            Self::Broken(kind) => write!(f, "connection broke: {kind}"),
            Self::EndedEarly => f.write_str("connection ended without a Close"),
            Self::ClosedEarly => f.write_str("closed by the server"),
            Self::WrongEcho => f.write_str("wrong echo"),
            Self::Unasked => f.write_str("message that nobody asked for"),
            Self::Lost => f.write_str("message lost"),
            Self::Unsent => f.write_str("message not sent in time"),
            Self::CloseTimeout => f.write_str("Close not answered in time"),
            Self::ProcessEnded => f.write_str("the process of --pid ended"),
        }
    }
}

impl From<Violation> for Fault {
    fn from(_: Violation) -> Self {
        Self::BadFrame
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Broken(error.kind())
    }
}

impl From<rustls::Error> for Fault {
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(_) => Self::Certificate,
            rustls::Error::AlertReceived(_) => Self::TlsAlert,
            _ => Self::Tls,
        }
    }
}
