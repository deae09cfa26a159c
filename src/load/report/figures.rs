//! The figures of a run, in the units people think in.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::plan::{Mode, Pace, Plan};
use crate::load::run::{Memory, Round};
use crate::load::tally::Tally;

/// Everything that a run has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The kind of load.
    pub mode: &'static str,
    /// Echoes asked for in a second over all connections, in an open loop.
    pub rate_per_second: Option<u64>,
    /// Echoes under way on each connection, in a closed loop.
    pub in_flight: Option<u32>,
    /// Connections per target.
    pub connections: u64,
    /// Payload bytes of a message.
    pub message_bytes: usize,
    /// Time under load of each target, all rounds together.
    pub seconds: f64,
    /// Parts it was split into.
    pub rounds: u32,
    /// Threads of the generator.
    pub threads: u64,
    /// Whether it was broken off before it was done.
    pub is_cut_short: bool,
    /// The targets, in the order given.
    pub targets: Vec<TargetReport>,
}

/// What one target has shown.
#[derive(Clone, Debug, Serialize)]
pub struct TargetReport {
    /// The target.
    pub url: String,
    /// Time that it was under load, all rounds together: less than asked for where the run was cut
    /// short, or a round had nothing open.
    pub seconds_under_load: f64,
    /// Handshakes that succeeded, over all rounds.
    pub opened: u64,
    /// Those among them that resumed a TLS session.
    pub resumed: u64,
    /// From when a connection was due to its 101.
    pub opening_ms: Percentiles,
    /// Messages while under load, over all rounds.
    pub messages: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Messages received in a second.
    pub messages_per_second: Spread,
    /// Whether that is the rate asked for, or nearly; `None` where no rate was.
    pub is_rate_held: Option<bool>,
    /// Payload megabytes received in a second, where messages are large.
    pub megabytes_per_second: Option<Spread>,
    /// From when a message was due to its echo.
    pub round_trip_us: Percentiles,
    /// Parts of all messages, or openings where there are none, and the microseconds they stayed
    /// below.
    pub distribution: Vec<(f64, f64)>,
    /// The target's CPU time for a message there and back.
    pub cpu_us_per_message: Option<Spread>,
    /// The target's CPU time for a gigabyte of payload there and back.
    pub cpu_s_per_gigabyte: Option<Spread>,
    /// The target's CPU time for a handshake, where handshakes are the load.
    pub cpu_us_per_handshake: Option<Spread>,
    /// Cores that the target kept busy under load.
    pub cpu_cores: Option<Spread>,
    /// Handshakes in a second, where they are the load.
    pub handshakes_per_second: Option<Spread>,
    /// From when all connections were lost to when all were open again.
    pub recovery_ms: Percentiles,
    /// With all connections open, before the load.
    pub memory_open: MemoryReport,
    /// At the end of the load.
    pub memory_loaded: MemoryReport,
    /// What went wrong, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Close codes received; `none` is a Close without one.
    pub close_codes: BTreeMap<String, u64>,
    /// What the generator itself needed.
    pub generator: Generator,
    /// Messages in a second and the target's CPU time per wall time, over the load.
    pub course: Vec<Point>,
}

/// What is held for connections: the most of any round.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryReport {
    /// What a connection has added to the target's memory (PSS).
    pub bytes_per_connection: Option<f64>,
    /// What a connection has added to the kernel's TCP buffers, of the whole machine, ours included.
    pub tcp_bytes_per_connection: Option<f64>,
    /// The target's memory (PSS).
    pub bytes: Option<u64>,
}

/// What the generator itself needed.
#[derive(Clone, Debug, Serialize)]
pub struct Generator {
    /// Cores that it kept busy under load.
    pub cpu_cores: f64,
    /// Its CPU time for a message there and back.
    pub cpu_us_per_message: Option<f64>,
    /// Its CPU time for a handshake, where handshakes are the load.
    pub cpu_us_per_handshake: Option<f64>,
    /// How busy its busiest thread was.
    pub busiest_percent: f64,
    /// How long a thread was ready and had no core to run on, the most of any.
    pub waited_percent: f64,
    /// By how much it was late with its messages.
    pub late_us: Percentiles,
    /// Whether figures are its limit rather than the target's.
    pub is_bottleneck: bool,
    /// Whether the machine had too few cores for it and the target.
    pub is_starved: bool,
}

