//! Every server that a snapshot or a live connection still holds, and the dispatchers before them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::config::model;
use crate::telemetry::Metrics;

use super::dispatcher::Dispatcher;
use super::server::{Server, ServerKey, lock};

/// The servers and dispatchers that live.
#[derive(Debug)]
pub struct Servers {
    known: Mutex<HashMap<ServerKey, Weak<Server>>>,
    dispatchers: Mutex<HashMap<Arc<str>, Weak<Dispatcher>>>,
    started: AtomicBool,
    metrics: Metrics,
}

impl Servers {
    /// No server yet.
    pub fn new(metrics: Metrics) -> Self {
        Self {
            known: Mutex::default(),
            dispatchers: Mutex::default(),
            started: AtomicBool::new(false),
            metrics,
        }
    }

    /// The process serves: from here on a server that is new has been added.
    pub fn started(&self) {
        self.started.store(true, Relaxed);
    }

    /// The dispatcher of this upstream: the living one, so that its queue and counts go on, or a
    /// new one.
    pub fn dispatcher(&self, upstream: &model::Upstream) -> Arc<Dispatcher> {
        let mut dispatchers = lock(&self.dispatchers);
        let living = dispatchers.get(&upstream.name).and_then(Weak::upgrade);
        living.unwrap_or_else(|| {
            let length = self
                .metrics
                .queue_length
                .with_label_values(&[&upstream.name]);
            let dispatcher = Arc::new(Dispatcher::new(upstream.balance, length));
            dispatchers.insert(Arc::clone(&upstream.name), Arc::downgrade(&dispatcher));
            dispatcher
        })
    }

    /// The server of this key, behind its upstream's dispatcher: the living one, so that its health
    /// and counts go on, or a new one.
    pub fn adopt(&self, key: ServerKey, dispatcher: &Arc<Dispatcher>, now: Instant) -> Arc<Server> {
        let mut known = lock(&self.known);
        if let Some(server) = known.get(&key).and_then(Weak::upgrade) {
            return server;
        }
        let since = self.started.load(Relaxed).then_some(now);
        let server = Server::new(key.clone(), Arc::clone(dispatcher), since, &self.metrics);
        let server = Arc::new(server);
        known.insert(key, Arc::downgrade(&server));
        server
    }

    /// Forgets servers and dispatchers that nothing holds any more, and their gauges.
    pub fn prune(&self) {
        lock(&self.dispatchers).retain(|upstream, dispatcher| {
            let lives = dispatcher.strong_count() > 0;
            if !lives {
                let _ = self.metrics.queue_length.remove_label_values(&[upstream]);
            }
            lives
        });
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
