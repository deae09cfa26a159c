//! A worker's idle connections to servers, kept for the next plain request.
//! Only a connection whose last exchange ended in order comes here; no upgrade's ever does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::config::model;
use crate::state::server::{Server, ServerKey};

use super::server_connection::ServerConnection;

/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often those that waited too long, or whose server leaves, are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long one may take to be done with its last exchange.
const READY_TIMEOUT: Duration = Duration::from_millis(50);

/// The idle connections of one worker: `keepalive` per server at most.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Connections>);

#[derive(Debug, Default)]
struct Connections {
    idle: HashMap<ServerKey, Vec<Idle>>,
    swept: bool,
}

#[derive(Debug)]
struct Idle {
    connection: ServerConnection,
    server: Arc<Server>,
    /// A connection opened under other settings may be another kind of connection.
    settings: Arc<model::Upstream>,
    since: Instant,
}

impl Pool {
    /// A connection to the server that is ready for a request: the one that was used last.
    pub async fn take(
        &self,
        server: &Server,
        settings: &Arc<model::Upstream>,
    ) -> Option<ServerConnection> {
        while let Some(mut idle) = self.pop(server) {
            if !Arc::ptr_eq(&idle.settings, settings) {
                continue;
            }
            if let Ok(true) = timeout(READY_TIMEOUT, idle.connection.is_ready()).await {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request to the server, if there is room and it may be kept.
    pub fn put(
        self: &Arc<Self>,
        server: &Arc<Server>,
        settings: &Arc<model::Upstream>,
        connection: ServerConnection,
    ) {
        // A PROXY header names one client, for the whole connection.
        let keeps = settings.proxy_protocol.is_none() && settings.keepalive > 0;
        if !keeps || connection.is_closed() || server.is_leaving() {
            return;
        }
        let mut connections = self.connections();
        let of_server = connections.idle.entry(server.key.clone()).or_default();
        if of_server.len() >= settings.keepalive {
            of_server.remove(0);
        }
        of_server.push(Idle {
            connection,
            server: Arc::clone(server),
            settings: Arc::clone(settings),
            since: Instant::now(),
        });
        if !std::mem::replace(&mut connections.swept, true) {
            tokio::spawn(Arc::clone(self).sweep());
        }
    }

    fn pop(&self, server: &Server) -> Option<Idle> {
        self.connections().idle.get_mut(&server.key)?.pop()
    }

    /// Closes what may not be kept, for as long as there is something to look at.
    async fn sweep(self: Arc<Self>) {
        loop {
            sleep(SWEEP_INTERVAL).await;
            let now = Instant::now();
            let mut connections = self.connections();
            connections.idle.retain(|_, of_server| {
                of_server.retain(|idle| idle.may_stay(now));
                !of_server.is_empty()
            });
            if connections.idle.is_empty() {
                connections.swept = false;
                return;
            }
        }
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn may_stay(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < IDLE_TIMEOUT
            && !self.connection.is_closed()
            && !self.server.is_leaving()
    }
}
