//! Ends live sessions at a pace, so that their clients do not all come back in one instant.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::info;

use crate::logic::reason::EndReason;
use crate::state::registry::Live;

/// The drains under way; they end with the last handle.
#[derive(Clone, Debug, Default)]
pub struct Drains {
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl Drains {
    /// Starts to end `sessions` over `within`.
    pub fn start(&self, sessions: Vec<Arc<Live>>, reason: EndReason, within: Duration) {
        if sessions.is_empty() {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(drain(sessions, reason, within));
    }
}

/// Orders `sessions` to end for `reason`: in random order, evenly spread over `within`, each at a
/// random moment of its own share of the time.
pub async fn drain(mut sessions: Vec<Arc<Live>>, reason: EndReason, within: Duration) {
    let count = sessions.len();
    if count == 0 {
        return;
    }
    info!(sessions = count, %reason, seconds = within.as_secs_f64(), "draining");
    fastrand::shuffle(&mut sessions);
    let share = within / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let mut due = Instant::now();
    for session in sessions {
        sleep_until(due + share.mul_f64(fastrand::f64())).await;
        session.order(reason);
        due += share;
    }
    info!(sessions = count, %reason, "drained");
}
