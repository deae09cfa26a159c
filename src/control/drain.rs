//! Ends live sessions at a pace, so that their clients do not all come back in one instant. One
//! mechanism for everything that moves sessions away; one drain at a time for each thing drained.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntGauge;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::logic::pace::Pace;
use crate::logic::reason::EndReason;
use crate::state::Shared;
use crate::state::registry::{Live, Registry};
use crate::state::server::{Server, ServerKey};
use crate::telemetry::Metrics;

/// How often a drain under way says in the log how far it is.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What a drain empties.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A server.
    Server(ServerKey),
    /// What an upstream's overloaded servers have too much.
    Upstream(Arc<str>),
    /// Everything.
    Process,
}

/// Whom to send away, why, and over how long.
#[derive(Debug)]
pub struct Order {
    /// What is drained; a drain of the same that is under way is replaced.
    pub target: Target,
    /// What the sessions end for.
    pub reason: EndReason,
    /// The time over which they are told.
    pub within: Duration,
    /// The sessions. Those that were told to end before are left out.
    pub sessions: Vec<Arc<Live>>,
}

/// How far a drain is.
#[derive(Debug)]
pub struct Progress {
    /// What is drained.
    pub target: Target,
    /// What the sessions end for.
    pub reason: EndReason,
    /// The time over which they are told.
    pub within: Duration,
    /// How many sessions it began with.
    pub sessions: usize,
    left: AtomicUsize,
    told: AtomicUsize,
}

/// A drain that was started.
#[derive(Debug)]
pub struct Underway {
    /// How far it is.
    pub progress: Arc<Progress>,
    over: oneshot::Receiver<()>,
}

/// The drains under way; they end with the last handle.
#[derive(Clone, Debug)]
pub struct Drains {
    registry: Arc<Registry>,
    metrics: Metrics,
    running: Arc<Mutex<Running>>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    by_target: HashMap<Target, (AbortHandle, Arc<Progress>)>,
}

impl Drains {
    /// No drain yet.
    pub fn new(shared: &Shared) -> Self {
        Self {
            registry: Arc::clone(&shared.registry),
            metrics: shared.metrics.clone(),
            running: Arc::default(),
        }
    }

    /// Starts to drain every session of a server.
    pub fn start_server(
        &self,
        server: &Arc<Server>,
        reason: EndReason,
        within: Duration,
    ) -> Underway {
        // Before the sessions are chosen: one that opens meanwhile is in the choice or sees this.
        server.dismiss(reason);
        let of_server = |live: &Live| Arc::ptr_eq(&live.server, server);
        self.start(Order {
            target: Target::Server(server.key.clone()),
            reason,
            within,
            sessions: self.registry.select(of_server),
        })
    }

    /// Starts to carry out an order.
    pub fn start(&self, order: Order) -> Underway {
        self.start_while(order, |_| true)
    }

    /// Starts to carry out an order; each session is asked about again when its moment has come.
    pub fn start_while(
        &self,
        order: Order,
        still_goes: impl FnMut(&Live) -> bool + Send + 'static,
    ) -> Underway {
        let mut waiting: Vec<Waiting> = (order.sessions.into_iter())
            .filter(|live| !live.is_ordered())
            .map(|live| Waiting::new(live, order.reason, &self.metrics))
            .collect();
        fastrand::shuffle(&mut waiting);
        let progress = Arc::new(Progress {
            target: order.target.clone(),
            reason: order.reason,
            within: order.within,
            sessions: waiting.len(),
            left: AtomicUsize::new(waiting.len()),
            told: AtomicUsize::new(0),
        });
        let (until_over, over) = oneshot::channel();
        let mut running = self.running();
        running.stop(&order.target, "drain replaced");
        if !waiting.is_empty() {
            let registry = Arc::clone(&self.registry);
            let run = run(
                waiting,
                Arc::clone(&progress),
                registry,
                still_goes,
                until_over,
            );
            let task = running.tasks.spawn(run);
            running
                .by_target
                .insert(order.target, (task, Arc::clone(&progress)));
        }
        drop(running);
        Underway { progress, over }
    }

