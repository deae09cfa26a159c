//! Every default and every bound, by name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use super::model::{
    AccessLog, Admin, HealthCheck, Http, Log, LogFormat, LogLevel, Passive, ProbeKind, Server,
    Tracing, WebSocket,
};
use crate::logic::trace::Share;
use crate::logic::websocket::{OnExcess, Settings};

/// Problems that are told one by one; more are counted.
pub const MAX_PROBLEMS: usize = 1000;
/// Bytes of one configuration file.
pub const MAX_FILE_BYTES: u64 = 16 << 20;
/// Bytes of all files of one configuration.
pub const MAX_TOTAL_BYTES: u64 = 64 << 20;
/// Files of one configuration.
pub const MAX_FILES: usize = 1000;
/// How deep included files may include others.
pub const MAX_INCLUDE_DEPTH: usize = 8;

/// Shortest time that can be set where none is no choice.
pub const MIN_TIME: Duration = Duration::from_millis(1);
/// Longest time that can be set: a year.
pub const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Shortest time between two rounds of something that repeats for ever.
pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Largest count where nothing else bounds it.
pub const MAX_COUNT: u64 = u32::MAX as u64;
/// Most worker threads.
pub const MAX_WORKERS: u16 = 1024;
/// Smallest `max_frame` and `max_message`: control frames have to fit (RFC 6455 section 5.5).
pub const MIN_FRAME_BYTES: u64 = 125;
/// Largest message size that can be set: 1 TiB.
pub const MAX_MESSAGE_BYTES: u64 = 1 << 40;
/// Smallest request head that can be set.
pub const MIN_HEADER_BYTES: u64 = 1 << 10;
/// Largest request head that can be set.
pub const MAX_HEADER_BYTES: u64 = 1 << 20;
/// Most header fields that can be set.
pub const MAX_HEADERS: u64 = 10_000;
/// All the permissions that there are.
pub const MAX_MODE: u32 = 0o777;
/// Smallest socket buffer that can be set.
pub const MIN_SOCKET_BUFFER_BYTES: u64 = 4 << 10;
/// Largest socket buffer that can be set.
pub const MAX_SOCKET_BUFFER_BYTES: u64 = 512 << 20;
/// Smallest park buffer: room for a control frame and its header.
pub const MIN_PARK_BUFFER_BYTES: u64 = 1 << 10;
/// Largest park buffer.
pub const MAX_PARK_BUFFER_BYTES: u64 = 64 << 20;
/// Most other servers that one request may try.
pub const MAX_RETRIES: u64 = 100;
/// Most checks in a row that a server's state may wait for.
pub const MAX_CHECKS: u64 = 1000;

/// Lines of the access log that may wait to be written; more are dropped and counted.
pub const ACCESS_LOG_QUEUE: usize = 8192;
/// Bytes of a text in the access log that a peer chose; what is longer is cut and marked.
pub const ACCESS_LOG_TEXT_BYTES: usize = 1024;

/// `server.upgrade_drain`.
pub const UPGRADE_DRAIN: Option<Duration> = Some(seconds(600));
/// `server.shutdown_grace`.
pub const SHUTDOWN_GRACE: Duration = seconds(30);

/// `server.max_tls_handshakes`. One holds some 30 KB and up to a millisecond of a core, so that many
/// hold 120 MB.
pub const TLS_HANDSHAKES: usize = 4096;

/// `admin.bind`.
pub const ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);

/// `tracing.sample`.
pub const TRACED_SHARE: Share = Share::new(10_000).expect("not more than all");

/// `listener.socket_mode`: the owner and its group.
pub const SOCKET_MODE: u32 = 0o660;
/// `listener.header_timeout`.
pub const HEADER_TIMEOUT: Duration = seconds(10);
/// `listener.max_header_bytes`.
pub const HEADER_BYTES: usize = 16 << 10;
/// `listener.max_headers`.
pub const HEADERS: usize = 100;
/// `listener.keepalive_timeout`.
pub const KEEPALIVE_TIMEOUT: Duration = seconds(75);
/// `listener.tls.handshake_timeout`.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = seconds(10);

/// `route.websocket.idle_timeout`.
pub const IDLE_TIMEOUT: Duration = seconds(3600);
/// `route.websocket.ping_interval`.
pub const PING_INTERVAL: Duration = seconds(30);
/// `route.websocket.ping_timeout`.
pub const PING_TIMEOUT: Duration = seconds(15);
/// `route.websocket.max_frame`.
pub const FRAME_BYTES: u64 = 16 << 20;
/// `route.websocket.max_message`.
pub const MESSAGE_BYTES: u64 = 16 << 20;
/// `route.websocket.park_buffer`.
pub const PARK_BUFFER_BYTES: usize = 64 << 10;

/// `route.http.max_body`.
pub const BODY_BYTES: u64 = 64 << 20;
/// `route.http.response_timeout`, `body_timeout` and `send_timeout`.
pub const HTTP_TIMEOUT: Duration = seconds(60);

/// `upstream.connect_timeout`.
pub const CONNECT_TIMEOUT: Duration = seconds(3);
/// `upstream.handshake_timeout`.
pub const HANDSHAKE_TIMEOUT: Duration = seconds(10);
/// `upstream.retries`.
pub const RETRIES: u32 = 2;
/// `upstream.queue_length`.
pub const QUEUE_LENGTH: usize = 10_000;
/// `upstream.queue_timeout`.
pub const QUEUE_TIMEOUT: Duration = seconds(5);
/// `upstream.drain`.
pub const DRAIN: Duration = seconds(60);
/// `upstream.keepalive`.
pub const KEEPALIVE: usize = 32;
/// `upstream.resolve`.
pub const RESOLVE: Duration = seconds(30);
/// `upstream.receive_buffer`.
pub const UPSTREAM_RECEIVE_BUFFER_BYTES: usize = 256 << 10;
/// `weight` of a server.
pub const WEIGHT: NonZeroU16 = NonZeroU16::MIN;

impl Default for Server {
    fn default() -> Self {
        Self {
            workers: None,
            shutdown_grace: SHUTDOWN_GRACE,
            upgrade_drain: UPGRADE_DRAIN,
            watch: false,
            max_connections: None,
            max_tls_handshakes: TLS_HANDSHAKES,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: LogLevel::Info,
            format: LogFormat::Text,
            access: AccessLog::Off,
        }
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self {
            otlp: None,
            sample: TRACED_SHARE,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            bind: Some(ADMIN_BIND.into()),
            token_file: None,
        }
    }
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            session: Settings {
                idle_timeout: Some(IDLE_TIMEOUT),
                max_lifetime: None,
                ping_interval: Some(PING_INTERVAL),
                ping_timeout: PING_TIMEOUT,
                ping_backend: false,
                max_frame_bytes: FRAME_BYTES,
                max_message_bytes: MESSAGE_BYTES,
                client_messages: None,
                client_bytes: None,
                on_excess: OnExcess::Close,
            },
            park_buffer_bytes: PARK_BUFFER_BYTES,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_body_bytes: Some(BODY_BYTES),
            response_timeout: HTTP_TIMEOUT,
            body_timeout: HTTP_TIMEOUT,
            send_timeout: HTTP_TIMEOUT,
        }
    }
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            kind: ProbeKind::WebSocket,
            path: "/".into(),
            interval: seconds(5),
            timeout: seconds(2),
            rise: 2,
            fall: 3,
        }
    }
}

impl Default for Passive {
    fn default() -> Self {
        Self {
            failures: 3,
            eject: seconds(10),
        }
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
