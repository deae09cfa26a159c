//! A route of a snapshot: its settings, its upstream, its figures.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus::{Histogram, IntCounter};

use crate::config::model;
use crate::logic::auth::Method;
use crate::logic::reason::EndReason;
use crate::logic::refusal::{Refusal, Shortage};
use crate::logic::request::ClientKey;
use crate::logic::websocket::{Settings, Side};
use crate::telemetry::Metrics;
use crate::telemetry::traffic::Stripe;

use super::clients::Clients;
use super::upstream::Upstream;

/// A route that requests are matched to.
#[derive(Debug)]
pub struct Route {
    /// What the configuration says of it.
    pub settings: Arc<model::Route>,
    /// What its sessions may do.
    pub sessions: Arc<Settings>,
    /// Where it proxies to, if it does.
    pub upstream: Option<Arc<Upstream>>,
    /// How its tokens are judged; `None` asks for none.
    pub auth: Option<Arc<dyn Method>>,
    /// What it counts; the same over reloads.
    pub figures: Arc<RouteFigures>,
}

/// A route's figures; they belong to its name and outlive snapshots.
#[derive(Debug)]
pub struct RouteFigures {
    name: Arc<str>,
    metrics: Metrics,
    handshake_duration: Histogram,
    session_duration: Histogram,
    request_duration: Histogram,
    traffic: Arc<[Stripe]>,
    /// Upgrades that succeeded; there from the first one on.
    switched: OnceLock<IntCounter>,
    live: AtomicUsize,
    /// Made for the first client that a limit counts.
    clients: OnceLock<Box<Clients>>,
}

impl RouteFigures {
    /// The figures of the route of this name.
    pub fn new(name: &Arc<str>, metrics: &Metrics) -> Self {
        Self {
            name: Arc::clone(name),
            handshake_duration: metrics.handshake_duration.with_label_values(&[name]),
            session_duration: metrics.session_duration.with_label_values(&[name]),
            request_duration: metrics.request_duration.with_label_values(&[name]),
            traffic: metrics.traffic.route(name),
            switched: OnceLock::new(),
            live: AtomicUsize::new(0),
            clients: OnceLock::new(),
            metrics: metrics.clone(),
        }
    }

    /// Lets a client in, as far as the route's limits go, and counts it while the place is held.
    ///
    /// # Errors
    /// 429 when the client has had its share, 503 when the route is full.
    pub fn admit(
        self: &Arc<Self>,
        limit: &model::Limit,
        client: ClientKey,
        is_handshake: bool,
        now: Instant,
    ) -> Result<RoutePlace, Refusal> {
        let counted = self.admit_client(limit, client, is_handshake, now)?;
        let admitted = self.live.fetch_update(Relaxed, Relaxed, |live| {
            let full = limit.max_connections.is_some_and(|max| live >= max);
            (!full).then_some(live + 1)
        });
        if admitted.is_err() {
            if let Some(client) = counted {
                self.clients().leave(client);
            }
            return Err(Refusal::Unavailable(Shortage::RouteFull));
        }
        Ok(RoutePlace {
            figures: Arc::clone(self),
            client: counted,
        })
    }

    /// The client, where its connections are counted.
    fn admit_client(
        &self,
        limit: &model::Limit,
        client: ClientKey,
        is_handshake: bool,
        now: Instant,
    ) -> Result<Option<ClientKey>, Refusal> {
        if limit.connections_per_ip.is_none() && limit.handshakes_per_ip.is_none() {
            return Ok(None);
        }
        let entered = self.clients().enter(client, limit, is_handshake, now);
        let counted = entered.map_err(|retry_after| Refusal::TooMany { retry_after })?;
        Ok(counted.then_some(client))
    }

    fn clients(&self) -> &Clients {
        self.clients.get_or_init(Box::default)
    }

    /// How many of its places are taken.
    pub fn live(&self) -> usize {
        self.live.load(Relaxed)
    }

    /// An upgrade request was answered.
    pub fn handshake(&self, status: u16) {
        self.metrics.global_stats.answered(status);
        match status {
            101 => self.switched.get_or_init(|| self.handshakes(status)).inc(),
            _ => self.handshakes(status).inc(),
        }
    }

    fn handshakes(&self, status: u16) -> IntCounter {
        let labels = [self.name.as_ref(), &status.to_string()];
        self.metrics.handshakes.with_label_values(&labels)
    }

    /// A plain request was over with this status, after this long.
    pub fn request(&self, status: u16, took: Duration) {
        self.request_duration.observe(took.as_secs_f64());
        self.metrics
            .requests
            .with_label_values(&[&self.name, status.to_string().as_str()])
            .inc();
    }

    /// A tunnel opened after this long.
    pub fn opened(&self, upstream: &str, server: &str, took: Duration) {
        self.handshake_duration.observe(took.as_secs_f64());
        self.metrics.global_stats.handshakes.observe(took);
        self.metrics
            .websockets
            .with_label_values(&[&self.name, upstream, server])
            .inc();
    }

    /// A tunnel ended.
    pub fn closed(&self, upstream: &str, server: &str, reason: EndReason, lived: Duration) {
        self.session_duration.observe(lived.as_secs_f64());
        self.metrics.global_stats.ended(reason);
        self.metrics
            .websockets
            .with_label_values(&[&self.name, upstream, server])
            .dec();
        let labels = [self.name.as_ref(), upstream, reason.word()];
        self.metrics
            .websockets_closed
            .with_label_values(&labels)
            .inc();
    }

    /// A close code was sent.
    pub fn close_code(&self, code: u16, from: &str) {
        let code = code.to_string();
        self.metrics
            .close_codes
            .with_label_values(&[&self.name, code.as_str(), from])
            .inc();
    }

    /// One of the proxy's own pings came back.
    pub fn ping_rtt(&self, side: Side, took: Duration) {
        self.metrics
            .ping_rtt
            .with_label_values(&[self.name.as_ref(), side.word()])
            .observe(took.as_secs_f64());
        if side == Side::Client {
            self.metrics.global_stats.client_pings.observe(took);
        }
    }

    /// The worker's own stripe of message counters.
    pub fn stripe(&self, worker: usize) -> &Stripe {
        &self.traffic[worker]
    }
}

/// One of a route's places; given back on drop.
#[derive(Debug)]
pub struct RoutePlace {
    figures: Arc<RouteFigures>,
    client: Option<ClientKey>,
}

impl Drop for RoutePlace {
    fn drop(&mut self) {
        self.figures.live.fetch_sub(1, Relaxed);
        if let Some(client) = self.client {
            self.figures.clients().leave(client);
        }
    }
}
