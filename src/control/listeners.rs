//! The listening sockets in force, and the tasks that accept from them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::config::model::Bind;
use crate::runtime::acceptor::{AcceptMetrics, Capacity, accept};
use crate::runtime::inherit::Inherited;
use crate::runtime::listen::ListenSocket;
use crate::runtime::workers::Workers;
use crate::telemetry::Metrics;

type Key = (Arc<str>, SocketAddr);

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
    task: JoinHandle<()>,
}

/// Sockets bound for a configuration that is not in force yet; dropping them changes nothing.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<(Key, ListenSocket)>,
    wanted: Vec<Key>,
}

/// A listener's address that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener}: can't listen on {address}")]
pub struct BindError {
    listener: Arc<str>,
    address: SocketAddr,
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
            for address in listener.bind.iter().filter_map(tcp) {
                let key = (Arc::clone(&listener.name), address);
                if !self.accepting.contains_key(&key) {
                    let socket = self.inherit_or_bind(address);
                    let socket = socket.map_err(|source| BindError {
                        listener: Arc::clone(&listener.name),
                        address,
                        source,
                    })?;
                    bound.sockets.push((key.clone(), socket));
                }
                bound.wanted.push(key);
            }
        }
        Ok(bound)
    }

    /// Accepts from what was bound, and closes what is no longer wanted.
    pub fn put_in_force(&mut self, bound: Bound) {
        self.accepting.retain(|key, accepting| {
            let stays = bound.wanted.contains(key);
            if !stays {
                accepting.task.abort();
                info!(listener = %key.0, address = %accepting.socket.address(), "closed");
            }
            stays
        });
        for (key, socket) in bound.sockets {
            info!(listener = %key.0, address = %socket.address(), "listening");
            let task = self.accept(&key.0, socket.clone());
            self.accepting.insert(key, Accepting { socket, task });
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
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        let address =
            |(key, accepting): (&Key, &Accepting)| (Arc::clone(&key.0), accepting.socket.address());
        self.accepting.iter().map(address).collect()
    }

    /// Closes every socket; live connections stay.
    pub fn close(&mut self) {
        for (_, accepting) in self.accepting.drain() {
            accepting.task.abort();
        }
    }

    // A listener that is only renamed keeps its socket and what waits in it.
    fn inherit_or_bind(&self, address: SocketAddr) -> io::Result<ListenSocket> {
        let renamed = self
            .accepting
            .iter()
            .find(|(key, _)| key.1 == address && address.port() != 0);
        let there = renamed.map(|(_, accepting)| accepting.socket.duplicate());
        there
            .or_else(|| self.inherited.find(address))
            .unwrap_or_else(|| ListenSocket::bind(address))
    }

    fn accept(&self, name: &Arc<str>, socket: ListenSocket) -> JoinHandle<()> {
        let metrics = AcceptMetrics {
            accepted: self.metrics.connections_accepted.with_label_values(&[name]),
            open: self.metrics.connections.with_label_values(&[name]),
        };
        let accepting = accept(
            socket,
            Arc::clone(name),
            metrics,
            self.capacity.clone(),
            Arc::clone(&self.workers),
        );
        let name = Arc::clone(name);
        tokio::spawn(async move {
            if let Err(error) = accepting.await {
                error!(listener = %name, %error, "accepting ended");
            }
        })
    }
}

const fn tcp(bind: &Bind) -> Option<SocketAddr> {
    match bind {
        Bind::Tcp(address) => Some(*address),
        Bind::Unix(_) => None,
    }
}
