//! Accepts connections, on a worker's thread, and hands each to the worker with the fewest live ones.
//! Long-lived connections make the balance at accept time the balance for days.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use prometheus::{IntCounter, IntGauge};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketFlags, acceptfrom_with, recv, send,
    shutdown,
};
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
/// Connections taken in one go before the sessions of the worker get their turn.
const ACCEPT_BATCH: usize = 64;

/// How much of its request a connection beyond the bound is heard.
const REQUEST_BYTES: usize = 2048;

/// How many client connections there may be, and what becomes of those beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// The most at a time.
    pub max: usize,
    /// Whether those beyond are refused. Else they wait in the kernel.
    pub refuses: bool,
}

/// Counts the open client connections of all listeners against their bound.
#[derive(Clone, Debug)]
pub struct Capacity {
    inner: Arc<CapacityInner>,
}

#[derive(Debug)]
struct CapacityInner {
    open: AtomicUsize,
    max: AtomicUsize,
    refuses: AtomicBool,
    freed: Notify,
    told: AtomicBool,
}

impl Capacity {
    /// Room for so many connections.
    pub fn new(room: Room) -> Self {
        let inner = CapacityInner {
            open: AtomicUsize::new(0),
            max: AtomicUsize::new(room.max),
            refuses: AtomicBool::new(room.refuses),
            freed: Notify::new(),
            told: AtomicBool::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Changes how many there may be; connections over it stay.
    pub fn resize(&self, room: Room) {
        self.inner.max.store(room.max, Relaxed);
        self.inner.refuses.store(room.refuses, Relaxed);
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

    /// Room for one more, if there is; waits for it where those beyond are not refused. Only
    /// acceptors take room, all on one thread: nothing comes between check and add.
    async fn room(&self) -> Option<Slot> {
        self.tell_when_full();
        loop {
            let freed = self.inner.freed.notified();
            if self.open() < self.inner.max.load(Relaxed) {
                return Some(self.take());
            }
            if self.inner.refuses.load(Relaxed) {
                return None;
            }
            freed.await;
        }
    }

    /// Says so when it becomes full; again only after there was room to speak of.
    fn tell_when_full(&self) {
        let (open, max) = (self.open(), self.inner.max.load(Relaxed));
        if open >= max && !self.inner.told.swap(true, Relaxed) {
            let refuses = self.inner.refuses.load(Relaxed);
            let new = if refuses {
                "are refused"
            } else {
                "wait in the kernel"
            };
            warn!(max, "all connections in use, new ones {new}");
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
    /// Connections refused because there were too many.
    pub refused: IntCounter,
    /// Connections open.
    pub open: IntGauge,
}

/// What a connection beyond the bound is told.
#[derive(Clone, Debug)]
pub struct Farewell {
    /// Whether the listener speaks in the clear; TLS would cost more than it is worth.
    pub in_clear: Arc<AtomicBool>,
    /// A whole answer.
    pub answer: Arc<[u8]>,
}

/// Accepts from one socket until the future is dropped.
///
/// # Errors
/// When the socket can't be registered with the runtime.
pub async fn accept(
    socket: ListenSocket,
    listener: Arc<str>,
    metrics: AcceptMetrics,
    farewell: Farewell,
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
            let slot = capacity.room().await;
            let Some(place) = workers.place().await else {
                error!("a worker is gone, nothing is accepted");
                return Ok(());
            };
            match take(&socket.socket, &local) {
                Ok((accepted, ends)) => {
                    let Some(slot) = slot else {
                        metrics.refused.inc();
                        farewell.say(&accepted);
                        continue;
                    };
                    metrics.accepted.inc();
                    let listener = Arc::clone(&listener);
                    let open = OpenGauge::new(&metrics.open);
                    place.hand_over(Connection::new(accepted, ends, listener, slot, open));
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

impl Farewell {
    /// Says it as far as the socket takes it at once; the caller closes.
    fn say(&self, accepted: &Accepted) {
        if !self.in_clear.load(Relaxed) {
            return;
        }
        let (Accepted::Tcp(fd) | Accepted::Unix(fd)) = accepted;
        // A request that is here already would turn the close into a reset, which destroys the
        // answer. Who does not get it, hears the close.
        let _ = recv(fd, &mut [0; REQUEST_BYTES], RecvFlags::DONTWAIT);
        let _ = send(fd, &self.answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        let _ = shutdown(fd, Shutdown::Write);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_that_is_promised_is_taken() {
        let room = Room {
            max: 1,
            refuses: true,
        };
        let capacity = Capacity::new(room);
        // A second listener comes while the first waits for a worker.
        let first = capacity.room().await;
        assert!(first.is_some() && capacity.room().await.is_none());
        drop(first);
        assert!(capacity.room().await.is_some());
    }
}
