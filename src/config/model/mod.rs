//! The configuration as the rest of the program sees it: complete and valid by construction.
//! Every default is filled in; "off" is `None`; what can't be wrong any more is its own type.

mod listener;
mod route;
mod upstream;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::reader::Provenance;
use crate::logic::endpoint::Endpoint;
use crate::logic::trace::{Collector, Share};

pub use listener::{Certificate, ClientAuth, Listener, ProxyProtocolIn, Tls, TlsVersion};
pub use route::{Access, Action, Headers, Http, Jwt, KeyFile, Limit, Route, WebSocket};
pub use upstream::{
    HealthCheck, OnServerDown, OnServerRemoved, Passive, ProbeKind, ServerAddress, ServerSpec,
    Upstream, UpstreamTls,
};

/// A whole configuration: every file read, merged and checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`.
    pub server: Server,
    /// `[log]`.
    pub log: Log,
    /// `[admin]`.
    pub admin: Admin,
    /// `[tracing]`.
    pub tracing: Tracing,
    /// `[listener.NAME]`, in file order.
    pub listeners: Vec<Arc<Listener>>,
    /// `[[route]]`, in file order: the first match wins.
    pub routes: Vec<Arc<Route>>,
    /// `[upstream.NAME]`, in file order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Every file that was read for it, certificates included: what `watch` watches.
    pub files: Vec<PathBuf>,
    /// Directories in which an `include` pattern looks: a file that comes or goes there is a change.
    pub directories: Vec<PathBuf>,
    /// Where it was written, for messages.
    pub provenance: Provenance,
}

/// Two configurations are equal when they serve alike, wherever they were written.
impl PartialEq for Config {
    fn eq(&self, other: &Self) -> bool {
        self.server == other.server
            && self.log == other.log
            && self.admin == other.admin
            && self.tracing == other.tracing
            && self.listeners == other.listeners
            && self.routes == other.routes
            && self.upstreams == other.upstreams
    }
}

/// `[server]`: the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Worker threads; `None` is one per core this process may use.
    pub workers: Option<NonZeroU16>,
    /// How long a stop may take.
    pub shutdown_grace: Duration,
    /// Over how long sessions end after an upgrade; `None` leaves them to their ends.
    pub upgrade_drain: Option<Duration>,
    /// Reload when a file changes.
    pub watch: bool,
    /// Most client connections; `None` is what the file-descriptor limit allows.
    pub max_connections: Option<usize>,
    /// Most TLS handshakes with clients at a time.
    pub max_tls_handshakes: usize,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// Least severity that is written.
    pub level: LogLevel,
    /// Text for people, JSON for machines.
    pub format: LogFormat,
    /// Where the access log goes.
    pub access: AccessLog,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum LogFormat {
    Text,
    Json,
}

/// `log.access`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Not written.
    Off,
    /// To standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// `[tracing]`: spans of handshakes and sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Where they go; `None` is off.
    pub otlp: Option<Collector>,
    /// How many requests are traced.
    pub sample: Share,
}

/// `[admin]`: metrics, readiness and control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; `None` is off.
    pub bind: Option<Endpoint>,
    /// File with the bearer token, compulsory beyond loopback and unix sockets.
    pub token_file: Option<PathBuf>,
}