    /// Stops the drain of a server if it is for this reason.
    pub fn stop_server(&self, server: &Server, reason: EndReason) {
        server.welcome(reason);
        let target = Target::Server(server.key.clone());
        let mut running = self.running();
        let is_so = |(_, progress): &(AbortHandle, Arc<Progress>)| progress.reason == reason;
        if running.by_target.get(&target).is_some_and(is_so) {
            running.stop(&target, "drain stopped");
        }
    }

    /// Stops every drain.
    pub fn stop_all(&self) {
        let mut running = self.running();
        let targets: Vec<_> = running.by_target.keys().cloned().collect();
        for target in targets {
            running.stop(&target, "drain stopped");
        }
    }

    /// How far the drains under way are.
    pub fn progress(&self) -> Vec<Arc<Progress>> {
        let running = self.running();
        let progress = running.by_target.values();
        progress.map(|(_, progress)| Arc::clone(progress)).collect()
    }

    /// The drains under way, without those that are over.
    fn running(&self) -> MutexGuard<'_, Running> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.tasks.try_join_next().is_some() {}
        running.by_target.retain(|_, (task, _)| !task.is_finished());
        running
    }
}

impl Running {
    fn stop(&mut self, target: &Target, what: &str) {
        if let Some((task, progress)) = self.by_target.remove(target) {
            task.abort();
            info!(%target, reason = %progress.reason, told = progress.told(), left = progress.left(), "{what}");
        }
    }
}

impl Progress {
    /// How many sessions are still to be told.
    pub fn left(&self) -> usize {
        self.left.load(Relaxed)
    }

    /// How many sessions were told to end.
    pub fn told(&self) -> usize {
        self.told.load(Relaxed)
    }
}

impl Underway {
    /// Waits until the last session was told, or the drain was stopped; how many were told.
    pub async fn told(self) -> usize {
        // The sender is never used: that it is dropped says that the drain is over.
        let _ = self.over.await;
        self.progress.told()
    }
}

/// A session that waits for its moment, counted as long as it does.
struct Waiting {
    live: Arc<Live>,
    gauge: IntGauge,
}

impl Waiting {
    fn new(live: Arc<Live>, reason: EndReason, metrics: &Metrics) -> Self {
        let labels = [live.server.key.upstream.as_ref(), reason.word()];
        let gauge = metrics.draining.with_label_values(&labels);
        gauge.inc();
        Self { live, gauge }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Tells each session at its moment: in random order, evenly spread, none in step with another.
async fn run(
    waiting: Vec<Waiting>,
    progress: Arc<Progress>,
    registry: Arc<Registry>,
    mut still_goes: impl FnMut(&Live) -> bool,
    _until_over: oneshot::Sender<()>,
) {
    let (target, reason, sessions) = (&progress.target, progress.reason, progress.sessions);
    let seconds = progress.within.as_secs_f64();
    info!(%target, %reason, sessions, seconds, "draining");
    let start = Instant::now();
    let mut pace = Pace::new(sessions, progress.within, start.into_std());
    let mut reported = start;
    for session in waiting {
        let due = pace.due(Instant::now().into_std(), fastrand::u64(..));
        sleep_until(due.into()).await;
        let lives = registry.find(session.live.id).is_some();
        if lives && still_goes(&session.live) && session.live.order(reason) {
            progress.told.fetch_add(1, Relaxed);
        }
        progress.left.fetch_sub(1, Relaxed);
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            info!(%target, %reason, told = progress.told(), left = progress.left(), "draining on");
        }
    }
    info!(%target, %reason, sessions = progress.told(), "drained");
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(key) => write!(f, "{}/{}", key.upstream, key.address),
            Self::Upstream(name) => f.write_str(name),
            Self::Process => f.write_str("all"),
        }
    }
}
