//! Every live session, findable from the control plane: one shard per worker, locked by its
//! worker when a session opens or ends and never in between.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use futures_util::task::AtomicWaker;
use slab::Slab;

use crate::config::defaults::MAX_WORKERS;
use crate::logic::reason::EndReason;
use crate::logic::websocket::Tally;
use crate::telemetry::traffic::{DATA_KINDS, DIRECTIONS, KINDS};

use super::route::Route;
use super::server::Server;
use super::tap::Tap;

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
    /// The user that its token names.
    pub user: Option<Arc<str>>,
    /// When the 101 went out.
    pub opened: Instant,
    messages: [[AtomicU64; KINDS.len()]; DIRECTIONS.len()],
    bytes: [AtomicU64; DIRECTIONS.len()],
    called: AtomicBool,
    calls: Mutex<Calls>,
    waker: AtomicWaker,
}

/// What the control plane asks of a session.
#[derive(Debug, Default)]
pub struct Asked {
    /// To end.
    pub order: Option<EndReason>,
    /// To be watched.
    pub tap: Option<Box<Tap>>,
}

#[derive(Debug, Default)]
struct Calls {
    ordered: Option<EndReason>,
    news: Asked,
    /// It has ended: there is nothing to tell it any more.
    over: bool,
}

impl Live {
    /// Tells the session to end, and why. The first order stays; says whether this was it.
    pub fn order(&self, reason: EndReason) -> bool {
        let mut calls = lock(&self.calls);
        if calls.over || calls.ordered.is_some() {
            return false;
        }
        self.server.session_sent_away();
        calls.ordered = Some(reason);
        calls.news.order = Some(reason);
        self.call(calls);
        true
    }

    /// Whether it was told to end.
    pub fn is_ordered(&self) -> bool {
        lock(&self.calls).ordered.is_some()
    }

    /// Shows its frames from now on. Who watched before is replaced.
    pub fn tap(&self, tap: Tap) {
        let mut calls = lock(&self.calls);
        calls.news.tap = Some(Box::new(tap));
        self.call(calls);
    }

    /// Wakes the session before its calls are unlocked: one that saw the call and took it before it
    /// was woken would lose its waker to that, and the next call would wake nobody.
    fn call(&self, calls: MutexGuard<'_, Calls>) {
        self.called.store(true, Relaxed);
        self.waker.wake();
        drop(calls);
    }

    /// Data messages that it has relayed so far, to the backend and to the client.
    pub fn messages(&self) -> [u64; DIRECTIONS.len()] {
        let sum = |kinds: &[AtomicU64; KINDS.len()]| {
            kinds[..DATA_KINDS]
                .iter()
                .map(|kind| kind.load(Relaxed))
                .sum()
        };
        self.messages.each_ref().map(sum)
    }

    /// Payload bytes that it has relayed so far, to the backend and to the client.
    pub fn bytes(&self) -> [u64; DIRECTIONS.len()] {
        self.bytes.each_ref().map(|bytes| bytes.load(Relaxed))
    }

    /// What was asked of it since the last call. The session's task asks at each wake-up; this is its
    /// waker for what is asked next.
    pub fn take_calls(&self, waker: &Waker) -> Option<Asked> {
        if !self.called.load(Relaxed) {
            return None;
        }
        let mut calls = lock(&self.calls);
        self.waker.register(waker);
        self.called.store(false, Relaxed);
        Some(std::mem::take(&mut calls.news))
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
    pub fn register(&self, waker: &Waker) {
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
        user: Option<Arc<str>>,
        opened: Instant,
    ) -> Entry {
        let mut shard = lock(&self.shards[worker]);
        shard.generation += 1;
        let generation = shard.generation;
        let vacant = shard.sessions.vacant_entry();
        server.session_opened();
        let live = Arc::new(Live {
            id: SessionId::new(generation, worker, vacant.key()),
            route,
            server,
            client,
            user,
            opened,
            called: AtomicBool::new(false),
            calls: Mutex::default(),
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

    /// How many sessions `wanted` holds for, as of now.
    pub fn count(&self, wanted: impl Fn(&Live) -> bool) -> usize {
        let count = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            shard
                .sessions
                .iter()
                .filter(|(_, live)| wanted(live))
                .count()
        };
        self.shards.iter().map(count).sum()
    }

    /// The session of this name, as long as it lives.
    pub fn find(&self, id: SessionId) -> Option<Arc<Live>> {
        let (worker, index) = id.place();
        let shard = lock(self.shards.get(worker)?);
        let live = shard.sessions.get(index)?;
        (live.id == id).then(|| Arc::clone(live))
    }

    /// The sessions for which `wanted` holds, in the order of their names: the first `limit` of
    /// those that come after `after`.
    pub fn page(
        &self,
        after: Option<SessionId>,
        limit: usize,
        wanted: impl Fn(&Live) -> bool,
    ) -> Vec<Arc<Live>> {
        let mut first = BinaryHeap::with_capacity(limit + 1);
        for shard in &self.shards {
            let shard = lock(shard);
            for (_, live) in &shard.sessions {
                let comes_in = first.len() < limit
                    || (first.peek()).is_some_and(|ByName(last): &ByName| live.id < last.id);
                if comes_in && after.is_none_or(|after| after < live.id) && wanted(live) {
                    first.push(ByName(Arc::clone(live)));
                    if first.len() > limit {
                        first.pop();
                    }
                }
            }
        }
        let sorted = first.into_sorted_vec();
        sorted.into_iter().map(|ByName(live)| live).collect()
    }

    /// How many sessions there have been.
    pub fn opened(&self) -> u64 {
        let opened = |shard: &Mutex<Shard>| lock(shard).generation;
        self.shards.iter().map(opened).sum()
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
        let was_sent_away = {
            let mut calls = lock(&self.live.calls);
            calls.over = true;
            calls.ordered.is_some()
        };
        self.live.server.session_ended(was_sent_away);
        let (worker, index) = self.live.id.place();
        lock(&self.registry.shards[worker])
            .sessions
            .try_remove(index);
    }
}

/// Sessions by their names.
struct ByName(Arc<Live>);

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByName {}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
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
