//! One backend server: its health, its load, its figures. Outlives every snapshot that names it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, IntGauge};

use crate::config::model::Passive;
use crate::logic::balance::{SlowStart, server_id};
use crate::logic::endpoint::Endpoint;
use crate::logic::health::{Ejection, Health, Transition};
use crate::logic::reason::EndReason;
use crate::telemetry::Metrics;

use super::dispatcher::Dispatcher;
use super::overrides::Overrides;

/// A server's identity: what a later snapshot recognises it by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerKey {
    /// Its upstream's name.
    pub upstream: Arc<str>,
    /// Its address.
    pub address: Endpoint,
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
    pub overrides: Overrides,
    dispatcher: Arc<Dispatcher>,
    load: AtomicU32,
    handshakes: AtomicU32,
    websockets: AtomicU32,
    sent_away: AtomicU32,
    source_turn: AtomicUsize,
    up: AtomicBool,
    away: AtomicBool,
    checks: Mutex<Checks>,
    standing: Mutex<Standing>,
    dismissed: Mutex<Option<EndReason>>,
    metrics: ServerMetrics,
}

/// What active checks have found, and when.
#[derive(Debug, Default)]
struct Checks {
    health: Option<Health>,
    last: Option<Instant>,
}

/// What real connections have shown, and since when it serves.
#[derive(Debug, Default)]
struct Standing {
    ejection: Ejection,
    /// When it was added or recovered, or will be back; nothing for one that was there from the start.
    since: Option<Instant>,
}

struct ServerMetrics {
    up: IntGauge,
    connections: IntGauge,
    connect_failures: IntCounter,
    tls_failures: IntCounter,
    handshake_failures: IntCounter,
}

/// The step of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The TCP connection.
    Connect,
    /// TLS over it.
    Tls,
    /// The request or its answer.
    Handshake,
}