/// A quarter of a second under load.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// The round, from 0.
    pub round: usize,
    /// Seconds since the round's load began.
    pub second: f64,
    /// Messages in a second.
    pub messages_per_second: f64,
    /// Handshakes in a second.
    pub handshakes_per_second: f64,
    /// The target's CPU seconds in a second.
    pub cpu: Option<f64>,
}

/// What so many per cent stayed below.
#[derive(Clone, Copy, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Percentiles {
    pub count: u64,
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

/// Less of the rate than that is a rate not held.
const HELD: f64 = 0.95;
/// From here on bytes rather than messages are what costs.
const LARGE_BYTES: usize = 4096;

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Report {
    /// Adds the rounds of each target up.
    pub fn new(plan: &Plan, rounds: &[Vec<Round>]) -> Self {
        let targets = plan.targets.iter().zip(rounds);
        Self {
            mode: plan.mode.word(),
            rate_per_second: plan.rate(),
            in_flight: match plan.mode {
                Mode::Echo(Pace::InFlight(count)) => Some(count),
                _ => None,
            },
            connections: plan.connections,
            message_bytes: plan.message_bytes,
            seconds: plan.duration.as_secs_f64(),
            rounds: plan.rounds,
            threads: plan.threads,
            is_cut_short: rounds
                .iter()
                .any(|rounds| (rounds.len() as u64) < u64::from(plan.rounds))
                || rounds.iter().flatten().any(|round| round.is_cut_short),
            targets: targets
                .map(|(target, rounds)| TargetReport::new(&target.url, plan, rounds))
                .collect(),
        }
    }

    /// Whether nothing was lost or wrong.
    pub fn is_clean(&self) -> bool {
        self.targets
            .iter()
            .all(|target| target.faults.is_empty() && target.opened > 0)
    }
}

impl TargetReport {
    fn new(url: &str, plan: &Plan, rounds: &[Round]) -> Self {
        let mut tally = Tally::default();
        for round in rounds {
            tally.add(&round.tally);
        }
        let handshakes = matches!(plan.mode, Mode::Connect | Mode::Storm);
        let messages: u64 = rounds.iter().map(|round| round.messages).sum();
        let cpu_per_message = over(rounds, |round| {
            Some(round.cpu?.as_secs_f64() / some(round.messages)?)
        });
        // What a server pushes is of its own size.
        let is_bulk = matches!(plan.mode, Mode::Echo(_)) && plan.message_bytes >= LARGE_BYTES;
        let gigabytes_per_message = plan.message_bytes as f64 / 1e9;
        let messages_per_second = over(rounds, |round| {
            Some(round.messages as f64 / round.elapsed.as_secs_f64())
        })
        .unwrap_or_default();
        let seconds = rounds.iter().map(|round| round.elapsed.as_secs_f64()).sum();
        let is_rate_held = plan
            .rate()
            .filter(|_| seconds > 0.0)
            .map(|rate| messages_per_second.median >= HELD * rate as f64);
        Self {
            url: url.to_owned(),
            seconds_under_load: seconds,
            opened: tally.opened,
            resumed: tally.resumed,
            opening_ms: Percentiles::of(&tally.opening, 1e-6),
            messages,
            bytes: tally.bytes,
            messages_per_second,
            is_rate_held,
            megabytes_per_second: is_bulk
                .then(|| messages_per_second.times(gigabytes_per_message * 1e3)),
            round_trip_us: Percentiles::of(&tally.round_trip, 1e-3),
            distribution: distribution(&tally),
            cpu_us_per_message: cpu_per_message.map(|spread| spread.times(1e6)),
            cpu_s_per_gigabyte: cpu_per_message
                .filter(|_| is_bulk)
                .map(|spread| spread.times(1.0 / gigabytes_per_message)),
            cpu_us_per_handshake: handshakes.then(|| cpu_per_handshake(rounds)).flatten(),
            cpu_cores: over(rounds, |round| {
                Some(round.cpu?.as_secs_f64() / round.elapsed.as_secs_f64())
            }),
            handshakes_per_second: over(rounds, |round| {
                handshakes.then(|| round.handshakes as f64 / round.elapsed.as_secs_f64())
            }),
            recovery_ms: Percentiles::of(&tally.recovery, 1e-6),
            memory_open: MemoryReport::new(plan, rounds, |round| round.memory_open),
            memory_loaded: MemoryReport::new(plan, rounds, |round| round.memory_loaded),
            faults: named(&tally.faults, ToString::to_string),
            close_codes: named(&tally.close_codes, |code| {
                code.map_or_else(|| "none".to_owned(), |code| code.to_string())
            }),
            generator: Generator::new(&tally, plan.threads, handshakes),
            course: course(rounds),
        }
    }
}

