//! Every answer that the proxy gives in place of the tunnel or the response that was asked for.
//! The one place that decides a status; log, metric and answer share the same word.

use std::time::Duration;

use thiserror::Error;

use super::answer::Answer;
use super::auth::TokenFault;
use super::request::Malformed;
use super::request::body::BodyFault;
use super::websocket::handshake::HandshakeFault;

/// Why a request was refused. Its text is the body of the answer: one line that names the cause,
/// nothing of the inside and nothing of what the client sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The head breaks HTTP or RFC 6455, or could be read in two ways.
    #[error("bad request: {0}")]
    Malformed(Malformed),
    /// The body breaks its framing.
    #[error("bad request body: {0}")]
    MalformedBody(BodyFault),
    /// A PROXY header is missing, broken, or comes from a peer that may not send one.
    #[error("bad request: PROXY header refused")]
    ProxyHeader,
    /// The head is larger than `max_header_bytes`.
    #[error("request head too large")]
    HeadTooLarge,
    /// The head has more fields than `max_headers`.
    #[error("too many header fields")]
    TooManyFields,
    /// No whole head within `header_timeout`.
    #[error("request head took too long")]
    HeadTimeout,
    /// Silence of `body_timeout` inside the request body.
    #[error("request body took too long")]
    BodyTimeout,
    /// The body is larger than `max_body`.
    #[error("request body too large")]
    BodyTooLarge,
    /// CONNECT or TRACE.
    #[error("method not supported")]
    MethodRefused,
    /// An upgrade by another method than GET.
    #[error("a WebSocket is opened with GET")]
    UpgradeMethod,
    /// `Sec-WebSocket-Version` is missing or not 13.
    #[error("Sec-WebSocket-Version must be 13")]
    UpgradeVersion,
    /// A plain request on a route for WebSockets alone.
    #[error("this address speaks WebSocket only")]
    UpgradeRequired,
    /// An upgrade on a route for plain requests alone.
    #[error("no WebSocket at this address")]
    UpgradeRefused,
    /// The TLS handshake asked for another certificate policy than this host has.
    #[error("this host needs a TLS connection of its own")]
    Misdirected,
    /// No route takes the request.
    #[error("no route")]
    NoRoute,
    /// `access.allow` and `access.deny` keep the client's address out.
    #[error("address refused")]
    Address,
    /// `access.origins` keeps the page's origin out.
    #[error("origin refused")]
    Origin,
    /// The token is missing or not good.
    #[error("{0}")]
    Token(TokenFault),
    /// This client has too many connections or handshakes.
    #[error("too many requests from this address")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// Nobody can take the request now.
    #[error("{0}")]
    Unavailable(Shortage),
    /// The backend gave no answer that may be passed on.
    #[error("{0}")]
    Backend(BackendFault),
    /// The backend did not answer in time.
    #[error("{0}")]
    Timeout(BackendTimeout),
    /// A fault of the proxy's own.
    #[error("internal error")]
    Internal,
}

/// What is short when a request gets 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Shortage {
    /// Every server is down, ejected, draining or full.
    #[error("no server available")]
    NoServer,
    /// The route's `max_connections`.
    #[error("too many connections on this route")]
    RouteFull,
    /// The upstream's `queue_length`.
    #[error("too many requests wait")]
    QueueFull,
    /// The upstream's `queue_timeout`.
    #[error("waited too long for a server")]
    QueueTimeout,
    /// The process stops.
    #[error("shutting down")]
    Draining,
    /// The process's `max_connections` or its memory.
    #[error("overloaded")]
    Overloaded,
}

/// What was wrong with the backend when a request gets 502.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Error)]
pub enum BackendFault {
    /// No connection to any server that was tried.
    #[error("backend unreachable")]
    Unreachable,
    /// No TLS with a server that was to be trusted.
    #[error("no secure connection to the backend")]
    Insecure,
    /// The connection ended before a response head.
    #[error("backend closed without an answer")]
    Closed,
    /// The response head is no HTTP.
    #[error("backend answer malformed: {0}")]
    Head(Malformed),
    /// The response body breaks its framing.
    #[error("backend answer malformed: {0}")]
    Body(BodyFault),
    /// Too many 1xx responses.
    #[error("backend sent too many interim answers")]
    InterimFlood,
    /// 101 to a request that asked for no upgrade.
    #[error("backend switched protocols unasked")]
    Unasked,
    /// 101 that breaks RFC 6455 section 4.2.2.
    #[error("backend handshake refused: {0}")]
    Handshake(#[from] HandshakeFault),
}

/// Which wait ran out when a request gets 504.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum BackendTimeout {
    /// The upstream's `connect_timeout`.
    #[error("backend took too long to connect")]
    Connect,
    /// The upstream's `handshake_timeout`.
    #[error("backend took too long to answer the upgrade")]
    Handshake,
    /// The route's `response_timeout`.
    #[error("backend took too long to answer")]
    Response,
}

