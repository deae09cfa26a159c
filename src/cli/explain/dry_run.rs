//! A request on the proxy's own road, up to where counts and servers decide: the same functions in
//! the same order as in `proxy/`, and what they found on the way.

use std::sync::Arc;

use crate::config::Config;
use crate::config::model::Route;
use crate::logic::auth::{Identity, identify};
use crate::logic::refusal::Refusal;
use crate::logic::request::head::head_end;
use crate::logic::request::{Client, Malformed, Request, RequestHead};
use crate::logic::websocket::handshake::Offer;
use crate::proxy::exchange::unix_time;
use crate::state::snapshot::{Methods, table};

use super::listener::ListenerMatch;
use super::sample_request::SampleRequest;

/// How far a request came.
#[derive(Debug, Default)]
pub(super) struct DryRun {
    /// The request, once its syntax is good.
    pub(super) request: Option<(Request, Client)>,
    /// The routes in file order up to the first that fits, each with why it does not.
    pub(super) tried: Vec<(Arc<str>, Option<String>)>,
    /// The route that fits.
    pub(super) route: Option<Arc<Route>>,
    /// What an upgrade to a server offers.
    pub(super) offer: Option<Offer>,
    /// Who sends it, by its token.
    pub(super) identity: Identity,
    /// What ended it.
    pub(super) refusal: Option<Refusal>,
}

impl DryRun {
    /// Follows a request that comes in there.
    pub(super) fn of(
        config: &Config,
        methods: &Methods,
        sample: &SampleRequest,
        matched: &ListenerMatch,
    ) -> Self {
        let mut dry_run = Self::default();
        dry_run.refusal = dry_run.follow(config, methods, sample, matched).err();
        dry_run
    }

    /// Whether it asks for a WebSocket.
    pub(super) fn is_websocket(&self) -> bool {
        let request = self.request.as_ref();
        request.is_some_and(|(request, _)| request.is_websocket())
    }

    /// Whether its route asks for a token.
    pub(super) fn asks_for_token(&self) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| route.token().is_some())
    }

    fn follow(
        &mut self,
        config: &Config,
        methods: &Methods,
        sample: &SampleRequest,
        matched: &ListenerMatch,
    ) -> Result<(), Refusal> {
        let listener = &matched.listener;
        let end = head_end(&sample.head, 0, listener.max_header_bytes)?;
        let head = sample.head.slice(..end.ok_or(Malformed::StartLine)?);
        let request = Request::check(RequestHead::parse(head, listener.max_headers)?)?;
        let trusted = &listener.trusted_proxies;
        let client = Client::of(request.head().fields(), sample.peer, sample.scheme, trusted);
        let (request, client) = self.request.insert((request, client));
        let (host, path) = (request.host().name(), request.path());
        let found = table(&listener.name, &config.routes).find(host, path);
        let tried = found.map_or(config.routes.len(), |index| index + 1);
        let why_not = |route: &Arc<Route>| mismatch(route, &listener.name, host, path);
        self.tried = (config.routes.iter().take(tried))
            .map(|route| (Arc::clone(&route.name), why_not(route)))
            .collect();
        let route = found.and_then(|index| config.routes.get(index));
        let route = self
            .route
            .insert(Arc::clone(route.ok_or(Refusal::NoRoute)?));
        self.offer = route.terms().check(request, client)?;
        let method = route.token().and_then(|jwt| methods.get(jwt));
        let method = method.map(|method| &**method);
        self.identity = identify(method, request, self.offer.as_mut(), unix_time())?;
        Ok(())
    }
}

/// Why a route does not take a request, if it does not.
fn mismatch(route: &Route, listener: &Arc<str>, host: &str, path: &str) -> Option<String> {
    if !route.listeners.is_empty() && !route.listeners.contains(listener) {
        return Some(format!("serves listener {}", route.listeners.join(", ")));
    }
    if !route.hosts.is_empty() && !route.hosts.iter().any(|pattern| pattern.matches(host)) {
        let hosts: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
        return Some(format!("serves host {}", hosts.join(", ")));
    }
    let path_fits = route.path.matches(path);
    (!path_fits).then(|| format!("serves path {}", route.path))
}
