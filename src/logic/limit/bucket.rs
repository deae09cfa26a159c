//! A token bucket that counts exactly: what a rate allows, how long to wait for the rest.

use std::time::{Duration, Instant};

use super::Rate;

/// A bucket of tokens, full at first, that a [`Rate`] refills.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// What is gone from the full bucket, in billionths of a token; beyond its depth it is debt.
    gone: u128,
    /// When `gone` was true.
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub const fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            gone: 0,
            at: now,
        }
    }

    /// Goes on at another rate; what is gone stays gone.
    pub fn set_rate(&mut self, rate: Rate, now: Instant) {
        if self.rate != rate {
            self.charge(0, now);
            self.rate = rate;
        }
    }

    /// Takes so many tokens if they are all there.
    pub fn take(&mut self, tokens: u64, now: Instant) -> bool {
        let there = self.wait(tokens, now).is_zero();
        if there {
            self.charge(tokens, now);
        }
        there
    }

    /// Takes so many tokens, on credit where they are not there.
    pub fn charge(&mut self, tokens: u64, now: Instant) {
        self.gone = self
            .gone_at(now)
            .saturating_add(u128::from(tokens) * BILLION);
        self.at = self.at.max(now);
    }

    /// How long until so many tokens are there; no time at all when they are.
    /// More than the bucket holds are there when it is full.
    pub fn wait(&self, tokens: u64, now: Instant) -> Duration {
        let spare = self.rate.burst.get().saturating_sub(tokens);
        let lacking = self
            .gone_at(now)
            .saturating_sub(u128::from(spare) * BILLION);
        let nanos = lacking.div_ceil(u128::from(self.rate.per_second.get()));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn gone_at(&self, now: Instant) -> u128 {
        let elapsed = now.saturating_duration_since(self.at).as_nanos();
        self.gone
            .saturating_sub(elapsed.saturating_mul(u128::from(self.rate.per_second.get())))
    }
}

/// A token, in the unit of [`Bucket::gone`]: so much comes back each nanosecond for each token a second.
const BILLION: u128 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use proptest::prelude::*;

    use super::*;

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate {
            per_second: NonZeroU64::new(per_second).unwrap(),
            burst: NonZeroU64::new(burst).unwrap(),
        }
    }

    #[test]
    fn a_full_bucket_gives_its_depth_and_not_one_more() {
        let now = Instant::now();
        let mut bucket = Bucket::new(rate(3, 100), now);
        assert_eq!((0..200).filter(|_| bucket.take(1, now)).count(), 100);
    }

    #[test]
    fn tokens_come_back_at_the_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(rate(3, 1), now);
        assert!(bucket.take(1, now));
        let wait = bucket.wait(1, now);
        assert_eq!(wait, Duration::from_nanos(333_333_334));
        assert!(!bucket.take(1, now + wait - Duration::from_nanos(1)));
        assert!(bucket.take(1, now + wait));
    }

    #[test]
    fn a_debt_is_paid_before_anything_is_there() {
        let now = Instant::now();
        let mut bucket = Bucket::new(rate(10, 5), now);
        bucket.charge(25, now);
        assert_eq!(bucket.wait(1, now), Duration::from_millis(2_100));
        assert_eq!(bucket.wait(0, now), Duration::from_secs(2));
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let now = Instant::now();
        let mut bucket = Bucket::new(rate(10, 1), now + Duration::from_secs(1));
        assert!(bucket.take(1, now));
        assert!(!bucket.take(1, now + Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_the_rate_over_time(
            per_second in 1..5_000_u64, burst in 1..5_000_u64,
            steps in proptest::collection::vec((0..3_000_000_u64, 1..50_u64), 1..200),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate(per_second, burst), start);
            let (mut now, mut taken) = (start, 0_u128);
            for (micros, tokens) in steps {
                now += Duration::from_micros(micros);
                if bucket.take(tokens, now) {
                    taken += u128::from(tokens);
                }
                let earned = (now - start).as_nanos() * u128::from(per_second) / BILLION;
                prop_assert!(taken <= u128::from(burst.max(tokens)) + earned);
            }
        }

        #[test]
        fn after_the_wait_the_tokens_are_there(
            per_second: u64, burst: u64, debt: u64, tokens: u64,
        ) {
            let now = Instant::now();
            let mut bucket = Bucket::new(rate(per_second.max(1), burst.max(1)), now);
            bucket.charge(debt >> 24, now);
            let wait = bucket.wait(tokens, now);
            if let Some(later) = now.checked_add(wait) {
                prop_assert!(bucket.wait(tokens, later).is_zero());
            }
        }
    }
}
