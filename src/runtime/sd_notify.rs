//! The service manager: what it is told of the process by sd_notify(3). Where there is none,
//! nothing is said.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::workers::Workers;

/// Signs of life for each watchdog interval: one may come late.
const SIGNS_OF_LIFE: u32 = 3;
/// Time to end that is asked for beyond what the drain may take.
const LAST_STEPS: Duration = Duration::from_secs(10);

/// The manager as this process sees it.
#[derive(Debug)]
pub struct ServiceManager {
    /// The task that shows the watchdog life.
    life: JoinSet<()>,
    /// Whether this process is the one that the manager looks at.
    is_main: bool,
}

impl ServiceManager {
    /// Begins to show the watchdog, where one is set, that the control thread and every worker live.
    pub fn watched(workers: &Arc<Workers>) -> Self {
        let mut life = JoinSet::new();
        if let Some(interval) = sd_notify::watchdog_enabled() {
            life.spawn(show_life(interval / SIGNS_OF_LIFE, Arc::clone(workers)));
        }
        Self {
            life,
            is_main: true,
        }
    }

    /// The process serves.
    pub fn ready(&self) {
        self.tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    }

    /// A reload begins.
    pub fn reloading(&self) {
        let mut state = vec![NotifyState::Reloading, NotifyState::Status("reloading")];
        // Without the time a manager that waits for the reload's end could take an old word for it.
        state.extend(NotifyState::monotonic_usec_now());
        self.tell(&state);
    }

    /// A reload is over.
    pub fn reloaded(&self, done: bool) {
        let status = if done {
            "serving"
        } else {
            "serving; the last reload was refused, the log says why"
        };
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Another process is the main one from now on; this one says nothing more.
    pub fn hand_over(&mut self, pid: u32) {
        self.life.abort_all();
        self.tell(&[NotifyState::MainPid(pid)]);
        self.is_main = false;
    }

    /// The process stops and may take so long.
    pub fn stopping(&self, grace: Duration) {
        let time = (grace + LAST_STEPS).as_micros();
        let time = u32::try_from(time).unwrap_or(u32::MAX);
        self.tell(&[
            NotifyState::Stopping,
            NotifyState::ExtendTimeoutUsec(time),
            NotifyState::Status("stopping"),
        ]);
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        if self.is_main {
            tell(state);
        }
    }
}

async fn show_life(every: Duration, workers: Arc<Workers>) {
    loop {
        if timeout(every, workers.answer()).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        } else {
            warn!("a worker does not answer, the watchdog is told nothing");
        }
        sleep(every).await;
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager can't be told");
    }
}
