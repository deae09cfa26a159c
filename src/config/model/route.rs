//! `[[route]]`: which requests go where, and on what terms.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::logic::answer::Answer;
use crate::logic::auth::jwt;
use crate::logic::limit::Rate;
use crate::logic::request::{OriginRule, Request};
use crate::logic::route::{Accept, HostPattern, PathPattern, Terms};
use crate::logic::websocket::Settings;
use crate::logic::websocket::handshake::Strictness;

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
