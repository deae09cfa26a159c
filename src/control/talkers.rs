//! The sessions that carry most right now. Costs a look at every live session, so it is asked
//! only while somebody watches.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::state::registry::{Live, Registry, SessionId};

/// Sessions that are named.
const TALKERS: usize = 8;
/// Longest time between two looks for which a rate means something.
const MAX_AGE: Duration = Duration::from_secs(5);

/// What each live session had carried at the last look; as many entries as there are sessions.
#[derive(Debug, Default)]
pub struct Talkers {
    before: HashMap<SessionId, Carried>,
    looked: Option<Instant>,
}

/// A session and what it carries in a second, to the backend and to the client.
#[derive(Clone, Debug)]
pub struct Talker {
    /// The session.
    pub live: Arc<Live>,
    /// Data messages.
    pub messages: [u64; 2],
    /// Their payload bytes.
    pub bytes: [u64; 2],
}

#[derive(Clone, Copy, Debug)]
struct Carried {
    messages: [u64; 2],
    bytes: [u64; 2],
}

impl Talkers {
    /// Those that carried most bytes since the last look, the first one most; nobody at a first look.
    pub fn look(&mut self, registry: &Registry, now: Instant) -> Vec<Talker> {
        let age = self
            .looked
            .replace(now)
            .map(|looked| now.saturating_duration_since(looked));
        let all = registry.select(|_| true);
        let carried: HashMap<_, _> = all
            .iter()
            .map(|live| (live.id, Carried::by(live)))
            .collect();
        let before = std::mem::replace(&mut self.before, carried);
        let Some(age) = age.filter(|age| !age.is_zero() && *age <= MAX_AGE) else {
            return Vec::new();
        };
        let mut talkers: Vec<_> = (all.into_iter())
            .filter_map(|live| {
                let now = self.before.get(&live.id)?;
                let before = before.get(&live.id).copied().unwrap_or(Carried::NOTHING);
                now.since(before, age).of(live)
            })
            .collect();
        if talkers.len() > TALKERS {
            talkers.select_nth_unstable_by_key(TALKERS, Talker::rank);
            talkers.truncate(TALKERS);
        }
        talkers.sort_unstable_by_key(Talker::rank);
        talkers
    }

    /// Nobody watches any more.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Talker {
    fn rank(&self) -> Reverse<(u64, u64)> {
        Reverse((self.bytes.iter().sum(), self.messages.iter().sum()))
    }
}

impl Carried {
    const NOTHING: Self = Self {
        messages: [0; 2],
        bytes: [0; 2],
    };

    fn by(live: &Live) -> Self {
        Self {
            messages: live.messages(),
            bytes: live.bytes(),
        }
    }

    /// What was carried in a second of those that lie between.
    fn since(self, before: Self, age: Duration) -> Self {
        let millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = |place: usize, of: fn(&Self) -> [u64; 2]| {
            let news = of(&self)[place].saturating_sub(of(&before)[place]);
            news.saturating_mul(1000) / millis
        };
        let each = |of: fn(&Self) -> [u64; 2]| [rate(0, of), rate(1, of)];
        Self {
            messages: each(|carried| carried.messages),
            bytes: each(|carried| carried.bytes),
        }
    }

    /// The talker, unless it is silent.
    fn of(self, live: Arc<Live>) -> Option<Talker> {
        let Self { messages, bytes } = self;
        let talks = messages.iter().chain(&bytes).any(|figure| *figure > 0);
        talks.then_some(Talker {
            live,
            messages,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        let after = Carried {
            messages: [30, 0],
            bytes: [5_000, 2_000],
        };
        let before = Carried {
            messages: [10, 0],
            ..Carried::NOTHING
        };
        let rate = after.since(before, Duration::from_secs(2));
        assert_eq!((rate.messages, rate.bytes), ([10, 0], [2_500, 1_000]));
    }

    #[test]
    fn an_empty_registry_has_no_talkers() {
        let (registry, mut talkers) = (Registry::new(2), Talkers::default());
        let now = Instant::now();
        assert!(talkers.look(&registry, now).is_empty());
        assert!(talkers.look(&registry, now + MAX_AGE).is_empty());
    }
}
