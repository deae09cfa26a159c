//! The configuration in force: immutable, read once per request, replaced as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rustls::ServerConfig;

use crate::config::Config;
use crate::config::model;
use crate::logic::auth::Method;
use crate::logic::endpoint::Endpoint;
use crate::logic::route::Table;
use crate::telemetry::Metrics;

use super::admin_token::AdminToken;
use super::backend_tls::BackendTls;
use super::route::{Route, RouteFigures};
use super::servers::Servers;
use super::upstream::Upstream;

/// One generation of the configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// What was loaded.
    pub config: Arc<Config>,
    /// Listeners by name.
    pub listeners: HashMap<Arc<str>, Arc<Listener>>,
    /// Routes in file order.
    pub routes: Vec<Arc<Route>>,
    /// Upstreams by name.
    pub upstreams: HashMap<Arc<str>, Arc<Upstream>>,
    /// What a call that changes something must show at the admin address.
    pub admin_token: Option<Arc<AdminToken>>,
}

/// What the certificates, keys and roots of a configuration make of its TLS, by name.
#[derive(Debug, Default)]
pub struct TlsConfigs {
    /// Those of the listeners.
    pub listeners: HashMap<Arc<str>, Arc<ServerConfig>>,
    /// Those of the upstreams.
    pub upstreams: HashMap<Arc<str>, Arc<BackendTls>>,
}

/// How tokens are judged, by what a route says of them.
pub type Methods = HashMap<model::Jwt, Arc<dyn Method>>;

/// What the files of keys and certificates hold.
#[derive(Debug, Default)]
pub struct Credentials {
    /// For TLS.
    pub tls: TlsConfigs,
    /// For the routes' tokens.
    pub methods: Methods,
    /// Of the admin address, where it has one.
    pub admin_token: Option<Arc<AdminToken>>,
}

/// A listener's settings, ready to use.
#[derive(Debug)]
pub struct Listener {
    /// What the configuration says of it.
    pub settings: Arc<model::Listener>,
    /// Its certificates; `None` is plaintext.
    pub tls: Option<Arc<ServerConfig>>,
    table: Table,
}

impl Snapshot {
    /// A snapshot of `config` that takes over what lives on from the one in force, if there is
    /// one. Upstreams start without servers: the caller resolves and sets them.
    pub fn build(
        config: Arc<Config>,
        credentials: &Credentials,
        before: Option<&Self>,
        metrics: &Metrics,
        servers: &Servers,
    ) -> Self {
        let listeners = config.listeners.iter().map(|settings| {
            let listener = Listener {
                settings: Arc::clone(settings),
                tls: credentials.tls.listeners.get(&settings.name).cloned(),
                table: table(&settings.name, &config.routes),
            };
            (Arc::clone(&settings.name), Arc::new(listener))
        });
        let upstreams: HashMap<_, _> = config
            .upstreams
            .iter()
            .map(|settings| {
                let retries = metrics.retries.with_label_values(&[&settings.name]);
                let tls = credentials.tls.upstreams.get(&settings.name).cloned();
                let upstream = Upstream::new(Arc::clone(settings), tls, servers, retries);
                (Arc::clone(&settings.name), Arc::new(upstream))
            })
            .collect();
        let figures: HashMap<&str, &Arc<RouteFigures>> = before
            .iter()
            .flat_map(|before| &before.routes)
            .map(|route| (route.settings.name.as_ref(), &route.figures))
            .collect();
        let routes = config.routes.iter().map(|settings| {
            let figures = figures.get(settings.name.as_ref()).map_or_else(
                || Arc::new(RouteFigures::new(&settings.name, metrics)),
                |figures| Arc::clone(figures),
            );
            let upstream = settings.upstream().and_then(|name| upstreams.get(name));
            let auth = settings
                .token()
                .and_then(|jwt| credentials.methods.get(jwt));
            let sessions = Arc::new(settings.websocket.session.clone());
            Arc::new(Route {
                settings: Arc::clone(settings),
                sessions,
                upstream: upstream.cloned(),
                auth: auth.cloned(),
                figures,
            })
        });
        Self {
            // The address stays what it is until the next start: so does its need of a token.
            admin_token: (credentials.admin_token.clone()).or_else(|| before?.admin_token.clone()),
            listeners: listeners.collect(),
            routes: routes.collect(),
            upstreams,
            config,
        }
    }

    /// It is the configuration from now on.
    pub fn put_in_force(&self, now: Instant) {
        for upstream in self.upstreams.values() {
            upstream.put_in_force(now);
        }
    }

    /// The listener that stands where `old` stood when a connection came in by it: the one at an
    /// address of its, whatever its name is now, or where none is there, the one of its name.
    pub fn in_place_of(&self, old: &model::Listener) -> Option<&Arc<Listener>> {
        let is_any_port = |it: &Endpoint| matches!(it, Endpoint::Tcp(it) if it.port() == 0);
        let shared = |it: &Endpoint| old.bind.contains(it) && !is_any_port(it);
        let is_there = |new: &&Arc<Listener>| new.settings.bind.iter().any(shared);
        let same = self.listeners.get(&old.name);
        (same.filter(is_there))
            .or_else(|| self.listeners.values().find(is_there))
            .or(same)
    }

    /// The first route in file order that takes this listener, host and path.
    pub fn route(&self, listener: &Listener, host: &str, path: &str) -> Option<&Arc<Route>> {
        self.routes.get(listener.table.find(host, path)?)
    }
}

/// The routes that a listener serves.
pub fn table(listener: &Arc<str>, routes: &[Arc<model::Route>]) -> Table {
    let mut table = Table::default();
    for (index, route) in routes.iter().enumerate() {
        if route.listeners.is_empty() || route.listeners.contains(listener) {
            table.add(index, &route.hosts, &route.path);
        }
    }
    table
}
