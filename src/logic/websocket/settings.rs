//! What a relayed session may do: `[route.websocket]`. `None` is "off".

use std::time::Duration;

use crate::logic::limit::Rate;

/// `[route.websocket]` as far as the session decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Longest silence of both sides together.
    pub idle_timeout: Option<Duration>,
    /// Longest life, jittered by 10 %.
    pub max_lifetime: Option<Duration>,
    /// Silence of the client after which the proxy pings it.
    pub ping_interval: Option<Duration>,
    /// How long a pong may take.
    pub ping_timeout: Duration,
    /// Whether the backend is pinged too.
    pub ping_backend: bool,
    /// Largest payload of a frame, in bytes.
    pub max_frame_bytes: u64,
    /// Largest payload of a message over its fragments, in bytes.
    pub max_message_bytes: u64,
    /// Data messages a client may send.
    pub client_messages: Option<Rate>,
    /// Bytes a client may send, frame headers and control frames included.
    pub client_bytes: Option<Rate>,
    /// What happens beyond `client_messages`.
    pub on_excess: OnExcess,
}

/// `route.websocket.on_excess`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnExcess {
    /// The session ends.
    Close,
    /// The client is not read until it may go on.
    Throttle,
}

/// What was negotiated in the handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// RSV1 may stand on the first frame of a data message (permessage-deflate).
    pub rsv1: bool,
}
