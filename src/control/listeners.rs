//! The listening sockets in force, and the tasks that accept from them, on a worker.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::logic::endpoint::Endpoint;
use crate::logic::refusal::{Refusal, Shortage};
use crate::runtime::acceptor::{AcceptMetrics, Capacity, Farewell, accept};
use crate::runtime::inherit::Inherited;
use crate::runtime::listen::ListenSocket;
use crate::runtime::workers::Workers;
use crate::telemetry::Metrics;

use super::upgrade::Offer;

type Key = (Arc<str>, Endpoint);

/// How long a worker may take to let go of a socket.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// All listening sockets, by listener and configured address.
#[derive(Debug)]
pub struct Listeners {
    accepting: HashMap<Key, Accepting>,
    inherited: Inherited,
    workers: Arc<Workers>,
    capacity: Capacity,
    metrics: Metrics,
}

#[derive(Debug)]
struct Accepting {
    socket: ListenSocket,
    in_clear: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Sockets bound for a configuration that is not in force yet; dropping them changes nothing.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(Key, ListenSocket)>,
    wanted: Vec<Wanted>,
}

#[derive(Debug)]
struct Wanted {
    key: Key,
    mode: u32,
    in_clear: bool,
}

/// A listener's address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: can't listen on {address}")]
pub struct BindError {
    listener: Arc<str>,
    address: Endpoint,
    source: io::Error,
}

impl Listeners {
    /// No socket yet but those that were there before the process.
    pub fn new(
        inherited: Inherited,
        workers: Arc<Workers>,
        capacity: Capacity,
        metrics: Metrics,
    ) -> Self {
        Self {
            accepting: HashMap::new(),
            inherited,
            workers,
            capacity,
            metrics,
        }
    }

    /// Binds what `config` wants and is not bound yet.
    ///
    /// # Errors
    /// The first address that can't be bound; the sockets bound before it are closed again.
    pub fn bind(&self, config: &Config) -> Result<Bound, BindError> {
        let mut bound = Bound {
            sockets: Vec::new(),
            wanted: Vec::new(),
        };
        for listener in &config.listeners {
            for address in &listener.bind {
                let key = (Arc::clone(&listener.name), address.clone());
                if !self.accepting.contains_key(&key) {
                    let mode = listener.socket_mode;
                    let socket = self.socket(&listener.name, address, mode);
                    let socket = socket.map_err(|source| BindError {
                        listener: Arc::clone(&listener.name),
                        address: address.clone(),
                        source,
                    })?;
                    bound.sockets.push((key.clone(), socket));
                }
                bound.wanted.push(Wanted {
                    key,
                    mode: listener.socket_mode,
                    in_clear: listener.tls.is_none(),
                });
            }
        }
        Ok(bound)
    }

    /// Accepts no more from what is no longer wanted beside what was bound; resolves when nothing is
    /// accepted there, and every connection that was has found its listener. A socket that only
    /// changes its listener keeps what waits in it.
    pub async fn withdraw(&mut self, bound: &Bound) {
        let goes = |key: &Key, _: &mut Accepting| bound.wanted.iter().all(|it| it.key != *key);
        let gone = self.accepting.extract_if(goes).map(|(key, accepting)| {
            info!(listener = %key.0, address = %accepting.socket.endpoint(), "closed");
            accepting
        });
        let gone: Vec<_> = gone.collect();
        if gone.is_empty() {
            return;
        }
        end(gone).await;
        if timeout(CLOSING_TIME, self.workers.answer()).await.is_err() {
            warn!("a worker does not begin with its connections");
        }
    }

    /// Accepts from what was bound.
    pub fn put_in_force(&mut self, bound: Bound) {
        for (key, socket) in bound.sockets {
            info!(listener = %key.0, address = %socket.endpoint(), "listening");
            let accepting = self.accept(&key.0, socket);
            self.accepting.insert(key, accepting);
        }
        for Wanted {
            key,
            mode,
            in_clear,
        } in bound.wanted
        {
            let Some(accepting) = self.accepting.get(&key) else {
                continue;
            };
            accepting.in_clear.store(in_clear, Relaxed);
            if let Err(error) = accepting.socket.permit(mode) {
                warn!(listener = %key.0, address = %key.1, %error, "socket_mode not set");
            }
        }
    }