impl MemoryReport {
    fn new(plan: &Plan, rounds: &[Round], moment: impl Fn(&Round) -> Memory) -> Self {
        // Where connections come and go, nothing is held for a number of them.
        let connections = some(plan.connections).filter(|_| plan.mode != Mode::Connect);
        let most = |held: &dyn Fn(&Memory) -> Option<u64>| {
            let added = over(rounds, |round| {
                let (before, now) = (held(&round.memory_before)?, held(&moment(round))?);
                Some(now.saturating_sub(before) as f64 / connections?)
            });
            added.map(|spread| spread.max)
        };
        Self {
            bytes_per_connection: most(&|memory| memory.process_bytes),
            tcp_bytes_per_connection: most(&|memory| Some(memory.tcp_bytes)),
            bytes: rounds
                .iter()
                .filter_map(|round| moment(round).process_bytes)
                .max(),
        }
    }
}

impl Generator {
    fn new(tally: &Tally, threads: u64, handshakes: bool) -> Self {
        const BUSY: f64 = 0.95;
        const STARVED: f64 = 0.2;
        const LATE_US: f64 = 1000.0;
        let late_us = Percentiles::of(&tally.lateness, 1e-3);
        let cpu_us = tally.cpu.as_secs_f64() * 1e6;
        Self {
            cpu_cores: threads as f64 * tally.cpu.as_secs_f64()
                / tally.covered.as_secs_f64().max(1e-9),
            cpu_us_per_message: some(tally.covered_messages).map(|messages| cpu_us / messages),
            cpu_us_per_handshake: some(tally.covered_handshakes)
                .filter(|_| handshakes)
                .map(|handshakes| cpu_us / handshakes),
            busiest_percent: tally.busiest * 100.0,
            waited_percent: tally.starved * 100.0,
            late_us,
            is_starved: tally.starved > STARVED,
            is_bottleneck: tally.busiest > BUSY || late_us.p99 > LATE_US,
        }
    }
}

impl Percentiles {
    fn of(histogram: &Histogram<u64>, unit: f64) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 * unit;
        Self {
            count: histogram.len(),
            mean: histogram.mean() * unit,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 * unit,
        }
    }
}

impl Spread {
    /// The spread of these figures; `None` without any.
    pub fn of(mut figures: Vec<f64>) -> Option<Self> {
        figures.sort_unstable_by(f64::total_cmp);
        let (&min, &max) = (figures.first()?, figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Some(Self { median, min, max })
    }

    fn times(self, factor: f64) -> Self {
        Self {
            median: self.median * factor,
            min: self.min * factor,
            max: self.max * factor,
        }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            median: 0.0,
            min: 0.0,
            max: 0.0,
        }
    }
}

/// A figure of every round that has it; those that put no load on have none.
fn over(rounds: &[Round], figure: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
    let under_load = rounds.iter().filter(|round| !round.elapsed.is_zero());
    Spread::of(under_load.filter_map(figure).collect())
}

fn cpu_per_handshake(rounds: &[Round]) -> Option<Spread> {
    over(rounds, |round| {
        Some(round.cpu?.as_secs_f64() * 1e6 / some(round.handshakes)?)
    })
}

