//! What a thread has seen: times, counts, faults; added up over threads and rounds.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::clock::Nanos;
use super::fault::Fault;

/// Figures of a run, or of a part of one.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Nanoseconds from when a connection was due to its 101.
    pub opening: Histogram<u64>,
    /// Nanoseconds from when a message was due to its echo.
    pub round_trip: Histogram<u64>,
    /// Nanoseconds by which the generator itself was late with a message.
    pub lateness: Histogram<u64>,
    /// Nanoseconds from when all connections were lost to when all were open again.
    pub recovery: Histogram<u64>,
    /// Handshakes that succeeded.
    pub opened: u64,
    /// Those among them that resumed a TLS session.
    pub resumed: u64,
    /// Messages received whole.
    pub messages: u64,
    /// Payload bytes received.
    pub bytes: u64,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Close codes received; `None` is a Close without one.
    pub close_codes: BTreeMap<Option<u16>, u64>,
    /// CPU time that the generator spent under load.
    pub cpu: Duration,
    /// The time it was spent in, of all threads together: longer than the load where they were late.
    pub covered: Duration,
    /// Messages received in that time.
    pub covered_messages: u64,
    /// Handshakes that succeeded in that time.
    pub covered_handshakes: u64,
    /// The busiest thread's part of the time under load, 0 to 1.
    pub busiest: f64,
    /// The part of it for which a thread was ready and had no core, the most of any thread, 0 to 1.
    pub starved: f64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            opening: histogram(),
            round_trip: histogram(),
            lateness: histogram(),
            recovery: histogram(),
            opened: 0,
            resumed: 0,
            messages: 0,
            bytes: 0,
            faults: BTreeMap::new(),
            close_codes: BTreeMap::new(),
            cpu: Duration::ZERO,
            covered: Duration::ZERO,
            covered_messages: 0,
            covered_handshakes: 0,
            busiest: 0.0,
            starved: 0.0,
        }
    }
}

impl Tally {
    /// Counts a fault.
    pub fn fault(&mut self, fault: Fault) {
        self.faults(fault, 1);
    }

    /// Counts so many faults of a kind.
    pub fn faults(&mut self, fault: Fault, count: u64) {
        if count > 0 {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    /// All faults together.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Adds another's figures.
    pub fn add(&mut self, other: &Self) {
        for (ours, theirs) in [
            (&mut self.opening, &other.opening),
            (&mut self.round_trip, &other.round_trip),
            (&mut self.lateness, &other.lateness),
            (&mut self.recovery, &other.recovery),
        ] {
            ours.add(theirs)
                .expect("all histograms here have the same bounds");
        }
        self.opened += other.opened;
        self.resumed += other.resumed;
        self.messages += other.messages;
        self.bytes += other.bytes;
        for (&fault, &count) in &other.faults {
            self.faults(fault, count);
        }
        for (&code, &count) in &other.close_codes {
            *self.close_codes.entry(code).or_default() += count;
        }
        self.cpu += other.cpu;
        self.covered += other.covered;
        self.covered_messages += other.covered_messages;
        self.covered_handshakes += other.covered_handshakes;
        self.busiest = self.busiest.max(other.busiest);
        self.starved = self.starved.max(other.starved);
    }
}

/// Records the time from one moment to a later one.
pub(super) fn record(histogram: &mut Histogram<u64>, from: Nanos, to: Nanos) {
    histogram.saturating_record(to.saturating_sub(from).max(1));
}

/// From a nanosecond to an hour, three digits exact.
fn histogram() -> Histogram<u64> {
    const HOUR: u64 = 3_600_000_000_000;
    Histogram::new_with_bounds(1, HOUR, 3).expect("constant bounds are good")
}
