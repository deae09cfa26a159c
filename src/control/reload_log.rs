//! The last reloads: when, and what came of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::history::since_1970;

/// Reloads that are remembered.
const RELOADS: usize = 10;

/// The last reloads; clones share them.
#[derive(Clone, Debug, Default)]
pub struct ReloadLog(Arc<Mutex<VecDeque<Reloaded>>>);

/// A reload. What was wrong with a configuration is in the log, not here: who may look need not see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// Unix time.
    pub at: u64,
    /// How many changes it made; nothing when it was refused.
    pub changes: Option<usize>,
    /// How many errors it was refused for.
    pub errors: usize,
}

impl ReloadLog {
    /// Something was reloaded, or refused for so many errors.
    pub fn note(&self, outcome: Result<usize, usize>) {
        let mut reloads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reloads.len() == RELOADS {
            reloads.pop_back();
        }
        reloads.push_front(Reloaded {
            at: since_1970().as_secs(),
            changes: outcome.ok(),
            errors: outcome.err().unwrap_or(0),
        });
    }

    /// The last reloads, the latest first.
    pub fn reloads(&self) -> Vec<Reloaded> {
        let reloads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reloads.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stand_first_and_the_oldest_go() {
        let reload_log = ReloadLog::default();
        for changes in 0..20 {
            reload_log.note(Ok(changes));
        }
        reload_log.note(Err(2));
        let reloads = reload_log.reloads();
        assert_eq!(reloads.len(), RELOADS);
        assert_eq!((reloads[0].changes, reloads[0].errors), (None, 2));
        assert_eq!(reloads[1].changes, Some(19));
    }
}
