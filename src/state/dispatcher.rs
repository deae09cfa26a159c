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

use super::upstream::{Pick, PickRequest, Upstream};

/// How many who can't use what is free are passed over in search of one who can: with a long queue
/// of those who have tried the same server, each place would otherwise cost a walk through all.
const MAX_PASSED_OVER: usize = 64;

/// Hands servers to requests, or has them wait.
pub struct Dispatcher {
    state: Mutex<State>,
    /// How many wait, so that who frees a place need not take the lock while nobody does.
    waiting: AtomicUsize,
    length: IntGauge,
}

/// One lock around choosing, counting and waiting.
struct State {
    balance: Kind,
    chooser: Chooser,
    queue: Queue<Waiter>,
    /// Weak, as its servers hold the dispatcher.
    in_force: Weak<Upstream>,
}

struct Waiter {
    request: PickRequest,
    handed: oneshot::Sender<Result<Pick, Unavailable>>,
}

/// A place in the queue; given up on drop.
#[derive(Debug)]
pub struct Waiting {
    dispatcher: Arc<Dispatcher>,
    turn: Turn,
    handed: oneshot::Receiver<Result<Pick, Unavailable>>,
}

impl Dispatcher {
    /// The dispatcher of an upstream that balances like this.
    pub fn new(balance: Kind, length: IntGauge) -> Self {
        Self {
            state: Mutex::new(State {
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
    pub(super) fn set_upstream(&self, upstream: &Arc<Upstream>, now: Instant) {
        let mut state = self.state();
        let balance = upstream.settings.balance;
        if state.balance != balance {
            state.balance = balance;
            state.chooser = Chooser::new(balance);
        }
        state.in_force = Arc::downgrade(upstream);
        drop(state);
        self.serve(now);
    }

    /// A server at once, unless others wait for one.
    pub(super) fn enter(
        &self,
        upstream: &Upstream,
        request: &PickRequest,
        now: Instant,
    ) -> Result<Pick, Unavailable> {
        let mut state = self.state();
        if !state.queue.is_empty() {
            return Err(Unavailable::Full);
        }
        upstream.choose(&mut state.chooser, request, now)
    }

    /// A place in the queue; nothing when `max` wait.
    pub(super) fn join(
        dispatcher: &Arc<Self>,
        request: &mut PickRequest,
        max: usize,
        now: Instant,
    ) -> Option<Waiting> {
        let (hand, handed) = oneshot::channel();
        let mut state = dispatcher.state();
        if state.queue.len() >= max {
            return None;
        }
        let turn = *request.turn.get_or_insert_with(|| state.queue.draw(now));
        let waiter = Waiter {
            request: request.clone(),
            handed: hand,
        };
        state.queue.join(turn, waiter);
        dispatcher.count(&state);
        drop(state);
        // A place that came free before anybody could see that this one waits is found here.
        dispatcher.serve(now);
        Some(Waiting {
            dispatcher: Arc::clone(dispatcher),
            turn,
            handed,
        })
    }

    /// Hands out what is free to those who wait, in turn. Called whenever there may be more of it.
    pub fn serve(&self, now: Instant) {
        let mut state = self.state();
        let State {
            chooser,
            queue,
            in_force,
            ..
        } = &mut *state;
        let upstream = in_force.upgrade();
        let mut passed_over = 0;
        let served = queue.serve(|Waiter { request, .. }| {
            let upstream = upstream.as_ref().ok_or(Unavailable::Down);
            match upstream.and_then(|upstream| upstream.choose(chooser, request, now)) {
                // Nobody has more servers to choose from than one who has tried none.
                Err(Unavailable::Full) if request.tried.is_empty() => Verdict::Stop,
                Err(Unavailable::Full) if passed_over >= MAX_PASSED_OVER => Verdict::Stop,
                Err(Unavailable::Full) => {
                    passed_over += 1;
                    Verdict::Wait
                }
                outcome => Verdict::Over(outcome),
            }
        });
        self.count(&state);
        // Unlocked first: a place that nobody takes any more comes back here.
        drop(state);
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
        ask(&mut self.state().chooser)
    }

    fn count(&self, state: &State) {
        let waiting = state.queue.len();
        self.waiting.store(waiting, SeqCst);
        self.length.set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut state = self.dispatcher.state();
        let left = state.queue.leave(self.turn);
        self.dispatcher.count(&state);
        drop(state);
        drop(left);
    }
}

impl fmt::Debug for Dispatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dispatcher")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}