    /// Says which inherited sockets no listener has taken: clients would wait there for ever.
    pub fn warn_of_unused(&self) {
        let addresses = self.addresses().into_iter().map(|(_, address)| address);
        for (socket, address) in self.inherited.beside(&addresses.collect::<Vec<_>>()) {
            warn!(socket, %address, "a socket was passed that no listener binds");
        }
    }

    /// Where each listener really listens.
    pub fn addresses(&self) -> Vec<(Arc<str>, Endpoint)> {
        let address = |(key, accepting): (&Key, &Accepting)| {
            (Arc::clone(&key.0), accepting.socket.endpoint().clone())
        };
        self.accepting.iter().map(address).collect()
    }

    /// The sockets in force, for a process that takes this one's place.
    pub fn offers(&self) -> Vec<Offer> {
        let offer = |((name, bind), accepting): (&Key, &Accepting)| Offer {
            name: Arc::clone(name),
            bind: bind.to_string(),
            socket: accepting.socket.clone(),
        };
        self.accepting.iter().map(offer).collect()
    }

    /// Makes the sockets that a predecessor handed over this process's own. What no listener took
    /// is closed.
    pub fn own_inherited(&mut self) {
        std::mem::take(&mut self.inherited).own();
    }

    /// Closes every socket; live connections stay.
    pub async fn close(&mut self) {
        end(self.accepting.drain().map(|(_, gone)| gone).collect()).await;
    }

    /// A socket for this address of the listener `name`: one that is there already, or a new one.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn socket(&self, name: &str, address: &Endpoint, mode: u32) -> io::Result<ListenSocket> {
        // A listener that is only renamed keeps its socket and what waits in it.
        let is_any_port = matches!(address, Endpoint::Tcp(address) if address.port() == 0);
        let renamed = self
            .accepting
            .iter()
            .find(|(key, _)| key.1 == *address && !is_any_port);
        let there = renamed.map(|(_, accepting)| accepting.socket.duplicate());
        there
            .or_else(|| self.inherited.find(name, address))
            .unwrap_or_else(|| ListenSocket::bind(address, mode))
    }

    fn accept(&self, name: &Arc<str>, socket: ListenSocket) -> Accepting {
        let excess = Refusal::Unavailable(Shortage::Overloaded);
        let refused = &self.metrics.connections_refused;
        let metrics = AcceptMetrics {
            accepted: self.metrics.connections_accepted.with_label_values(&[name]),
            refused: refused.with_label_values(&[name.as_ref(), excess.word()]),
            open: self.metrics.connections.with_label_values(&[name]),
        };
        let in_clear = Arc::new(AtomicBool::new(false));
        let mut answer = Vec::new();
        excess.answer().write_to(&mut answer);
        let farewell = Farewell {
            in_clear: Arc::clone(&in_clear),
            answer: answer.into(),
        };
        let accepting = accept(
            socket.clone(),
            Arc::clone(name),
            metrics,
            farewell,
            self.capacity.clone(),
            Arc::clone(&self.workers),
        );
        let name = Arc::clone(name);
        let task = self.workers.spawn_acceptor(async move {
            if let Err(error) = accepting.await {
                error!(listener = %name, %error, "accepting ended");
            }
        });
        Accepting {
            socket,
            in_clear,
            task,
        }
    }
}

/// Accepts nothing more there; resolves when the sockets are let go of.
async fn end(gone: Vec<Accepting>) {
    for accepting in &gone {
        accepting.task.abort();
    }
    let ended = join_all(gone.into_iter().map(|accepting| accepting.task));
    // A worker that hangs must hold up neither a reload nor the end.
    if timeout(CLOSING_TIME, ended).await.is_err() {
        warn!("a worker does not let go of a listening socket");
    }
}
