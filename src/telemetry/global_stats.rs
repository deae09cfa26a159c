//! Figures of the whole process for those who watch it live: they carry no labels, so a reading
//! costs the same however many routes there are.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::logic::reason::EndReason;

/// Statuses that are told apart: 100 to 599; others count as the last.
const STATUSES: usize = 500;
const FIRST_STATUS: u16 = 100;
/// Up to two minutes, four buckets to each doubling.
const BUCKETS: usize = 108;

/// Sessions that ended so far, by reason, in the order of [`EndReason::ALL`].
pub type Ends = [u64; EndReason::ALL.len()];

/// What happened since the start.
#[derive(Debug)]
pub struct GlobalStats {
    statuses: [AtomicU64; STATUSES],
    ends: [AtomicU64; EndReason::ALL.len()],
    /// From request heads to their 101.
    pub handshakes: Latencies,
    /// Round trips of the proxy's pings to clients.
    pub client_pings: Latencies,
}

/// How long things took.
#[derive(Debug)]
pub struct Latencies([AtomicU64; BUCKETS]);

/// A reading of [`Latencies`].
#[derive(Clone, Debug)]
pub struct Counts([u64; BUCKETS]);

impl GlobalStats {
    /// An upgrade request was answered.
    pub fn answered(&self, status: u16) {
        let place = usize::from(status.saturating_sub(FIRST_STATUS));
        self.statuses[place.min(STATUSES - 1)].fetch_add(1, Relaxed);
    }

    /// A session ended.
    pub fn ended(&self, reason: EndReason) {
        self.ends[reason as usize].fetch_add(1, Relaxed);
    }

    /// Sessions that ended so far.
    pub fn ends(&self) -> Ends {
        array::from_fn(|place| self.ends[place].load(Relaxed))
    }

    /// Answers to upgrade requests so far: each status that there was, and how often.
    pub fn statuses(&self) -> Vec<(u16, u64)> {
        let counts = self.statuses.iter().map(|count| count.load(Relaxed));
        let counted = (FIRST_STATUS..).zip(counts);
        counted.filter(|(_, count)| *count > 0).collect()
    }
}

impl Latencies {
    /// Something took so long.
    pub fn observe(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0[bucket(micros)].fetch_add(1, Relaxed);
    }

    /// How often anything took how long so far.
    pub fn read(&self) -> Counts {
        Counts(array::from_fn(|place| self.0[place].load(Relaxed)))
    }
}

impl Counts {
    /// What half and what 99 % of those that came after `before` stayed below.
    pub fn since(&self, before: &Self) -> Option<[Duration; 2]> {
        let counts: [u64; BUCKETS] =
            array::from_fn(|place| self.0[place].wrapping_sub(before.0[place]));
        let total: u64 = counts.iter().sum();
        let below = |percent: u64| {
            let wanted = (total * percent).div_ceil(100);
            let mut seen = 0;
            let place = counts.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            Duration::from_micros(upper_bound(place.unwrap_or(BUCKETS - 1)))
        };
        (total > 0).then(|| [below(50), below(99)])
    }
}

impl Default for GlobalStats {
    fn default() -> Self {
        Self {
            statuses: array::from_fn(|_| AtomicU64::new(0)),
            ends: Default::default(),
            handshakes: Latencies::default(),
            client_pings: Latencies::default(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The first microseconds have a bucket each.
const fn bucket(micros: u64) -> usize {
    if micros < 4 {
        return (micros & 3) as usize;
    }
    let octave = micros.ilog2();
    let quarter = (micros >> (octave - 2)) & 3;
    let place = (octave as usize - 1) * 4 + quarter as usize;
    if place < BUCKETS { place } else { BUCKETS - 1 }
}

/// The least number of microseconds that is beyond a bucket.
const fn upper_bound(bucket: usize) -> u64 {
    if bucket < 3 {
        return bucket as u64 + 1;
    }
    let next = bucket as u64 + 1;
    (4 + next % 4) << (next / 4 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_lies_below_the_bound_of_its_bucket_and_within_a_quarter_of_it() {
        for micros in (0..100_000).chain([1 << 20, (1 << 27) - 1]) {
            let place = bucket(micros);
            let bound = upper_bound(place);
            assert!(micros < bound, "{micros}: {place}, {bound}");
            assert!(bound - micros <= micros / 4 + 1, "{micros}: {bound}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn a_reading_tells_of_what_came_after_the_one_before() {
        let latencies = Latencies::default();
        let start = latencies.read();
        assert_eq!(start.since(&start), None);
        latencies.observe(Duration::from_secs(5));
        let before = latencies.read();
        for millis in 1..=100 {
            latencies.observe(Duration::from_millis(millis));
        }
        let [half, most] = latencies.read().since(&before).unwrap();
        assert!((50..63).contains(&half.as_millis()), "{half:?}");
        assert!((99..125).contains(&most.as_millis()), "{most:?}");
    }

    #[test]
    fn statuses_are_those_that_there_were() {
        let global_stats = GlobalStats::default();
        for status in [101, 101, 502, 999] {
            global_stats.answered(status);
        }
        assert_eq!(global_stats.statuses(), [(101, 2), (502, 1), (599, 1)]);
    }

    #[test]
    fn each_reason_has_the_place_it_has_among_all() {
        let global_stats = GlobalStats::default();
        for (place, reason) in EndReason::ALL.into_iter().enumerate() {
            global_stats.ended(reason);
            assert_eq!(global_stats.ends()[place], 1, "{reason}");
        }
    }
}
