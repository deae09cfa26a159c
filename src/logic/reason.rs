//! Why a relayed WebSocket ended, and what the proxy says to each peer about it.
//! The one place that decides a close code; log, metric and code share the same word.

use std::fmt;

/// Why a session ended. Closed list; the word stands as `reason` in logs and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The client sent a Close; it was passed on.
    ClientClose,
    /// The backend sent a Close; it was passed on.
    BackendClose,
    /// The client's stream ended or was reset without a Close.
    ClientGone,
    /// The backend's stream ended or was reset without a Close.
    BackendGone,
    /// No byte in either direction for `idle_timeout`.
    IdleTimeout,
    /// The client did not answer the proxy's ping.
    PingTimeout,
    /// The backend did not answer the proxy's ping.
    BackendPingTimeout,
    /// The session reached `max_lifetime`.
    MaxLifetime,
    /// Its server was drained or removed.
    ServerDrain,
    /// It was moved away from an overloaded server.
    Rebalance,
    /// Its server failed its health checks and `on_server_down` is `close`.
    ServerDown,
    /// The process stops.
    Shutdown,
    /// The client broke RFC 6455 framing.
    ClientProtocolError,
    /// The backend broke RFC 6455 framing.
    BackendProtocolError,
    /// A frame or a message was larger than the route allows.
    MessageTooBig,
    /// The client sent more messages than the route allows.
    RateExceeded,
    /// The token that admitted the client ran out.
    TokenExpired,
    /// The operator closed it.
    Killed,
    /// The proxy is short of a resource.
    Overloaded,
    /// A fault of the proxy's own.
    InternalError,
}

impl EndReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 20] = [
        Self::ClientClose,
        Self::BackendClose,
        Self::ClientGone,
        Self::BackendGone,
        Self::IdleTimeout,
        Self::PingTimeout,
        Self::BackendPingTimeout,
        Self::MaxLifetime,
        Self::ServerDrain,
        Self::Rebalance,
        Self::ServerDown,
        Self::Shutdown,
        Self::ClientProtocolError,
        Self::BackendProtocolError,
        Self::MessageTooBig,
        Self::RateExceeded,
        Self::TokenExpired,
        Self::Killed,
        Self::Overloaded,
        Self::InternalError,
    ];

    /// What a drain ends sessions for.
    pub const OF_DRAINS: [Self; 4] = [
        Self::ServerDrain,
        Self::Rebalance,
        Self::ServerDown,
        Self::Shutdown,
    ];

    /// The word of logs, metrics and the admin API.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientClose => "client_close",
            Self::BackendClose => "backend_close",
            Self::ClientGone => "client_gone",
            Self::BackendGone => "backend_gone",
            Self::IdleTimeout => "idle_timeout",
            Self::PingTimeout => "ping_timeout",
            Self::BackendPingTimeout => "backend_ping_timeout",
            Self::MaxLifetime => "max_lifetime",
            Self::ServerDrain => "server_drain",
            Self::Rebalance => "rebalance",
            Self::ServerDown => "server_down",
            Self::Shutdown => "shutdown",
            Self::ClientProtocolError => "client_protocol_error",
            Self::BackendProtocolError => "backend_protocol_error",
            Self::MessageTooBig => "message_too_big",
            Self::RateExceeded => "rate_exceeded",
            Self::TokenExpired => "token_expired",
            Self::Killed => "killed",
            Self::Overloaded => "overloaded",
            Self::InternalError => "internal_error",
        }
    }

    /// What the proxy tells the client.
    pub const fn to_client(self) -> Farewell {
        match self {
            Self::ClientClose | Self::BackendClose => Farewell::PassedOn,
            Self::ClientGone | Self::PingTimeout => Farewell::Cut,
            Self::BackendGone | Self::BackendPingTimeout | Self::BackendProtocolError => {
                Farewell::Close(CloseCode::BAD_GATEWAY)
            }
            Self::IdleTimeout | Self::Shutdown => Farewell::Close(CloseCode::GOING_AWAY),
            Self::MaxLifetime | Self::ServerDrain | Self::Rebalance | Self::ServerDown => {
                Farewell::Close(CloseCode::SERVICE_RESTART)
            }
            Self::ClientProtocolError => Farewell::Close(CloseCode::PROTOCOL_ERROR),
            Self::MessageTooBig => Farewell::Close(CloseCode::TOO_BIG),
            Self::RateExceeded | Self::Killed => Farewell::Close(CloseCode::POLICY),
            Self::TokenExpired => Farewell::Close(CloseCode::TOKEN_EXPIRED),
            Self::Overloaded => Farewell::Close(CloseCode::TRY_AGAIN_LATER),
            Self::InternalError => Farewell::Close(CloseCode::INTERNAL_ERROR),
        }
    }

    /// What the proxy tells the backend.
    pub const fn to_backend(self) -> Farewell {
        match self {
            Self::ClientClose | Self::BackendClose => Farewell::PassedOn,
            Self::ClientGone | Self::BackendGone | Self::BackendPingTimeout => Farewell::Cut,
            Self::BackendProtocolError => Farewell::Close(CloseCode::PROTOCOL_ERROR),
            Self::MessageTooBig => Farewell::Close(CloseCode::TOO_BIG),
            Self::IdleTimeout
            | Self::PingTimeout
            | Self::MaxLifetime
            | Self::ServerDrain
            | Self::Rebalance
            | Self::ServerDown
            | Self::Shutdown
            | Self::ClientProtocolError
            | Self::RateExceeded
            | Self::TokenExpired
            | Self::Killed
            | Self::Overloaded
            | Self::InternalError => Farewell::Close(CloseCode::GOING_AWAY),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What one peer hears when a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// The other peer's own Close, passed on as it came.
    PassedOn,
    /// A Close frame of the proxy's own.
    Close(CloseCode),
    /// Nothing: the connection ends without a Close.
    Cut,
}

/// A close code that may stand on the wire: RFC 6455 section 7.4 and the IANA registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

impl CloseCode {
    /// 1001: the endpoint goes away.
    pub const GOING_AWAY: Self = Self(1001);
    /// 1002: the peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// 1008: against policy.
    pub const POLICY: Self = Self(1008);
    /// 1009: message too big.
    pub const TOO_BIG: Self = Self(1009);
    /// 1011: the proxy failed.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// 1012: reconnect, the service restarts.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// 1013: try again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);
    /// 1014: the gateway had no good answer from the backend.
    pub const BAD_GATEWAY: Self = Self(1014);
    /// 3000: unauthorized, the token ran out.
    pub const TOKEN_EXPIRED: Self = Self(3000);

    /// Accepts what RFC 6455 section 7.4 lets stand in a frame: 1000-1003, 1007-1014, 3000-4999.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(code)),
            _ => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_word() {
        let mut words: Vec<_> = EndReason::ALL.iter().map(|reason| reason.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), EndReason::ALL.len());
    }

    #[test]
    fn close_codes_follow_the_registry() {
        for code in [1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999] {
            assert!(CloseCode::new(code).is_some(), "{code}");
        }
        for code in [
            0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
        ] {
            assert!(CloseCode::new(code).is_none(), "{code}");
        }
    }
}