impl Server {
    pub(super) fn new(
        key: ServerKey,
        dispatcher: Arc<Dispatcher>,
        since: Option<Instant>,
        metrics: &Metrics,
    ) -> Self {
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
            tls_failures: failures("tls"),
            handshake_failures: failures("handshake"),
        };
        metrics.up.set(1);
        Self {
            id: server_id(&label),
            key,
            label,
            overrides: Overrides::default(),
            dispatcher,
            load: AtomicU32::new(0),
            handshakes: AtomicU32::new(0),
            websockets: AtomicU32::new(0),
            sent_away: AtomicU32::new(0),
            source_turn: AtomicUsize::new(0),
            up: AtomicBool::new(true),
            away: AtomicBool::new(false),
            checks: Mutex::default(),
            standing: Mutex::new(Standing {
                since,
                ..Standing::default()
            }),
            dismissed: Mutex::default(),
            metrics,
        }
    }

    /// Live WebSockets and requests in flight.
    pub fn load(&self) -> u32 {
        self.load.load(SeqCst)
    }

    /// Connects and backend handshakes under way.
    pub fn handshakes(&self) -> u32 {
        self.handshakes.load(SeqCst)
    }

    /// Live WebSockets.
    pub fn websockets(&self) -> u32 {
        self.websockets.load(Relaxed)
    }

    pub(super) fn session_opened(&self) {
        self.websockets.fetch_add(1, Relaxed);
    }

    pub(super) fn session_sent_away(&self) {
        self.sent_away.fetch_add(1, Relaxed);
    }

    pub(super) fn session_ended(&self, was_sent_away: bool) {
        self.websockets.fetch_sub(1, Relaxed);
        if was_sent_away {
            self.sent_away.fetch_sub(1, Relaxed);
        }
    }

    /// The turn of the address to connect to it from ([`Endpoint::source`]): each spends as many of
    /// its ports.
    pub fn next_source_turn(&self) -> usize {
        self.source_turn.fetch_add(1, Relaxed)
    }

    /// The turn that is next, which it stays: checks take none from connections.
    pub fn source_turn(&self) -> usize {
        self.source_turn.load(Relaxed)
    }

    /// Live WebSockets that were not told to end: a client that is sent away may be back before its
    /// old session is over, and counts once.
    pub fn staying(&self) -> u32 {
        self.websockets()
            .saturating_sub(self.sent_away.load(Relaxed))
    }

    /// Its sessions are sent away for this reason: so are those whose handshake was under way when
    /// that was decided, as soon as they are sessions.
    pub fn dismiss(&self, reason: EndReason) {
        *lock(&self.dismissed) = Some(reason);
    }

    /// Its sessions are no longer sent away, if they were for this reason.
    pub fn welcome(&self, reason: EndReason) {
        lock(&self.dismissed).take_if(|dismissed| *dismissed == reason);
    }

    /// Why a session that opens now is sent away at once, if it is.
    pub fn dismissed(&self) -> Option<EndReason> {
        *lock(&self.dismissed)
    }

    /// The operator drains it: no new connections from now on.
    pub fn drain(&self, now: Instant) {
        self.overrides.drain();
        // Who waits for it alone need not wait any longer.
        self.dispatcher.serve(now);
    }

    /// The operator takes it back: like a server that has recovered.
    pub fn take_back(&self, now: Instant) {
        if self.overrides.ready() {
            lock(&self.standing).since = Some(now);
            self.dispatcher.serve(now);
        }
    }

    /// The file says something else of it than before: what the operator ordered is over.
    pub fn forget_orders(&self, now: Instant) {
        self.overrides.forget_weight();
        self.take_back(now);
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
        self.set_up(health.is_up(), now);
        drop(checks);
        if transition.is_some() {
            self.dispatcher.serve(now);
        }
        transition
    }

    /// When it was last checked.
    pub fn last_check(&self) -> Option<Instant> {
        lock(&self.checks).last
    }

    /// Its checks were switched off: it counts as up.
    pub fn unchecked(&self, now: Instant) {
        *lock(&self.checks) = Checks::default();
        self.set_up(true, now);
        self.dispatcher.serve(now);
    }

    fn set_up(&self, up: bool, now: Instant) {
        if !self.up.swap(up, Relaxed) && up {
            lock(&self.standing).since = Some(now);
        }
        self.metrics.up.set(i64::from(up));
    }

    /// Whether passive ejection keeps it out at `now`.
    pub fn is_ejected(&self, now: Instant) -> bool {
        lock(&self.standing).ejection.is_ejected(now)
    }

    /// How much of its weight counts at `now`.
    pub fn slow_start(&self, slow_start: Duration, now: Instant) -> SlowStart {
        if slow_start.is_zero() {
            return SlowStart::FULL;
        }
        let since = lock(&self.standing).since;
        since.map_or(SlowStart::FULL, |since| {
            SlowStart::after(now.saturating_duration_since(since), slow_start)
        })
    }

    /// It is a member of its upstream no longer; if it becomes one again, it has been added.
    pub fn left(&self) {
        self.away.store(true, Relaxed);
    }

    /// Whether it is no member of its upstream, or the operator drains it.
    pub fn is_leaving(&self) -> bool {
        self.away.load(Relaxed) || self.overrides.is_draining()
    }

    /// It is a member of its upstream in force.
    pub fn joined(&self, now: Instant) {
        if self.away.swap(false, Relaxed) {
            lock(&self.standing).since = Some(now);
        }
    }

    /// Whether it may take new connections at `now`.
    pub fn is_available(&self, now: Instant) -> bool {
        self.is_up() && !self.overrides.is_draining() && !self.is_ejected(now)
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
            Phase::Tls => self.metrics.tls_failures.inc(),
            Phase::Handshake => self.metrics.handshake_failures.inc(),
        }
        let passive = passive?;
        let mut standing = lock(&self.standing);
        let ejection = &mut standing.ejection;
        let period = ejection.failed(passive.failures, passive.eject, others_available, now)?;
        standing.since = now.checked_add(period);
        Some(period)
    }

    /// An attempt succeeded.
    pub fn succeeded(&self, now: Instant) {
        let mut standing = lock(&self.standing);
        let returns = standing.ejection.is_ejected(now);
        standing.ejection.succeeded();
        if returns {
            standing.since = Some(now);
            drop(standing);
            self.dispatcher.serve(now);
        }
    }

    /// Attempts on it that failed so far.
    pub fn failures(&self) -> u64 {
        let metrics = &self.metrics;
        let failures = [
            &metrics.connect_failures,
            &metrics.tls_failures,
            &metrics.handshake_failures,
        ];
        failures.map(IntCounter::get).iter().sum()
    }

    /// Whether it has as many connections as it may have.
    pub fn is_full(&self, max_connections: Option<u32>) -> bool {
        max_connections.is_some_and(|max| self.load() >= max)
    }

    /// Whether it has as many handshakes under way as it may have.
    pub fn is_busy(&self, max_handshakes: Option<u32>) -> bool {
        max_handshakes.is_some_and(|max| self.handshakes() >= max)
    }

    /// Counts one more connection, and its handshake, until the places are dropped.
    pub fn admit(self: &Arc<Self>) -> (Ticket, Handshake) {
        self.load.fetch_add(1, SeqCst);
        self.handshakes.fetch_add(1, SeqCst);
        self.metrics.connections.inc();
        let ticket = Ticket {
            server: Arc::clone(self),
        };
        let handshake = Handshake {
            server: Arc::clone(self),
        };
        (ticket, handshake)
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
        self.server.load.fetch_sub(1, SeqCst);
        self.server.metrics.connections.dec();
        self.server.dispatcher.place_freed();
    }
}

/// One handshake's place on a server; given back on drop.
#[derive(Debug)]
pub struct Handshake {
    server: Arc<Server>,
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.server.handshakes.fetch_sub(1, SeqCst);
        self.server.dispatcher.place_freed();
    }
}

/// Locks what no panic leaves half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
