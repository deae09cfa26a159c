//! The configuration as it is written: the TOML's shape, with defaults filled in and nothing
//! checked that takes two keys. Sections that can't be wrong in themselves are those of the model.

mod from_model;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::defaults;
use super::kind::Placed;
use super::model::{
    Access, Admin, Headers, HealthCheck, Http, Limit, Log, OnServerDown, OnServerRemoved, Passive,
    ProxyProtocolIn, Server, ServerAddress, TlsVersion, Tracing, WebSocket,
};
use super::source::Place;
use crate::logic::auth::Source;
use crate::logic::auth::signature::Algorithm;
use crate::logic::balance;
use crate::logic::endpoint::Endpoint;
use crate::logic::proxy_header;
use crate::logic::route::{Accept, HostPattern, PathPattern};
use crate::logic::websocket::handshake::Strictness;

/// A whole configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Root {
    pub(super) server: Server,
    pub(super) log: Log,
    pub(super) admin: AdminSection,
    pub(super) tracing: Tracing,
    pub(super) defaults: Defaults,
    pub(super) listeners: Vec<Named<Listener>>,
    pub(super) routes: Vec<Route>,
    pub(super) upstreams: Vec<Named<Upstream>>,
}

/// `[admin]` and where its `bind` stands.
#[derive(Clone, Debug)]
pub(super) struct AdminSection {
    pub(super) bind: Option<Placed<Endpoint>>,
    pub(super) token_file: Option<PathBuf>,
}

/// `[defaults]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Defaults {
    pub(super) listener: Listener,
    pub(super) route: Route,
    pub(super) upstream: Upstream,
}

/// A section with the name it goes by.
#[derive(Clone, Debug)]
pub(super) struct Named<T> {
    pub(super) name: Arc<str>,
    pub(super) section: T,
}

#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) bind: Vec<Placed<Endpoint>>,
    pub(super) socket_mode: u32,
    pub(super) proxy_protocol: ProxyProtocolIn,
    pub(super) trusted_proxies: Vec<ipnet::IpNet>,
    pub(super) header_timeout: Duration,
    pub(super) max_header_bytes: usize,
    pub(super) max_headers: usize,
    pub(super) keepalive_timeout: Duration,
    pub(super) receive_buffer_bytes: Option<usize>,
    pub(super) tls: Option<Tls>,
}

#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) place: Place,
    pub(super) certificates: Vec<Pair>,
    pub(super) min_version: TlsVersion,
    pub(super) handshake_timeout: Duration,
    pub(super) client_auth: Demand,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_crl: Option<PathBuf>,
}

/// A certificate and its key, either of which may be missing.
#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
}

/// `client_auth`, without the roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Off,
    Optional,
    Require,
}

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) place: Place,
    /// How messages call it: `route.chat`, or `route[2]` where it has no name.
    pub(super) key: String,
    pub(super) name: Option<Arc<str>>,
    pub(super) listeners: Vec<Placed<Arc<str>>>,
    pub(super) hosts: Vec<HostPattern>,
    pub(super) path: PathPattern,
    pub(super) upstream: Option<Placed<Arc<str>>>,
    pub(super) respond: Option<Placed<u16>>,
    pub(super) redirect: Option<Placed<Redirect>>,
    pub(super) accept: Accept,
    pub(super) rewrite: Option<Placed<Arc<str>>>,
    pub(super) handshake: Strictness,
    pub(super) access: Access,
    pub(super) auth: Auth,
    pub(super) limit: Limit,
    pub(super) websocket: Arc<WebSocket>,
    pub(super) http: Http,
    pub(super) headers: Headers,
}

/// `[route.auth]`.
#[derive(Clone, Debug, Default)]
pub(super) struct Auth {
    pub(super) jwt: Option<Jwt>,
}

/// `[route.auth.jwt]`, whose key may be missing.
#[derive(Clone, Debug)]
pub(super) struct Jwt {
    pub(super) from: Vec<Source>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) secret_file: Option<PathBuf>,
    pub(super) jwks_url: Option<Arc<str>>,
    pub(super) issuer: Option<Arc<str>>,
    pub(super) audience: Option<Arc<str>>,
    pub(super) user_claim: Arc<str>,
    pub(super) close_at_expiry: bool,
}

