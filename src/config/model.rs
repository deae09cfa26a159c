//! The configuration as the rest of the program sees it: complete and valid by construction.
//! Every default is filled in; "off" is `None`; what can't be wrong any more is its own type.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::reader::Provenance;
use crate::logic::answer::Answer;
use crate::logic::auth::jwt;
use crate::logic::balance;
use crate::logic::endpoint::Endpoint;
use crate::logic::limit::Rate;
use crate::logic::proxy_header;
use crate::logic::request::{OriginRule, Request};
use crate::logic::route::{Accept, HostPattern, PathPattern, Terms};
use crate::logic::trace::{Collector, Share};
use crate::logic::websocket::Settings;
use crate::logic::websocket::handshake::Strictness;

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

/// `[listener.NAME]`: where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses; at least one. Port 0 lets the kernel choose.
    pub bind: Vec<Endpoint>,
    /// The permissions of its unix sockets.
    pub socket_mode: u32,
    /// Whether a PROXY header is read.
    pub proxy_protocol: ProxyProtocolIn,
    /// Peers whose PROXY header and X-Forwarded-For are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// From accept (or the end of TLS) to the end of the request head.
    pub header_timeout: Duration,
    /// Most bytes of a request head.
    pub max_header_bytes: usize,
    /// Most header fields of a request head.
    pub max_headers: usize,
    /// On a kept connection, until the next request's first byte.
    pub keepalive_timeout: Duration,
    /// `SO_RCVBUF` of client sockets; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    /// TLS; `None` is plaintext.
    pub tls: Option<Tls>,
}

/// `listener.proxy_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum ProxyProtocolIn {
    Off,
    Accept,
    Require,
}

/// `[listener.NAME.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificates, picked by SNI; the first is the default. At least one.
    pub certificates: Vec<Certificate>,
    /// Oldest version spoken.
    pub min_version: TlsVersion,
    /// From the first byte to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// PEM file with the certificates that no longer count.
    pub client_crl: Option<PathBuf>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `tls.min_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// `tls.client_auth` with its `client_ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    Off,
    /// A certificate is asked for; one that is shown must be good.
    Optional {
        /// PEM file with the roots.
        ca: PathBuf,
    },
    /// Nobody comes in without a good certificate.
    Require {
        /// PEM file with the roots.
        ca: PathBuf,
    },
}

/// `[[route]]`: which requests go where.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its name; by default its host and path.
    pub name: Arc<str>,
    /// The listeners it serves; empty is all.
    pub listeners: Vec<Arc<str>>,
    /// The hosts it serves; empty is any.
    pub hosts: Vec<HostPattern>,
    /// The paths it serves.
    pub path: PathPattern,
    /// What happens to a request that matches.
    pub action: Action,
    /// Which kinds of request it takes.
    pub accept: Accept,
    /// What replaces the matched prefix towards the backend.
    pub rewrite: Option<Arc<str>>,
    /// How exact a backend's 101 must be.
    pub handshake: Strictness,
    /// `[route.access]`.
    pub access: Access,
    /// `[route.auth.jwt]`; `None` asks for no token.
    pub jwt: Option<Jwt>,
    /// `[route.limit]`.
    pub limit: Limit,
    /// `[route.websocket]`.
    pub websocket: Arc<WebSocket>,
    /// `[route.http]`.
    pub http: Http,
    /// `[route.headers]`.
    pub headers: Headers,
}

impl Route {
    /// What it asks of a request.
    pub fn terms(&self) -> Terms<'_> {
        Terms {
            allow: &self.access.allow,
            deny: &self.access.deny,
            origins: &self.access.origins,
            accept: self.upstream().map(|_| self.accept),
        }
    }

    /// The upstream that it proxies to, if it does.
    pub const fn upstream(&self) -> Option<&Arc<str>> {
        match &self.action {
            Action::Proxy { upstream } => Some(upstream),
            Action::Respond { .. } | Action::RedirectHttps => None,
        }
    }

    /// What it asks for as a token. Where clients are sent to https nothing is: they would have to
    /// show it in the clear.
    pub fn token(&self) -> Option<&Jwt> {
        let asks = self.action != Action::RedirectHttps;
        self.jwt.as_ref().filter(|_| asks)
    }

    /// The answer that it gives in a server's place, if it does.
    pub fn own_answer(&self, request: &Request) -> Option<Answer> {
        match self.action {
            Action::Proxy { .. } => None,
            Action::Respond { status } => Some(Answer::of_status(status)),
            Action::RedirectHttps => Some(Answer::redirect(request.https_url())),
        }
    }

    /// The path that its backend sees of one that it matches.
    pub fn backend_path<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match &self.rewrite {
            Some(rewrite) => self.path.rewrite(path, rewrite).into(),
            None => path.into(),
        }
    }
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Proxies to the upstream of this name, which exists.
    Proxy {
        /// The upstream's name.
        upstream: Arc<str>,
    },
    /// Answers with this status.
    Respond {
        /// The status.
        status: u16,
    },
    /// Sends the client to the same address over https.
    RedirectHttps,
}

/// `[route.access]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Addresses that may come in; empty is all.
    pub allow: Vec<IpNet>,
    /// Addresses that may not.
    pub deny: Vec<IpNet>,
    /// Origins that may open a WebSocket; empty is any.
    pub origins: Vec<OriginRule>,
}

/// `[route.auth.jwt]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Jwt {
    /// What a token must be.
    pub terms: Arc<jwt::Terms>,
    /// What its signature is checked with.
    pub key: KeyFile,
}

/// `jwt.key_file` or `jwt.secret_file`; fits the algorithms as far as the file does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyFile {
    /// PEM file with a public key.
    Public(PathBuf),
    /// File that is a secret.
    Secret(PathBuf),
}

impl KeyFile {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        match self {
            Self::Public(path) | Self::Secret(path) => path,
        }
    }
}

/// `[route.limit]`; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limit {
    /// Live connections of one client.
    pub connections_per_ip: Option<usize>,
    /// Handshakes of one client.
    pub handshakes_per_ip: Option<Rate>,
    /// Live connections of the route.
    pub max_connections: Option<usize>,
}

/// `[route.websocket]`: what a relayed session may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// What the session itself decides.
    pub session: Settings,
    /// Most bytes held for a peer that does not read, per direction.
    pub park_buffer_bytes: usize,
}

/// `[route.http]`: limits of plain requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Largest request body; `None` is any.
    pub max_body_bytes: Option<u64>,
    /// Request sent to response head.
    pub response_timeout: Duration,
    /// Silence inside a request or response body.
    pub body_timeout: Duration,
    /// How long a client may take no byte of its response.
    pub send_timeout: Duration,
}

/// `[route.headers]`: towards the backend.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// Fields set, in file order.
    pub set: Vec<(Arc<str>, Arc<str>)>,
    /// Fields removed, in lower case.
    pub remove: Vec<Arc<str>>,
}

/// Values may be secrets, and a panic's text is no place for them.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.set.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("Headers")
            .field("set", &names)
            .field("remove", &self.remove)
            .finish()
    }
}

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
