//! One backend server: its health, its load, its figures. Outlives every snapshot that names it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};

use crate::config::model::Passive;
use crate::logic::balance::server_id;
use crate::logic::health::{Ejection, Health, Transition};
use crate::logic::reason::EndReason;
use crate::telemetry::Metrics;

use super::standing::Standing;

/// A server's identity: what a later snapshot recognises it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey {
    /// Its upstream's name.
    pub upstream: Arc<str>,
    /// Its address.
    pub address: SocketAddr,
}

/// A server as the whole process sees it.
pub struct Server {
    /// Who it is.
    pub key: ServerKey,
    /// Its address as labels and logs spell it.
    pub label: Arc<str>,
    /// Its name to the balancers: a hash of its address, the same on every node.
    pub id: u64,
    /// What the operator ordered of it.
    pub standing: Standing,
    load: AtomicU32,
    websockets: AtomicU32,
    up: AtomicBool,
    checks: Mutex<Checks>,
    ejection: Mutex<Ejection>,
    metrics: ServerMetrics,
}

/// What active checks have found, and when.
#[derive(Debug, Default)]
struct Checks {
    health: Option<Health>,
    last: Option<Instant>,
}

struct ServerMetrics {
    up: IntGauge,
    connections: IntGauge,
    connect_failures: IntCounter,
    handshake_failures: IntCounter,
}

/// The step of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The TCP connection, or TLS.
    Connect,
    /// The request or its answer.
    Handshake,
}

impl Server {
    fn new(key: ServerKey, metrics: &Metrics) -> Self {
        let label: Arc<str> = key.address.to_string().into();
        let pair = [key.upstream.as_ref(), label.as_ref()];
        let failures = |phase| {
            metrics
                .server_failures
                .with_label_values(&[pair[0], pair[1], phase])
        };
        for reason in EndReason::OF_DRAINS {
            // There at once, so that a drain is seen to begin.
            metrics
                .draining
                .with_label_values(&[pair[0], reason.word()]);
        }
        let metrics = ServerMetrics {
            up: metrics.server_up.with_label_values(&pair),
            connections: metrics.server_connections.with_label_values(&pair),
            connect_failures: failures("connect"),
            handshake_failures: failures("handshake"),
        };
        metrics.up.set(1);
        Self {
            id: server_id(&label),
            key,
            label,
            standing: Standing::default(),
            load: AtomicU32::new(0),
            websockets: AtomicU32::new(0),
            up: AtomicBool::new(true),
            checks: Mutex::default(),
            ejection: Mutex::default(),
            metrics,
        }
    }

    /// Live WebSockets and requests in flight.
    pub fn load(&self) -> u32 {
        self.load.load(Relaxed)
    }

    /// Live WebSockets.
    pub fn websockets(&self) -> u32 {
        self.websockets.load(Relaxed)
    }

    pub(super) fn session_opened(&self) {
        self.websockets.fetch_add(1, Relaxed);
    }

    pub(super) fn session_ended(&self) {
        self.websockets.fetch_sub(1, Relaxed);
    }

    /// Whether its active checks let it take new connections.
    pub fn is_up(&self) -> bool {
        self.up.load(Relaxed)
    }

    /// An active check found it good or bad; says whether that changes anything. The thresholds
    /// may differ from check to check: a reload changes them and keeps the count.
    pub fn checked(&self, good: bool, rise: u32, fall: u32, now: Instant) -> Option<Transition> {
        let mut checks = lock(&self.checks);
        checks.last = Some(now);
        let health = checks.health.get_or_insert_with(|| Health::new(rise, fall));
        *health = health.clone().with_thresholds(rise, fall);
        let transition = health.observe(good);
        self.set_up(health.is_up());
        transition
    }

    /// When it was last checked.
    pub fn last_check(&self) -> Option<Instant> {
        lock(&self.checks).last
    }

    /// Its checks were switched off: it counts as up.
    pub fn unchecked(&self) {
        *lock(&self.checks) = Checks::default();
        self.set_up(true);
    }

    fn set_up(&self, up: bool) {
        self.up.store(up, Relaxed);
        self.metrics.up.set(i64::from(up));
    }

    /// Whether passive ejection keeps it out at `now`.
    pub fn is_ejected(&self, now: Instant) -> bool {
        lock(&self.ejection).is_ejected(now)
    }

    /// Whether it may take new connections at `now`.
    pub fn is_available(&self, now: Instant) -> bool {
        self.is_up() && !self.standing.is_draining() && !self.is_ejected(now)
    }

    /// An attempt failed; for how long that ejects the server, if it does.
    pub fn failed(
        &self,
        phase: Phase,
        passive: Option<&Passive>,
        others_available: bool,
        now: Instant,
    ) -> Option<Duration> {
        match phase {
            Phase::Connect => self.metrics.connect_failures.inc(),
            Phase::Handshake => self.metrics.handshake_failures.inc(),
        }
        passive.and_then(|passive| {
            lock(&self.ejection).failed(passive.failures, passive.eject, others_available, now)
        })
    }

    /// An attempt succeeded.
    pub fn succeeded(&self) {
        lock(&self.ejection).succeeded();
    }

    /// Counts one more connection until the ticket is dropped.
    pub fn admit(self: &Arc<Self>) -> Ticket {
        self.load.fetch_add(1, Relaxed);
        self.metrics.connections.inc();
        Ticket {
            server: Arc::clone(self),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.key.upstream, self.label)
    }
}

/// One connection's place on a server; given back on drop.
#[derive(Debug)]
pub struct Ticket {
    server: Arc<Server>,
}

impl Ticket {
    /// The server.
    pub const fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.server.load.fetch_sub(1, Relaxed);
        self.server.metrics.connections.dec();
    }
}

/// Every server that a snapshot or a live connection still holds.
#[derive(Debug)]
pub struct Servers {
    known: Mutex<HashMap<ServerKey, Weak<Server>>>,
    metrics: Metrics,
}

impl Servers {
    /// No server yet.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            known: Mutex::default(),
            metrics,
        }
    }

    /// The server of this key: the living one, so that its health and counts go on, or a new one.
    pub fn adopt(&self, key: ServerKey) -> Arc<Server> {
        let mut known = lock(&self.known);
        if let Some(server) = known.get(&key).and_then(Weak::upgrade) {
            return server;
        }
        let server = Arc::new(Server::new(key.clone(), &self.metrics));
        known.insert(key, Arc::downgrade(&server));
        server
    }

    /// Forgets servers that nothing holds any more, and their gauges.
    pub fn prune(&self) {
        let mut known = lock(&self.known);
        known.retain(|key, server| {
            let lives = server.strong_count() > 0;
            if !lives {
                self.forget_gauges(key);
            }
            lives
        });
    }

    fn forget_gauges(&self, key: &ServerKey) {
        let label = key.address.to_string();
        let pair = [key.upstream.as_ref(), label.as_str()];
        // A gauge that was never made can't be removed, which is as good.
        let _ = self.metrics.server_up.remove_label_values(&pair);
        let _ = self.metrics.server_connections.remove_label_values(&pair);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
