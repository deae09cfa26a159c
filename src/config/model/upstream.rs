//! `[upstream.NAME]`: servers, how they are chosen, checked and spoken to.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::logic::balance;
use crate::logic::endpoint::Endpoint;
use crate::logic::proxy_header;

use super::listener::Certificate;

/// `[upstream.NAME]`: a named set of servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// How a server is chosen.
    pub balance: balance::Kind,
    /// Its servers, in file order; at least one.
    pub servers: Vec<ServerSpec>,
    /// How long connecting may take, TLS included.
    pub connect_timeout: Duration,
    /// Request sent to response head received.
    pub handshake_timeout: Duration,
    /// Other servers tried.
    pub retries: u32,
    /// Handshakes per server at a time; `None` is any number.
    pub max_handshakes: Option<u32>,
    /// Most requests that wait for a server.
    pub queue_length: usize,
    /// How long a request may wait for a server.
    pub queue_timeout: Duration,
    /// Live WebSockets of a server that fails its checks.
    pub on_server_down: OnServerDown,
    /// Live WebSockets of a server that left the configuration.
    pub on_server_removed: OnServerRemoved,
    /// Over how long drained connections are closed.
    pub drain: Duration,
    /// How long a new or recovered server takes to reach its weight.
    pub slow_start: Duration,
    /// Idle connections kept per server and worker.
    pub keepalive: usize,
    /// How often names are looked up again; `None` is never.
    pub resolve: Option<Duration>,
    /// Our own addresses that connections to the servers come from, in turn; none leaves it to the kernel.
    pub source: Vec<IpAddr>,
    /// `SO_RCVBUF` of sockets to the servers; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    /// TLS to the servers; `None` is plaintext.
    pub tls: Option<UpstreamTls>,
    /// The PROXY header that is sent; `None` is none.
    pub proxy_protocol: Option<proxy_header::Version>,
    /// Active checks; `None` is none.
    pub health_check: Option<HealthCheck>,
    /// Passive ejection; `None` is off.
    pub passive: Option<Passive>,
}

/// A server as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerSpec {
    /// Where it is.
    pub address: ServerAddress,
    /// Its share.
    pub weight: NonZeroU16,
    /// Used only when no other server is available.
    pub backup: bool,
    /// Most live connections; `None` is any number.
    pub max_connections: Option<u32>,
}

/// `host:port`, `[v6]:port` or `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServerAddress {
    /// An IP address and a port, or a unix socket.
    Fixed(Endpoint),
    /// A name that is looked up, and a port.
    Name {
        /// The name.
        host: Arc<str>,
        /// The port.
        port: u16,
    },
}

/// As the file writes it.
impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(endpoint) => endpoint.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// `upstream.on_server_down`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum OnServerDown {
    Keep,
    Close,
}

/// `upstream.on_server_removed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum OnServerRemoved {
    Keep,
    Drain,
}

/// `upstream.tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Name that is verified and sent as SNI.
    pub server_name: Option<Arc<str>>,
    /// PEM file with the roots; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// What the proxy shows of itself.
    pub client_certificate: Option<Certificate>,
    /// Whether verification is switched off.
    pub insecure: bool,
}

/// `[upstream.NAME.health_check]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// How a server is asked.
    pub kind: ProbeKind,
    /// What an `http` or `websocket` probe asks for.
    pub path: Arc<str>,
    /// Time between checks, jittered.
    pub interval: Duration,
    /// How long a check may take.
    pub timeout: Duration,
    /// Good checks in a row that bring a server up; at least 1.
    pub rise: u32,
    /// Bad checks in a row that take it down; at least 1.
    pub fall: u32,
}

/// `health_check.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum ProbeKind {
    Tcp,
    Http,
    WebSocket,
}

/// `[upstream.NAME.passive]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passive {
    /// Failures in a row, at connect, TLS or handshake; at least 1.
    pub failures: u32,
    /// First ejection; each further one doubles, up to ten times this.
    pub eject: Duration,
}
