//! Worker threads, each with a runtime of its own: a connection lives and dies on one of them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use prometheus::IntGauge;
use tokio::sync::{mpsc, oneshot};
use tracing::error;

use super::acceptor::{OpenGauge, Slot};

/// Accepted connections that may wait for a worker's attention; beyond it the kernel's backlog holds them.
const HAND_OVER_QUEUE: usize = 1024;

/// A client connection on its way to its worker, or in its hands.
#[derive(Debug)]
pub struct Connection {
    /// The socket; non-blocking.
    pub fd: OwnedFd,
    /// The client's end.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Held as long as the connection is open.
    pub presence: Presence,
}

/// Counts a connection, for the process, its listener and its worker, until dropped.
#[derive(Debug)]
pub struct Presence {
    _slot: Slot,
    _listener: OpenGauge,
    worker: Option<OpenGauge>,
}

impl Connection {
    pub(super) const fn new(
        fd: OwnedFd,
        peer: SocketAddr,
        local: SocketAddr,
        listener: Arc<str>,
        slot: Slot,
        open: OpenGauge,
    ) -> Self {
        let presence = Presence {
            _slot: slot,
            _listener: open,
            worker: None,
        };
        Self {
            fd,
            peer,
            local,
            listener,
            presence,
        }
    }
}

/// The worker threads.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    connections: mpsc::Sender<Connection>,
    live: IntGauge,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Workers {
    /// Starts one thread per gauge of `live` connections; `serve` runs on the worker and is given
    /// the worker's index and each connection.
    ///
    /// # Errors
    /// When a thread or its runtime can't be made.
    pub fn start<S, F>(live: Vec<IntGauge>, serve: S) -> io::Result<Self>
    where
        S: Fn(usize, Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let start = |(index, live)| Worker::start(index, live, serve.clone());
        let workers = live
            .into_iter()
            .enumerate()
            .map(start)
            .collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Gives a connection to the worker with the fewest live ones.
    pub(super) async fn hand_over(&self, mut connection: Connection) {
        let Some(worker) = self.workers.iter().min_by_key(|worker| worker.live.get()) else {
            return;
        };
        connection.presence.worker = Some(OpenGauge::new(&worker.live));
        if worker.connections.send(connection).await.is_err() {
            error!("a worker is gone, its connection is dropped");
        }
    }

    /// Ends every worker now, with whatever is still open on it.
    pub fn stop(&self) {
        let take = |worker: &Worker| {
            worker
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let stopping: Vec<_> = self.workers.iter().filter_map(take).collect();
        let threads = stopping.into_iter().map(|(stop, thread)| {
            drop(stop);
            thread
        });
        for thread in threads.collect::<Vec<_>>() {
            if thread.join().is_err() {
                error!("a worker panicked");
            }
        }
    }
}

impl Worker {
    fn start<S, F>(index: usize, live: IntGauge, serve: S) -> io::Result<Self>
    where
        S: Fn(usize, Connection) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (connections, mut queue) = mpsc::channel(HAND_OVER_QUEUE);
        let (stop, mut stopped) = oneshot::channel::<()>();
        let work = async move {
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => return,
                    Some(connection) = queue.recv() => {
                        tokio::spawn(serve(index, connection));
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(work))?;
        Ok(Self {
            connections,
            live,
            running: Mutex::new(Some((stop, thread))),
        })
    }
}