impl Refusal {
    /// The status it is answered with.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::MalformedBody(_) | Self::ProxyHeader => 400,
            Self::Token(_) => 401,
            Self::Address | Self::Origin | Self::UpgradeRefused => 403,
            Self::NoRoute => 404,
            Self::MethodRefused | Self::UpgradeMethod => 405,
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyTooLarge => 413,
            Self::Misdirected => 421,
            Self::UpgradeVersion | Self::UpgradeRequired => 426,
            Self::TooMany { .. } => 429,
            Self::HeadTooLarge | Self::TooManyFields => 431,
            Self::Internal => 500,
            Self::Backend(_) => 502,
            Self::Unavailable(_) => 503,
            Self::Timeout(_) => 504,
        }
    }

    /// The word of logs and metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::MalformedBody(_) => "malformed_body",
            Self::ProxyHeader => "proxy_header",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::MethodRefused => "method",
            Self::UpgradeMethod => "upgrade_method",
            Self::UpgradeVersion => "upgrade_version",
            Self::UpgradeRequired => "upgrade_required",
            Self::UpgradeRefused => "upgrade_refused",
            Self::Misdirected => "misdirected",
            Self::NoRoute => "no_route",
            Self::Address => "address",
            Self::Origin => "origin",
            Self::Token(_) => "token",
            Self::TooMany { .. } => "too_many",
            Self::Unavailable(shortage) => shortage.word(),
            Self::Backend(fault) => fault.word(),
            Self::Timeout(timeout) => timeout.word(),
            Self::Internal => "internal_error",
        }
    }

    /// Whether the connection must end, because nobody can tell where the next request begins.
    pub const fn closes(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::MalformedBody(_)
                | Self::ProxyHeader
                | Self::HeadTooLarge
                | Self::TooManyFields
                | Self::HeadTimeout
                | Self::BodyTimeout
                | Self::BodyTooLarge
                | Self::MethodRefused
                | Self::Unavailable(Shortage::Draining | Shortage::Overloaded)
                | Self::Internal
        )
    }

    /// The response that says so.
    pub fn answer(&self) -> Answer {
        let answer = Answer::new(self.status(), self.to_string());
        let answer = if self.closes() {
            answer.closing()
        } else {
            answer
        };
        match self {
            Self::UpgradeMethod => answer.with("Allow", "GET"),
            // RFC 9110 section 15.5.6: 405 lists what is allowed.
            Self::MethodRefused => {
                answer.with("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
            }
            // RFC 9110 section 15.5.22: 426 names the protocol; RFC 6455 section 4.4: the version.
            Self::UpgradeVersion | Self::UpgradeRequired => answer
                .with("Upgrade", "websocket")
                .with("Sec-WebSocket-Version", "13"),
            // RFC 6750 section 3.1: who showed no token is told no error.
            Self::Token(TokenFault::Missing) => answer.with("WWW-Authenticate", "Bearer"),
            Self::Token(_) => answer.with("WWW-Authenticate", "Bearer error=\"invalid_token\""),
            Self::TooMany { retry_after } => {
                answer.with("Retry-After", whole_seconds(*retry_after))
            }
            Self::Unavailable(shortage) => {
                answer.with("Retry-After", whole_seconds(shortage.retry_after()))
            }
            _ => answer,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(fault: Malformed) -> Self {
        match fault {
            Malformed::HeadTooLarge => Self::HeadTooLarge,
            Malformed::TooManyFields => Self::TooManyFields,
            other => Self::Malformed(other),
        }
    }
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Self {
        Self::Token(fault)
    }
}

impl From<BackendFault> for Refusal {
    fn from(fault: BackendFault) -> Self {
        Self::Backend(fault)
    }
}

impl Shortage {
    const fn word(self) -> &'static str {
        match self {
            Self::NoServer => "no_server",
            Self::RouteFull => "route_full",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Draining => "draining",
            Self::Overloaded => "overloaded",
        }
    }

    /// When a client may find things better.
    const fn retry_after(self) -> Duration {
        match self {
            Self::NoServer | Self::QueueFull | Self::QueueTimeout => Duration::from_secs(1),
            Self::RouteFull | Self::Draining | Self::Overloaded => Duration::from_secs(5),
        }
    }
}

impl BackendFault {
    const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable => "backend_unreachable",
            Self::Insecure => "backend_insecure",
            Self::Closed => "backend_closed",
            Self::Head(_) | Self::Body(_) | Self::InterimFlood => "backend_malformed",
            Self::Unasked | Self::Handshake(_) => "backend_handshake",
        }
    }
}

