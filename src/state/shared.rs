//! The one object both planes hold.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::telemetry::Metrics;
use crate::telemetry::access::AccessLog;

use super::Snapshot;
use super::registry::Registry;
use super::server::Servers;

/// What workers and control plane share.
#[derive(Debug)]
pub struct Shared {
    /// The metric families.
    pub metrics: Metrics,
    /// The access log.
    pub access: AccessLog,
    /// Every server that is known.
    pub servers: Servers,
    /// Every live session.
    pub registry: Arc<Registry>,
    snapshot: ArcSwap<Snapshot>,
    draining: watch::Sender<bool>,
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
            registry: Arc::new(Registry::new(workers)),
            snapshot: ArcSwap::new(snapshot),
            draining: watch::Sender::new(false),
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

    /// Whether the process is on its way out and takes no new sessions.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// From now on no new sessions.
    pub fn start_draining(&self) {
        self.draining.send_replace(true);
    }

    /// Resolves when [`Self::start_draining`] is called, at once when it was.
    pub async fn drained(&self) {
        // The sender lives as long as `self`, so the wait can't fail.
        let _ = self
            .draining
            .subscribe()
            .wait_for(|draining| *draining)
            .await;
    }
}
