//! Slow start: how much of its weight counts for a server that was just added or has just recovered.

use std::time::Duration;

/// A part of a server's weight, in thousandths, never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStart(u16);

impl SlowStart {
    /// The whole weight.
    pub const FULL: Self = Self(1000);
    /// The least that counts: 2 %.
    const COLD: Self = Self(20);

    /// `max(0.02, elapsed / slow_start)`, and everything once `slow_start` has passed.
    pub fn after(elapsed: Duration, slow_start: Duration) -> Self {
        if elapsed >= slow_start {
            return Self::FULL;
        }
        let per_mille = elapsed.as_nanos() * 1000 / slow_start.as_nanos();
        Self(u16::try_from(per_mille).map_or(Self::FULL.0, |part| part.max(Self::COLD.0)))
    }

    /// In thousandths, 20 to 1000.
    pub(super) const fn per_mille(self) -> u16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_grows_from_two_per_cent_to_all() {
        let slow_start = Duration::from_secs(10);
        for (elapsed_ms, per_mille) in [
            (0, 20),
            (100, 20),
            (200, 20),
            (210, 21),
            (5_000, 500),
            (9_999, 999),
            (10_000, 1000),
        ] {
            let part = SlowStart::after(Duration::from_millis(elapsed_ms), slow_start);
            assert_eq!(part.per_mille(), per_mille, "{elapsed_ms} ms");
        }
    }

    #[test]
    fn without_slow_start_a_server_is_warm_at_once() {
        assert_eq!(
            SlowStart::after(Duration::ZERO, Duration::ZERO),
            SlowStart::FULL
        );
    }
}
