//! The one way to an upstream's servers, for all workers and over reloads: who comes is given a
//! server or waits, and who waits is handed a server's place as soon as one is free.
//!
//! Whoever frees a place serves the queue, and a place travels with the message that it was given:
//! if its receiver is gone, it is dropped and thereby free again. So no place is lost, nobody is
//! woken in vain, and nobody overtakes.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use prometheus::IntGauge;
use tokio::sync::oneshot;

use crate::logic::balance::{Chooser, Kind, Queue, Turn, Unavailable, Verdict};

use super::upstream::{Pick, Seeker, Upstream};

/// How many who can't use what is free are passed over in search of one who can: with a long queue
/// of those who have tried the same server, each place would otherwise cost a walk through all.
const MAX_PASSED_OVER: usize = 64;

/// An upstream's entrance.
pub struct Entrance {
    desk: Mutex<Desk>,
    /// How many wait, so that who frees a place need not ask at the desk while nobody does.
    waiting: AtomicUsize,
    length: IntGauge,
}

/// One lock around choosing, counting and waiting.
struct Desk {
    balance: Kind,
    chooser: Chooser,
    queue: Queue<Waiter>,
    /// Weak, as its servers hold the entrance.
    in_force: Weak<Upstream>,
}

struct Waiter {
    seeker: Seeker,
    handed: oneshot::Sender<Result<Pick, Unavailable>>,
}

/// A place in the queue; given up on drop.
#[derive(Debug)]
pub struct Waiting {
    entrance: Arc<Entrance>,
    turn: Turn,
    handed: oneshot::Receiver<Result<Pick, Unavailable>>,
}

impl Entrance {
    /// The entrance of an upstream that balances like this.
    pub fn new(balance: Kind, length: IntGauge) -> Self {
        Self {
            desk: Mutex::new(Desk {
                balance,
                chooser: Chooser::new(balance),
                queue: Queue::default(),
                in_force: Weak::new(),
            }),
            waiting: AtomicUsize::new(0),
            length,
        }
    }

    /// From now on those who wait get servers of this upstream; its balancer remembers what its
    /// predecessor's did, if that balanced the same way.
    pub(super) fn leads_to(&self, upstream: &Arc<Upstream>, now: Instant) {
        let mut desk = self.desk();
        let balance = upstream.settings.balance;
        if desk.balance != balance {
            desk.balance = balance;
            desk.chooser = Chooser::new(balance);
        }
        desk.in_force = Arc::downgrade(upstream);
        drop(desk);
        self.serve(now);
    }

    /// A server at once, unless others wait for one.
    pub(super) fn enter(
        &self,
        upstream: &Upstream,
        seeker: &Seeker,
        now: Instant,
    ) -> Result<Pick, Unavailable> {
        let mut desk = self.desk();
        if !desk.queue.is_empty() {
            return Err(Unavailable::Full);
        }
        upstream.choose(&mut desk.chooser, seeker, now)
    }

    /// A place in the queue; nothing when `max` wait.
    pub(super) fn join(
        entrance: &Arc<Self>,
        seeker: &mut Seeker,
        max: usize,
        now: Instant,
    ) -> Option<Waiting> {
        let (hand, handed) = oneshot::channel();
        let mut desk = entrance.desk();
        if desk.queue.len() >= max {
            return None;
        }
        let turn = *seeker.turn.get_or_insert_with(|| desk.queue.draw(now));
        let waiter = Waiter {
            seeker: seeker.clone(),
            handed: hand,
        };
        desk.queue.join(turn, waiter);
        entrance.count(&desk);
        drop(desk);
        // A place that came free before anybody could see that this one waits is found here.
        entrance.serve(now);
        Some(Waiting {
            entrance: Arc::clone(entrance),
            turn,
            handed,
        })
    }

    /// Hands out what is free to those who wait, in turn. Called whenever there may be more of it.
    pub fn serve(&self, now: Instant) {
        let mut desk = self.desk();
        let Desk {
            chooser,
            queue,
            in_force,
            ..
        } = &mut *desk;
        let upstream = in_force.upgrade();
        let mut passed_over = 0;
        let served = queue.serve(|Waiter { seeker, .. }| {
            let upstream = upstream.as_ref().ok_or(Unavailable::Down);
            match upstream.and_then(|upstream| upstream.choose(chooser, seeker, now)) {
                // Nobody has more servers to choose from than one who has tried none.
                Err(Unavailable::Full) if seeker.tried.is_empty() => Verdict::Stop,
                Err(Unavailable::Full) if passed_over >= MAX_PASSED_OVER => Verdict::Stop,
                Err(Unavailable::Full) => {
                    passed_over += 1;
                    Verdict::Wait
                }
                outcome => Verdict::Over(outcome),
            }
        });
        self.count(&desk);
        // Unlocked first: a place that nobody takes any more comes back here.
        drop(desk);
        for (waiter, outcome) in served {
            let _ = waiter.handed.send(outcome);
        }
    }

    /// A server has a place more than before.
    pub(super) fn place_freed(&self) {
        // Sequentially consistent, like the servers' counts: whoever joins either is seen here, or
        // sees the place when it serves.
        if self.waiting.load(SeqCst) > 0 {
            self.serve(Instant::now());
        }
    }

    /// Asks the chooser something, or tells it.
    pub(super) fn consult<T>(&self, ask: impl FnOnce(&mut Chooser) -> T) -> T {
        ask(&mut self.desk().chooser)
    }

    fn count(&self, desk: &Desk) {
        let waiting = desk.queue.len();
        self.waiting.store(waiting, SeqCst);
        self.length.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Since when.
    pub const fn since(&self) -> Instant {
        self.turn.since
    }

    /// Resolves when the turn has come.
    ///
    /// # Errors
    /// [`Unavailable`] when no server is left to wait for.
    pub async fn turn(mut self) -> Result<Pick, Unavailable> {
        let handed = (&mut self.handed).await;
        handed.unwrap_or(Err(Unavailable::Down))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut desk = self.entrance.desk();
        let left = desk.queue.leave(self.turn);
        self.entrance.count(&desk);
        drop(desk);
        drop(left);
    }
}

impl fmt::Debug for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entrance")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
