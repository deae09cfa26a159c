//! What the process did each second of the last minutes, in a ring of fixed size: read once a
//! second by the control thread, for rates and for the dashboard.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::logic::reason::EndReason;
use crate::state::Shared;
use crate::telemetry::global_stats::{Counts, Ends};
use crate::telemetry::process;
use crate::telemetry::traffic::Totals;

/// Seconds that are kept.
pub const HISTORY_SAMPLES: usize = 300;
/// Time between samples.
pub const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Seconds over which [`History::per_second`] takes the mean.
const RATE_SAMPLES: usize = 10;

/// The last minutes; clones share them.
#[derive(Clone, Debug)]
pub struct History {
    ring: Arc<Mutex<Ring>>,
}

#[derive(Debug)]
struct Ring {
    last: Reading,
    /// What was counted when the first sample began, then at the end of each.
    counted: VecDeque<Counted>,
    samples: VecDeque<Arc<Sample>>,
}

/// What a second was like; what happens is per second, the rest is as it was at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
    /// Live WebSockets.
    pub websockets: usize,
    /// WebSockets opened.
    pub opened: f64,
    /// WebSockets ended.
    pub ended: f64,
    /// Upgrade requests answered with 3xx or 4xx.
    pub refused: f64,
    /// Upgrade requests answered with 5xx.
    pub failed: f64,
    /// Data messages, to the backends and to the clients.
    pub messages: [f64; 2],
    /// Their payload bytes.
    pub bytes: [f64; 2],
    /// What half and what 99 % of the handshakes stayed below.
    pub handshake_ms: Option<[f64; 2]>,
    /// The same of the round trips of pings to clients.
    pub ping_ms: Option<[f64; 2]>,
    /// Cores kept busy.
    pub cpu: f64,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Bytes held for peers that do not read.
    pub parked_bytes: i64,
}

/// What happens in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PerSecond {
    /// WebSockets opened.
    pub opened: f64,
    /// Data messages relayed, both ways.
    pub messages: f64,
    /// Their payload bytes.
    pub bytes: f64,
}

/// How often what happened within the ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Window {
    /// Over how many seconds.
    pub seconds: usize,
    /// WebSockets that ended, by reason.
    pub ends: BTreeMap<&'static str, u64>,
    /// Answers to upgrade requests, by status.
    pub statuses: BTreeMap<u16, u64>,
}

/// Everything that only grows, at a moment.
#[derive(Clone, Debug)]
struct Reading {
    at: Instant,
    opened: u64,
    traffic: Totals,
    handshakes: Counts,
    pings: Counts,
    cpu: Duration,
    counted: Counted,
}

#[derive(Clone, Debug)]
struct Counted {
    ends: Ends,
    statuses: Vec<(u16, u64)>,
}

impl History {
    /// A history that begins now.
    pub fn begin(shared: &Shared) -> Self {
        let last = Reading::of(shared);
        let ring = Ring {
            counted: VecDeque::from([last.counted.clone()]),
            last,
            samples: VecDeque::new(),
        };
        Self {
            ring: Arc::new(Mutex::new(ring)),
        }
    }

    /// Adds the time since the last sample.
    pub fn sample(&self, shared: &Shared) {
        let reading = Reading::of(shared);
        let mut ring = self.lock();
        let sample = Sample {
            at: u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX),
            websockets: shared.registry.len(),
            memory_bytes: process::memory().1,
            parked_bytes: shared.metrics.parked_bytes.get(),
            ..Sample::between(&ring.last, &reading)
        };
        ring.push(reading, sample);
    }

    /// Every sample, the oldest first.
    pub fn samples(&self) -> Vec<Arc<Sample>> {
        self.lock().samples.iter().cloned().collect()
    }

    /// The last sample.
    pub fn last(&self) -> Option<Arc<Sample>> {
        self.lock().samples.back().cloned()
    }

    /// What happened over all of it.
    pub fn window(&self) -> Window {
        self.lock().window()
    }

    /// The mean over the last ten seconds.
    pub fn per_second(&self) -> PerSecond {
        self.lock().per_second()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, reading: Reading, sample: Sample) {
        if self.samples.len() == HISTORY_SAMPLES {
            self.samples.pop_front();
            self.counted.pop_front();
        }
        self.samples.push_back(Arc::new(sample));
        self.counted.push_back(reading.counted.clone());
        self.last = reading;
    }

    fn window(&self) -> Window {
        let (Some(before), Some(after)) = (self.counted.front(), self.counted.back()) else {
            return Window::default();
        };
        let ended = |place: usize| after.ends[place].wrapping_sub(before.ends[place]);
        let ends = (EndReason::ALL.into_iter().enumerate())
            .map(|(place, reason)| (reason.word(), ended(place)))
            .filter(|(_, count)| *count > 0);
        let statuses = (after.statuses.iter())
            .map(|(status, count)| (*status, count - before.status(*status)))
            .filter(|(_, count)| *count > 0);
        Window {
            seconds: self.samples.len(),
            ends: ends.collect(),
            statuses: statuses.collect(),
        }
    }

    fn per_second(&self) -> PerSecond {
        let samples = || self.samples.iter().rev().take(RATE_SAMPLES);
        #[expect(clippy::cast_precision_loss, reason = "ten at most")]
        let count = samples().count().max(1) as f64;
        // Folded, not summed: the sum of nothing is -0.
        let mean =
            |of: fn(&Sample) -> f64| samples().fold(0.0, |sum, sample| sum + of(sample)) / count;
        PerSecond {
            opened: mean(|sample| sample.opened),
            messages: mean(|sample| sample.messages.iter().sum()),
            bytes: mean(|sample| sample.bytes.iter().sum()),
        }
    }
}

