//! When the next check is due: never in step with the checks of others.

use std::time::Duration;

/// The interval, longer or shorter by up to a tenth, as the seed says.
pub fn jittered(interval: Duration, seed: u64) -> Duration {
    let tenth = u64::try_from(interval.as_nanos() / 10).unwrap_or(u64::MAX / 2);
    let span = u128::from(tenth) * 2 + 1;
    // Multiply and shift: the seed's place in its range, carried over to the span.
    let offset = u64::try_from((u128::from(seed) * span) >> 64).unwrap_or(tenth);
    interval - Duration::from_nanos(tenth) + Duration::from_nanos(offset)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seeds_reach_both_ends() {
        let interval = Duration::from_secs(5);
        assert_eq!(jittered(interval, 0), Duration::from_millis(4500));
        assert_eq!(jittered(interval, u64::MAX), Duration::from_millis(5500));
        assert_eq!(jittered(interval, u64::MAX / 2), interval);
    }

    proptest! {
        #[test]
        fn a_jittered_interval_stays_within_a_tenth(millis in 0u64..10_000_000, seed: u64) {
            let interval = Duration::from_millis(millis);
            let jittered = jittered(interval, seed);
            prop_assert!(jittered >= interval - interval / 10);
            prop_assert!(jittered <= interval + interval / 10);
        }
    }
}
