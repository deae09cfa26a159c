//! Every live session, findable from the control plane: one shard per worker, locked by its
//! worker when a session opens or ends and never in between.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures_util::task::AtomicWaker;
use slab::Slab;

use crate::config::defaults::MAX_WORKERS;
use crate::logic::reason::EndReason;
use crate::logic::websocket::Tally;
use crate::telemetry::traffic::{DIRECTIONS, KINDS};

use super::route::Route;
use super::server::Server;

/// Bits of a session id below its generation: worker and slab index.
const WORKER_BITS: u32 = 10;
const INDEX_BITS: u32 = 22;
// Ids must tell all workers apart that a configuration may ask for.
const _: () = assert!(MAX_WORKERS as usize <= 1 << WORKER_BITS);

/// A session's name: unique in the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What the control plane sees of a relayed WebSocket, and how it gives it orders.
#[derive(Debug)]
pub struct Live {
    /// Its name.
    pub id: SessionId,
    /// The route that admitted it.
    pub route: Arc<Route>,
    /// The server it talks to.
    pub server: Arc<Server>,
    /// The client's address, from the trusted chain.
    pub client: IpAddr,
    /// When the 101 went out.
    pub opened: Instant,
    messages: [[AtomicU64; KINDS.len()]; DIRECTIONS.len()],
    bytes: [AtomicU64; DIRECTIONS.len()],
    ordered: AtomicBool,
    order: Mutex<Option<EndReason>>,
    waker: AtomicWaker,
}

impl Live {
    /// Tells the session to end, and why. The first order stays.
    pub fn order(&self, reason: EndReason) {
        lock(&self.order).get_or_insert(reason);
        self.ordered.store(true, Relaxed);
        self.waker.wake();
    }

    /// The order that came since the last call. The session's task asks at each wake-up.
    pub fn take_order(&self) -> Option<EndReason> {
        if !self.ordered.load(Relaxed) {
            return None;
        }
        self.ordered.store(false, Relaxed);
        *lock(&self.order)
    }

    /// Publishes what the session has relayed so far, for itself and for its route. Only the
    /// session's own task calls it, so the counters need no locked adds.
    pub fn publish(&self, tally: &Tally) {
        let stripe = self.route.figures.stripe(self.worker());
        for (direction, carried) in [tally.client, tally.backend].iter().enumerate() {
            let kinds = [
                carried.text,
                carried.binary,
                carried.close,
                carried.ping,
                carried.pong,
            ];
            for (kind, count) in kinds.into_iter().enumerate() {
                let news = advance(&self.messages[direction][kind], count);
                if news > 0 {
                    stripe.add_messages(direction, kind, news);
                }
            }
            let news = advance(&self.bytes[direction], carried.payload_bytes);
            if news > 0 {
                stripe.add_bytes(direction, news);
            }
        }
    }

    /// The worker it runs on.
    pub const fn worker(&self) -> usize {
        self.id.place().0
    }

    /// Whose task an order wakes.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }
}

/// All live sessions.
#[derive(Debug)]
pub struct Registry {
    shards: Box<[Mutex<Shard>]>,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: Slab<Arc<Live>>,
    generation: u64,
}

/// A session's place in the registry; left on drop.
#[derive(Debug)]
pub struct Entry {
    registry: Arc<Registry>,
    live: Arc<Live>,
}

impl Registry {
    /// A registry with a shard for each worker.
    pub fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers).map(|_| Mutex::default()).collect(),
        }
    }

    /// Enters a session of a worker.
    pub fn enter(
        self: &Arc<Self>,
        worker: usize,
        route: Arc<Route>,
        server: Arc<Server>,
        client: IpAddr,
        opened: Instant,
    ) -> Entry {
        let mut shard = lock(&self.shards[worker]);
        shard.generation += 1;
        let generation = shard.generation;
        let vacant = shard.sessions.vacant_entry();
        let live = Arc::new(Live {
            id: SessionId::new(generation, worker, vacant.key()),
            route,
            server,
            client,
            opened,
            ordered: AtomicBool::new(false),
            order: Mutex::default(),
            messages: Default::default(),
            bytes: Default::default(),
            waker: AtomicWaker::new(),
        });
        vacant.insert(Arc::clone(&live));
        drop(shard);
        Entry {
            registry: Arc::clone(self),
            live,
        }
    }

    /// The sessions for which `wanted` holds, as of now.
    pub fn select(&self, wanted: impl Fn(&Live) -> bool) -> Vec<Arc<Live>> {
        let mut selected = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let matching = shard
                .sessions
                .iter()
                .map(|(_, live)| live)
                .filter(|live| wanted(live));
            selected.extend(matching.cloned());
        }
        selected
    }

    /// How many sessions live.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| lock(shard).sessions.len())
            .sum()
    }

    /// Whether no session lives.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    /// What the control plane sees.
    pub const fn live(&self) -> &Arc<Live> {
        &self.live
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (worker, index) = self.live.id.place();
        lock(&self.registry.shards[worker])
            .sessions
            .try_remove(index);
    }
}

impl SessionId {
    const fn new(generation: u64, worker: usize, index: usize) -> Self {
        let worker = (worker as u64) & ((1 << WORKER_BITS) - 1);
        let index = (index as u64) & ((1 << INDEX_BITS) - 1);
        Self(generation << (INDEX_BITS + WORKER_BITS) | worker << INDEX_BITS | index)
    }

    const fn place(self) -> (usize, usize) {
        let worker = (self.0 >> INDEX_BITS) & ((1 << WORKER_BITS) - 1);
        let index = self.0 & ((1 << INDEX_BITS) - 1);
        (worker as usize, index as usize)
    }
}

/// Moves a published figure to its new value; says by how much.
fn advance(published: &AtomicU64, to: u64) -> u64 {
    let from = published.load(Relaxed);
    if from != to {
        published.store(to, Relaxed);
    }
    to - from
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
