//! Accepts connections and hands each to the worker with the fewest live ones.
//! Long-lived connections make the balance at accept time the balance for days.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use rustix::io::Errno;
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tracing::{error, warn};

use crate::logic::endpoint::{Endpoint, Ends};

use super::listen::ListenSocket;
use super::socket::Accepted;
use super::workers::{Connection, Workers};

/// How long the acceptor rests when the process is out of descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// Connections taken in one go before other control work gets its turn.
const ACCEPT_BATCH: usize = 64;

/// Counts the open client connections of all listeners against their maximum.
#[derive(Clone, Debug)]
pub struct Capacity {
    inner: Arc<CapacityInner>,
}

#[derive(Debug)]
struct CapacityInner {
    open: AtomicUsize,
    max: AtomicUsize,
    freed: Notify,
    told: AtomicBool,
}

impl Capacity {
    /// Room for `max` connections.
    pub fn new(max: usize) -> Self {
        let inner = CapacityInner {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            freed: Notify::new(),
            told: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Changes the maximum; connections over it stay.
    pub fn resize(&self, max: usize) {
        self.inner.max.store(max, Relaxed);
        self.inner.freed.notify_waiters();
    }

    /// Open connections.
    pub fn open(&self) -> usize {
        self.inner.open.load(Relaxed)
    }

    /// Resolves when no connection is open.
    pub async fn idle(&self) {
        loop {
            let freed = self.inner.freed.notified();
            if self.open() == 0 {
                return;
            }
            freed.await;
        }
    }

    // Only the acceptor, on one thread, takes room: a check and an add can't race.
    async fn room(&self) {
        self.tell_when_full();
        loop {
            let freed = self.inner.freed.notified();
            if self.open() < self.inner.max.load(Relaxed) {
                return;
            }
            freed.await;
        }
    }

    /// Says so when it becomes full; again only after there was room to speak of.
    fn tell_when_full(&self) {
        let (open, max) = (self.open(), self.inner.max.load(Relaxed));
        if open >= max && !self.inner.told.swap(true, Relaxed) {
            warn!(max, "all connections in use, new ones wait in the kernel");
        } else if open < max - max / 10 {
            self.inner.told.store(false, Relaxed);
        }
    }

    pub(super) fn take(&self) -> Slot {
        self.inner.open.fetch_add(1, Relaxed);
        Slot {
            capacity: self.clone(),
        }
    }
}

/// One connection's place; given back on drop.
#[derive(Debug)]
pub struct Slot {
    capacity: Capacity,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let inner = &self.capacity.inner;
        let open = inner.open.fetch_sub(1, Relaxed) - 1;
        if open == 0 || open + 1 >= inner.max.load(Relaxed) {
            inner.freed.notify_waiters();
        }
    }
}

/// What a listener counts.
#[derive(Clone, Debug)]
pub struct AcceptMetrics {
    /// Connections accepted.
    pub accepted: IntCounter,
    /// Connections open.
    pub open: IntGauge,
}

/// Accepts from one socket until the future is dropped.
///
/// # Errors
/// When the socket can't be registered with the runtime.
pub async fn accept(
    socket: ListenSocket,
    listener: Arc<str>,
    metrics: AcceptMetrics,
    capacity: Capacity,
    workers: Arc<Workers>,
) -> io::Result<()> {
    let local = socket.endpoint().clone();
    #[expect(
        deprecated,
        reason = "warns of types whose descriptor may change, which a Socket's can't; the successor is unsafe"
    )]
    let waiting = AsyncFd::with_interest(Arc::clone(&socket.socket), Interest::READABLE)?;
    'waiting: loop {
        let mut ready = waiting.readable().await?;
        for _ in 0..ACCEPT_BATCH {
            capacity.room().await;
            let Some(place) = workers.place().await else {
                error!("a worker is gone, nothing is accepted");
                return Ok(());
            };
            match take(&socket.socket, &local) {
                Ok((accepted, ends)) => {
                    metrics.accepted.inc();
                    let listener = Arc::clone(&listener);
                    let open = OpenGauge::new(&metrics.open);
                    let connection =
                        Connection::new(accepted, ends, listener, capacity.take(), open);
                    place.hand_over(connection);
                }
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    continue 'waiting;
                }
                Err(Errno::INTR | Errno::CONNABORTED | Errno::PERM | Errno::PROTO) => {}
                Err(errno) => {
                    warn!(%listener, error = %errno, "accept failed, resting");
                    tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Counts a connection as open while it lives.
#[derive(Debug)]
pub struct OpenGauge(IntGauge);

impl OpenGauge {
    /// One more.
    pub fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenGauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn take(socket: &socket2::Socket, local: &Endpoint) -> Result<(Accepted, Ends), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (fd, peer): (OwnedFd, Option<SocketAddrAny>) = acceptfrom_with(socket, flags)?;
    let Endpoint::Tcp(local) = *local else {
        return Ok((Accepted::Unix(fd), Ends::ON_THIS_MACHINE));
    };
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(Errno::CONNABORTED)?;
    Ok((Accepted::Tcp(fd), Ends { peer, local }))
}