/// `route.redirect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    Https,
}

#[derive(Clone, Debug)]
pub(super) struct Upstream {
    pub(super) balance: balance::Kind,
    pub(super) servers: Vec<Placed<ServerEntry>>,
    pub(super) connect_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) retries: u32,
    pub(super) max_handshakes: Option<u32>,
    pub(super) queue_length: usize,
    pub(super) queue_timeout: Duration,
    pub(super) on_server_down: OnServerDown,
    pub(super) on_server_removed: OnServerRemoved,
    pub(super) drain: Duration,
    pub(super) slow_start: Duration,
    pub(super) keepalive: usize,
    pub(super) resolve: Option<Duration>,
    pub(super) source: Vec<IpAddr>,
    pub(super) receive_buffer_bytes: Option<usize>,
    pub(super) tls: Option<UpstreamTls>,
    pub(super) proxy_protocol: Option<proxy_header::Version>,
    pub(super) health_check: Option<HealthCheck>,
    pub(super) passive: Passive,
}

/// One of `servers`, whose address may be missing.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ServerEntry {
    pub(super) address: Option<ServerAddress>,
    pub(super) weight: std::num::NonZeroU16,
    pub(super) backup: bool,
    pub(super) max_connections: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct UpstreamTls {
    pub(super) server_name: Option<Arc<str>>,
    pub(super) ca: Option<PathBuf>,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) insecure: bool,
}

impl Default for AdminSection {
    fn default() -> Self {
        Self::from(&Admin::default())
    }
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            bind: Vec::new(),
            socket_mode: defaults::SOCKET_MODE,
            proxy_protocol: ProxyProtocolIn::Off,
            trusted_proxies: Vec::new(),
            header_timeout: defaults::HEADER_TIMEOUT,
            max_header_bytes: defaults::HEADER_BYTES,
            max_headers: defaults::HEADERS,
            keepalive_timeout: defaults::KEEPALIVE_TIMEOUT,
            receive_buffer_bytes: None,
            tls: None,
        }
    }
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            place: Place::default(),
            certificates: Vec::new(),
            min_version: TlsVersion::V1_2,
            handshake_timeout: defaults::TLS_HANDSHAKE_TIMEOUT,
            client_auth: Demand::Off,
            client_ca: None,
            client_crl: None,
        }
    }
}

impl Default for Route {
    fn default() -> Self {
        Self {
            place: Place::default(),
            key: String::new(),
            name: None,
            listeners: Vec::new(),
            hosts: Vec::new(),
            path: PathPattern::Prefix("/".into()),
            upstream: None,
            respond: None,
            redirect: None,
            accept: Accept::Both,
            rewrite: None,
            handshake: Strictness::Strict,
            access: Access::default(),
            auth: Auth::default(),
            limit: Limit::default(),
            websocket: Arc::default(),
            http: Http::default(),
            headers: Headers::default(),
        }
    }
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            from: vec![Source::Header],
            algorithms: Vec::new(),
            key_file: None,
            secret_file: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            user_claim: "sub".into(),
            close_at_expiry: true,
        }
    }
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            balance: balance::Kind::RoundRobin,
            servers: Vec::new(),
            connect_timeout: defaults::CONNECT_TIMEOUT,
            handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
            retries: defaults::RETRIES,
            max_handshakes: None,
            queue_length: defaults::QUEUE_LENGTH,
            queue_timeout: defaults::QUEUE_TIMEOUT,
            on_server_down: OnServerDown::Keep,
            on_server_removed: OnServerRemoved::Drain,
            drain: defaults::DRAIN,
            slow_start: Duration::ZERO,
            keepalive: defaults::KEEPALIVE,
            resolve: Some(defaults::RESOLVE),
            source: Vec::new(),
            receive_buffer_bytes: Some(defaults::UPSTREAM_RECEIVE_BUFFER_BYTES),
            tls: None,
            proxy_protocol: None,
            health_check: None,
            passive: Passive::default(),
        }
    }
}

impl Default for ServerEntry {
    fn default() -> Self {
        Self {
            address: None,
            weight: defaults::WEIGHT,
            backup: false,
            max_connections: None,
        }
    }
}
