//! How much passes per second: figures sampled each second, averaged over the last ten.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::state::Shared;

/// Time between samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Samples that are kept: ten seconds lie between the first and the last.
const SAMPLES: usize = 11;

/// The last samples; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    samples: Arc<Mutex<VecDeque<Sample>>>,
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

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    opened: u64,
    messages: u64,
    bytes: u64,
}

impl Rates {
    /// Samples until the future is dropped.
    pub async fn sample(self, shared: Arc<Shared>) {
        loop {
            let (messages, bytes) = shared.metrics.traffic.totals();
            self.push(Sample {
                at: Instant::now(),
                opened: shared.registry.opened(),
                messages,
                bytes,
            });
            sleep(SAMPLE_EVERY).await;
        }
    }

    /// The rates over the samples that there are.
    pub fn per_second(&self) -> PerSecond {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        match (samples.front(), samples.back()) {
            (Some(first), Some(last)) => first.until(last),
            _ => PerSecond::default(),
        }
    }

    fn push(&self, sample: Sample) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(sample);
    }
}

impl Sample {
    fn until(&self, later: &Self) -> PerSecond {
        let seconds = (later.at - self.at).as_secs_f64();
        if seconds <= 0.0 {
            return PerSecond::default();
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = |before: u64, after: u64| after.wrapping_sub(before) as f64 / seconds;
        PerSecond {
            opened: rate(self.opened, later.opened),
            messages: rate(self.messages, later.messages),
            bytes: rate(self.bytes, later.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_ten_seconds() {
        let rates = Rates::default();
        assert_eq!(rates.per_second(), PerSecond::default());
        let start = Instant::now();
        for second in 0..=20 {
            rates.push(Sample {
                at: start + Duration::from_secs(second),
                opened: 0,
                messages: second * 3,
                bytes: if second > 10 { 500 } else { 0 },
            });
        }
        let expected = PerSecond {
            opened: 0.0,
            messages: 3.0,
            bytes: 50.0,
        };
        assert_eq!(rates.per_second(), expected);
    }
}