impl BackendTimeout {
    const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect_timeout",
            Self::Handshake => "handshake_timeout",
            Self::Response => "response_timeout",
        }
    }
}

/// RFC 9110 section 10.2.3: Retry-After in seconds; rounded up, so that nobody comes too early.
fn whole_seconds(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    seconds.max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::response_head;

    fn written(refusal: &Refusal) -> String {
        let mut out = Vec::new();
        refusal.answer().write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    /// CONTRACT section 3.
    #[test]
    fn every_cause_has_its_status_and_fields() {
        let rows: [(Refusal, u16, &[&str]); 26] = [
            (Refusal::UpgradeMethod, 405, &["Allow: GET"]),
            (
                Refusal::UpgradeVersion,
                426,
                &[
                    "Sec-WebSocket-Version: 13",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                ],
            ),
            (
                Refusal::UpgradeRequired,
                426,
                &["Upgrade: websocket", "Connection: Upgrade"],
            ),
            (Malformed::KeyTwice.into(), 400, &["Connection: close"]),
            (Malformed::HostMissing.into(), 400, &["Connection: close"]),
            (Malformed::TwoLengths.into(), 400, &["Connection: close"]),
            (
                Refusal::MalformedBody(BodyFault::ChunkSize),
                400,
                &["Connection: close"],
            ),
            (Refusal::ProxyHeader, 400, &["Connection: close"]),
            (Refusal::Address, 403, &[]),
            (Refusal::Origin, 403, &[]),
            (Refusal::UpgradeRefused, 403, &[]),
            (
                Refusal::Token(TokenFault::Missing),
                401,
                &["WWW-Authenticate: Bearer\r"],
            ),
            (
                Refusal::Token(TokenFault::Expired),
                401,
                &["WWW-Authenticate: Bearer error=\"invalid_token\"\r"],
            ),
            (Refusal::NoRoute, 404, &[]),
            (Refusal::HeadTimeout, 408, &["Connection: close"]),
            (Malformed::HeadTooLarge.into(), 431, &["Connection: close"]),
            (Malformed::TooManyFields.into(), 431, &["Connection: close"]),
            (Refusal::BodyTooLarge, 413, &["Connection: close"]),
            (Refusal::MethodRefused, 405, &["Allow: GET, HEAD"]),
            (Refusal::Misdirected, 421, &[]),
            (
                Refusal::TooMany {
                    retry_after: Duration::from_millis(2001),
                },
                429,
                &["Retry-After: 3\r"],
            ),
            (
                Refusal::Unavailable(Shortage::NoServer),
                503,
                &["Retry-After: 1\r"],
            ),
            (BackendFault::Unreachable.into(), 502, &[]),
            (BackendFault::Insecure.into(), 502, &[]),
            (
                BackendFault::Handshake(HandshakeFault::AcceptWrong).into(),
                502,
                &[],
            ),
            (Refusal::Timeout(BackendTimeout::Connect), 504, &[]),
        ];
        for (refusal, status, fields) in rows {
            let text = written(&refusal);
            let head = response_head(&text).unwrap();
            assert_eq!(
                (refusal.status(), head.status()),
                (status, status),
                "{refusal:?}"
            );
            for field in fields {
                assert!(text.contains(&format!("\r\n{field}")), "{field} in {text}");
            }
            assert_eq!(
                head.fields().lists("connection", "close"),
                refusal.closes(),
                "{text}"
            );
        }
    }

    #[test]
    fn the_body_is_one_line_that_names_the_cause() {
        let text = written(&Malformed::KeyMissing.into());
        assert!(
            text.ends_with("\r\n\r\nbad request: Sec-WebSocket-Key is missing\n"),
            "{text}"
        );
        let fault = BackendFault::Handshake(HandshakeFault::AcceptWrong);
        let text = written(&fault.into());
        assert!(
            text.ends_with(
                "backend handshake refused: Sec-WebSocket-Accept does not fit the key\n"
            ),
            "{text}"
        );
        assert!(!text.contains("Server:"));
    }

    #[test]
    fn a_retry_is_never_promised_for_now() {
        assert_eq!(whole_seconds(Duration::ZERO), "1");
        assert_eq!(whole_seconds(Duration::from_millis(1)), "1");
        assert_eq!(whole_seconds(Duration::from_secs(2)), "2");
    }
}