impl Reading {
    fn of(shared: &Shared) -> Self {
        let global_stats = &shared.metrics.global_stats;
        Self {
            at: Instant::now(),
            opened: shared.registry.opened(),
            traffic: shared.metrics.traffic.totals(),
            handshakes: global_stats.handshakes.read(),
            pings: global_stats.client_pings.read(),
            cpu: process::cpu_time(),
            counted: Counted {
                ends: global_stats.ends(),
                statuses: global_stats.statuses(),
            },
        }
    }
}

impl Counted {
    fn status(&self, status: u16) -> u64 {
        let found = self.statuses.iter().find(|(known, _)| *known == status);
        found.map_or(0, |(_, count)| *count)
    }

    fn answers(&self, statuses: std::ops::Range<u16>) -> u64 {
        let within = self.statuses.iter();
        within
            .filter(|(status, _)| statuses.contains(status))
            .map(|(_, count)| count)
            .sum()
    }

    fn ended(&self) -> u64 {
        self.ends.iter().sum()
    }
}

impl Sample {
    /// What happened between two readings.
    fn between(before: &Reading, after: &Reading) -> Self {
        let seconds = (after.at - before.at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = |before: u64, after: u64| match seconds {
            0.0 => 0.0,
            seconds => rounded(after.wrapping_sub(before) as f64 / seconds),
        };
        let each = |of: fn(&Totals) -> [u64; 2]| {
            let (before, after) = (of(&before.traffic), of(&after.traffic));
            [rate(before[0], after[0]), rate(before[1], after[1])]
        };
        let answers = |statuses: std::ops::Range<u16>| {
            rate(
                before.counted.answers(statuses.clone()),
                after.counted.answers(statuses),
            )
        };
        let busy = after.cpu.saturating_sub(before.cpu).as_secs_f64();
        Self {
            opened: rate(before.opened, after.opened),
            ended: rate(before.counted.ended(), after.counted.ended()),
            refused: answers(300..499),
            failed: answers(500..600),
            messages: each(|traffic| traffic.messages),
            bytes: each(|traffic| traffic.bytes),
            handshake_ms: (after.handshakes.since(&before.handshakes)).map(millis),
            ping_ms: after.pings.since(&before.pings).map(millis),
            cpu: rounded(busy / seconds.max(f64::EPSILON)),
            ..Self::default()
        }
    }
}

fn millis(times: [Duration; 2]) -> [f64; 2] {
    times.map(|time| rounded(time.as_secs_f64() * 1e3))
}

/// A thousandth is exact enough to look at, and short to send.
fn rounded(figure: f64) -> f64 {
    (figure * 1e3).round() / 1e3
}

/// Time since 1970.
pub fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::global_stats::Latencies;

    fn reading(at: Instant) -> Reading {
        let none = Latencies::default();
        Reading {
            at,
            opened: 0,
            traffic: Totals::default(),
            handshakes: none.read(),
            pings: none.read(),
            cpu: Duration::ZERO,
            counted: Counted {
                ends: [0; EndReason::ALL.len()],
                statuses: Vec::new(),
            },
        }
    }

    fn ring(at: Instant) -> Ring {
        let last = reading(at);
        Ring {
            counted: VecDeque::from([last.counted.clone()]),
            last,
            samples: VecDeque::new(),
        }
    }

    fn add(ring: &mut Ring, after: Reading) {
        let sample = Sample::between(&ring.last, &after);
        ring.push(after, sample);
    }

    #[test]
    fn a_sample_is_per_second_however_long_it_took() {
        let start = Instant::now();
        let before = reading(start);
        let mut after = reading(start + Duration::from_secs(2));
        after.opened = 10;
        after.traffic.messages = [4, 6];
        after.cpu = Duration::from_secs(1);
        after.counted.statuses = vec![(101, 10), (404, 2), (499, 8), (502, 6)];
        let sample = Sample::between(&before, &after);
        assert_eq!(
            (sample.opened, sample.refused, sample.failed),
            (5.0, 1.0, 3.0)
        );
        assert_eq!((sample.messages, sample.cpu), ([2.0, 3.0], 0.5));
        assert_eq!(sample.ping_ms, None);
    }

    #[test]
    fn rates_are_over_the_last_ten_seconds() {
        let start = Instant::now();
        let mut ring = ring(start);
        let none = ring.per_second();
        assert_eq!(none, PerSecond::default());
        let rates = [none.opened, none.messages, none.bytes];
        assert!(rates.iter().all(|rate| rate.is_sign_positive()), "{none:?}");
        for second in 1..=20 {
            let mut after = reading(start + Duration::from_secs(second));
            after.traffic.messages = [second * 3, 0];
            after.traffic.bytes = [0, if second > 10 { 500 } else { 0 }];
            add(&mut ring, after);
        }
        let expected = PerSecond {
            opened: 0.0,
            messages: 3.0,
            bytes: 50.0,
        };
        assert_eq!(ring.per_second(), expected);
    }

    #[test]
    fn the_ring_keeps_its_size_and_counts_what_happened_within_it() {
        let start = Instant::now();
        let mut ring = ring(start);
        let seconds = u64::try_from(HISTORY_SAMPLES).unwrap() + 100;
        for second in 1..=seconds {
            let mut after = reading(start + Duration::from_secs(second));
            after.counted.ends[0] = second;
            after.counted.statuses = vec![(101, 7), (503, second)];
            add(&mut ring, after);
        }
        assert_eq!(ring.samples.len(), HISTORY_SAMPLES);
        let window = ring.window();
        assert_eq!(window.seconds, HISTORY_SAMPLES);
        assert_eq!(window.ends, BTreeMap::from([("client_close", 300)]));
        assert_eq!(window.statuses, BTreeMap::from([(503, 300)]));
    }
}
