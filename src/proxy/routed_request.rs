//! A request whose route has let it in, an upgrade or a plain one, on its way to an upstream.

use std::sync::Arc;
use std::time::Instant;

use crate::logic::auth::Identity;
use crate::logic::endpoint::Ends;
use crate::logic::refusal::{Refusal, Shortage};
use crate::logic::request::{Client, Outbound, Proof, Request};
use crate::logic::websocket::handshake::Offer;
use crate::state::route::{Route, RoutePlace};
use crate::state::upstream::Upstream;

use super::access_log::RequestLog;
use super::connection::Context;
use super::trace::Trace;

/// The status that counts a client which left before its answer, as nginx has it.
pub const CLIENT_LEFT: u16 = 499;

/// What is known of it once its route has let it in.
#[derive(Debug)]
pub struct RoutedRequest {
    /// What it runs on.
    pub context: Arc<Context>,
    /// The request.
    pub request: Request,
    /// The route it met.
    pub route: Arc<Route>,
    /// The upstream of that route.
    pub upstream: Arc<Upstream>,
    /// Who sent it.
    pub caller: Client,
    /// What it proved by certificate.
    pub proof: Proof,
    /// Whom its token names.
    pub identity: Identity,
    /// The port it came in on.
    pub port: u16,
    /// Whom a server is told that it is for, where it is told.
    pub ends: Ends,
    /// When its head was there.
    pub received: Instant,
    /// What the access log is told.
    pub log: RequestLog,
    /// What the spans are made of, where it is traced.
    pub trace: Trace,
}

impl RoutedRequest {
    /// The request as the backend gets it, at this path.
    pub fn outbound<'a>(&'a self, path: &'a str, offer: Option<&'a Offer>) -> Outbound<'a> {
        let headers = &self.route.settings.headers;
        Outbound {
            request: &self.request,
            client: &self.caller,
            port: self.port,
            offer,
            path,
            query: self.request.query(),
            proof: &self.proof,
            user: self.identity.user.as_deref(),
            set: &headers.set,
            remove: &headers.remove,
        }
    }

    /// A place on the route, as far as the process takes requests and the route's limits go.
    ///
    /// # Errors
    /// Why there is none.
    pub fn enter(&self) -> Result<RoutePlace, Refusal> {
        if self.context.shared.is_draining() {
            return Err(Refusal::Unavailable(Shortage::Draining));
        }
        let (figures, limit) = (&self.route.figures, &self.route.settings.limit);
        let is_handshake = self.request.is_websocket();
        figures.admit(limit, self.caller.key(), is_handshake, Instant::now())
    }
}
