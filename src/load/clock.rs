//! Nanoseconds since the run began: one word, cheap to keep for every message under way.

use std::time::{Duration, Instant};

/// A moment of the run.
pub(super) type Nanos = u64;

/// The run's clock, the same on every thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    pub(super) fn now(self) -> Nanos {
        nanos(self.origin.elapsed())
    }
}

/// A duration as nanoseconds; five centuries at most.
pub(super) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}
