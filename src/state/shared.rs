//! The one object both planes hold.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::telemetry::Metrics;
use crate::telemetry::access::AccessLog;

use super::Snapshot;
use super::registry::Registry;
use super::servers::Servers;
use super::tls_handshakes::TlsHandshakes;

/// What workers and control plane share.
#[derive(Debug)]
pub struct Shared {
    /// The metric families.
    pub metrics: Metrics,
    /// The access log.
    pub access: AccessLog,
    /// Every server that is known.
    pub servers: Servers,
    /// TLS handshakes with clients under way.
    pub tls_handshakes: Arc<TlsHandshakes>,
    /// Every live session.
    pub registry: Arc<Registry>,
    snapshot: ArcSwap<Snapshot>,
    stage: watch::Sender<Stage>,
}

/// How far the process is on its way out.
#[derive(Clone, Copy, Debug, Default)]
struct Stage {
    left: bool,
    draining: bool,
}

impl Shared {
    /// Shared state with this snapshot in force.
    pub fn new(
        metrics: Metrics,
        access: AccessLog,
        servers: Servers,
        snapshot: Arc<Snapshot>,
        workers: usize,
    ) -> Self {
        snapshot.put_in_force(Instant::now());
        servers.started();
        Self {
            metrics,
            access,
            servers,
            tls_handshakes: Arc::default(),
            registry: Arc::new(Registry::new(workers)),
            snapshot: ArcSwap::new(snapshot),
            stage: watch::Sender::default(),
        }
    }

    /// The configuration in force. Read once per request; what was read stays valid.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Puts another snapshot in force.
    pub fn replace(&self, snapshot: Arc<Snapshot>) {
        self.snapshot.store(Arc::clone(&snapshot));
        snapshot.put_in_force(Instant::now());
    }

    /// Whether another process has taken this one's place, or the process stops: who is here is
    /// served, and asked to come back on a new connection.
    pub fn is_leaving(&self) -> bool {
        let stage = *self.stage.borrow();
        stage.left || stage.draining
    }

    /// From now on new connections are another process's.
    pub fn start_leaving(&self) {
        self.stage.send_modify(|stage| stage.left = true);
    }

    /// Resolves when [`Self::start_leaving`] is called, at once when it was.
    pub async fn left(&self) {
        self.reached(|stage| stage.left).await;
    }

    /// Whether the process stops and takes no new sessions.
    pub fn is_draining(&self) -> bool {
        self.stage.borrow().draining
    }

    /// From now on no new sessions.
    pub fn start_draining(&self) {
        self.stage.send_modify(|stage| stage.draining = true);
    }

    /// Resolves when [`Self::start_draining`] is called, at once when it was.
    pub async fn drained(&self) {
        self.reached(|stage| stage.draining).await;
    }

    async fn reached(&self, reached: impl FnMut(&Stage) -> bool) {
        // The sender lives as long as `self`, so the wait can't fail.
        let _ = self.stage.subscribe().wait_for(reached).await;
    }
}