/// A count that can be divided by.
fn some(count: u64) -> Option<f64> {
    (count > 0).then_some(count as f64)
}

fn named<K>(counts: &BTreeMap<K, u64>, name: impl Fn(&K) -> String) -> BTreeMap<String, u64> {
    counts
        .iter()
        .map(|(key, &count)| (name(key), count))
        .collect()
}

/// Whether so many figures can say what a part of them stayed below: one is beyond it at least.
pub(super) fn is_told(count: u64, quantile: f64) -> bool {
    (1.0 - quantile) * count as f64 >= 1.0 - 1e-6
}

fn distribution(tally: &Tally) -> Vec<(f64, f64)> {
    const QUANTILES: [f64; 16] = [
        0.0, 0.1, 0.25, 0.5, 0.75, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9995, 0.9999,
        0.99995, 0.99999,
    ];
    let histogram = match tally.round_trip.is_empty() {
        true => &tally.opening,
        false => &tally.round_trip,
    };
    if histogram.is_empty() {
        return Vec::new();
    }
    QUANTILES
        .iter()
        .filter(|&&quantile| is_told(histogram.len(), quantile))
        .map(|&quantile| {
            (
                quantile,
                histogram.value_at_quantile(quantile) as f64 * 1e-3,
            )
        })
        .collect()
}

fn course(rounds: &[Round]) -> Vec<Point> {
    let steps = |round: usize, samples: &[crate::load::Sample]| -> Vec<Point> {
        samples
            .windows(2)
            .map(|pair| {
                let seconds = (pair[1].at - pair[0].at).as_secs_f64().max(1e-9);
                let spent = |cpu: Duration| cpu.as_secs_f64() / seconds;
                Point {
                    round,
                    second: pair[1].at.as_secs_f64(),
                    messages_per_second: (pair[1].messages - pair[0].messages) as f64 / seconds,
                    handshakes_per_second: (pair[1].handshakes - pair[0].handshakes) as f64
                        / seconds,
                    cpu: pair[1]
                        .cpu
                        .zip(pair[0].cpu)
                        .map(|(b, a)| spent(b.saturating_sub(a))),
                }
            })
            .collect()
    };
    rounds
        .iter()
        .enumerate()
        .flat_map(|(number, round)| steps(number, &round.course))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Target;
    use crate::load::plan::tests::plan;

    impl Report {
        /// A report of a target that was never reached.
        pub(in crate::load::report) fn of_nothing(url: &str) -> Self {
            let mut target = Target::resolve("ws://127.0.0.1/", None).unwrap();
            target.url = url.to_owned();
            let plan = Plan {
                duration: Duration::ZERO,
                rounds: 0,
                ..plan(vec![target])
            };
            Self::new(&plan, &[vec![]])
        }
    }

    #[test]
    fn few_figures_tell_no_rare_ones() {
        assert!(is_told(1, 0.0) && is_told(100, 0.99) && is_told(10_000, 0.9999));
        assert!(!is_told(99, 0.99) && !is_told(9_999, 0.9999) && !is_told(0, 0.0));
    }

    #[test]
    fn the_generator_is_charged_for_the_time_it_took() {
        let tally = Tally {
            cpu: Duration::from_secs(3),
            covered: Duration::from_secs(6),
            messages: 500,
            covered_messages: 300,
            ..Tally::default()
        };
        let generator = Generator::new(&tally, 2, false);
        assert_eq!(generator.cpu_us_per_message, Some(10_000.0));
        assert_eq!(generator.cpu_cores.to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn spreads_have_their_median_in_the_middle() {
        let spread = |figures: &[f64]| Spread::of(figures.to_vec());
        assert_eq!(spread(&[]), None);
        assert_eq!(
            spread(&[3.0, 1.0, 9.0]),
            Some(Spread {
                median: 3.0,
                min: 1.0,
                max: 9.0
            })
        );
        assert_eq!(
            spread(&[4.0, 1.0]),
            Some(Spread {
                median: 2.5,
                min: 1.0,
                max: 4.0
            })
        );
    }
}
