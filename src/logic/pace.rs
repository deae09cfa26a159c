//! When each of many like things is due, so that they come evenly over a time and none in step
//! with another.

use std::time::{Duration, Instant};

/// Behind by more than this the schedule moves on instead of catching up: a stall is not made up
/// for by a burst.
const MOST_BEHIND: Duration = Duration::from_millis(20);

/// One moment in each equal share of a time.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    share: Duration,
    next_share: Instant,
}

impl Pace {
    /// A pace at which `count` things come over `within`, beginning at `start`.
    pub fn new(count: usize, within: Duration, start: Instant) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Self {
            share: within / count,
            next_share: start,
        }
    }

    /// When the next is due: somewhere in its share, as the seed says.
    pub fn due(&mut self, now: Instant, seed: u64) -> Instant {
        if now.saturating_duration_since(self.next_share) > MOST_BEHIND {
            self.next_share = now;
        }
        let due = self.next_share + part(self.share, seed);
        self.next_share += self.share;
        due
    }
}

/// As much of a time as the seed is of its range.
fn part(time: Duration, seed: u64) -> Duration {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let part = (u128::from(nanos) * u128::from(seed)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(nanos))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The moments of a drain that is never held up, from its start.
    fn moments(seeds: &[u64], within: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let mut pace = Pace::new(seeds.len(), within, start);
        let mut now = start;
        let next = |&seed: &u64| {
            now = pace.due(now, seed);
            now - start
        };
        seeds.iter().map(next).collect()
    }

    #[test]
    fn a_stall_moves_the_rest_on() {
        let start = Instant::now();
        let mut pace = Pace::new(10, Duration::from_secs(10), start);
        assert_eq!(pace.due(start, 0), start);
        let late = start + Duration::from_millis(5_500);
        assert_eq!(pace.due(late, 0), late);
        assert_eq!(pace.due(late, 0), late + Duration::from_secs(1));
    }

    #[test]
    fn no_time_at_all_means_at_once() {
        assert_eq!(moments(&[u64::MAX; 3], Duration::ZERO), [Duration::ZERO; 3]);
    }

    proptest! {
        #[test]
        fn everything_comes_in_its_own_share(seeds in prop::collection::vec(any::<u64>(), 1..100)) {
            let share = Duration::from_millis(100);
            let within = share * u32::try_from(seeds.len()).unwrap();
            for (at, moment) in (0u32..).zip(moments(&seeds, within)) {
                prop_assert!(share * at <= moment && moment < share * (at + 1));
            }
        }

        #[test]
        fn no_stretch_of_time_sees_more_than_the_pace(
            seeds in prop::collection::vec(any::<u64>(), 1..60),
            shares in 1usize..20,
        ) {
            let share = Duration::from_millis(100);
            let moments = moments(&seeds, share * u32::try_from(seeds.len()).unwrap());
            let stretch = share * u32::try_from(shares).unwrap();
            for (at, from) in moments.iter().enumerate() {
                let seen = moments[at..].iter().take_while(|moment| **moment < *from + stretch);
                prop_assert!(seen.count() <= shares + 1);
            }
        }
    }
}
