//! When things are due: evenly spaced, whatever happens meanwhile (no coordinated omission).

use std::num::NonZeroU64;

use super::clock::Nanos;

/// One thread's moments out of a common row of moments.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    start: Nanos,
    /// `None` when all are due at the start.
    per_second: Option<NonZeroU64>,
    next: u64,
    stride: u64,
}

impl Schedule {
    /// Every `threads`-th moment from the one numbered `thread` on.
    pub(super) fn new(start: Nanos, per_second: NonZeroU64, thread: u64, threads: u64) -> Self {
        Self {
            start,
            per_second: Some(per_second),
            next: thread,
            stride: threads,
        }
    }

    /// The same moment over and over.
    pub(super) fn at_once(start: Nanos) -> Self {
        Self {
            start,
            per_second: None,
            next: 0,
            stride: 1,
        }
    }

    /// Whether all are due at the same moment.
    pub(super) fn is_at_once(&self) -> bool {
        self.per_second.is_none()
    }

    /// The moment that comes next.
    pub(super) fn next_due(&self) -> Nanos {
        let Some(per_second) = self.per_second else {
            return self.start;
        };
        let offset = u128::from(self.next) * 1_000_000_000 / u128::from(per_second.get());
        self.start
            .saturating_add(u64::try_from(offset).unwrap_or(u64::MAX))
    }

    /// How many moments are to come before that one.
    pub(super) fn left_before(&self, end: Nanos) -> u64 {
        let Some(per_second) = self.per_second else {
            return 0;
        };
        let offset = u128::from(end.saturating_sub(self.start)) * u128::from(per_second.get());
        let all = u64::try_from(offset.div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
        all.saturating_sub(self.next).div_ceil(self.stride)
    }

    /// The next moment, when it has come.
    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let due = self.next_due();
        if due > now {
            return None;
        }
        self.next += self.stride;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: NonZeroU64 = NonZeroU64::new(3).unwrap();

    #[test]
    fn moments_do_not_drift() {
        let mut schedule = Schedule::new(7, THREE, 0, 1);
        let dues: Vec<_> = (0..4).map(|_| schedule.take(u64::MAX).unwrap()).collect();
        assert_eq!(dues, [7, 333_333_340, 666_666_673, 1_000_000_007]);
    }

    #[test]
    fn threads_share_one_row() {
        let row = |thread, threads, count| {
            let mut schedule = Schedule::new(0, THREE, thread, threads);
            (0..count)
                .map(|_| schedule.take(u64::MAX).unwrap())
                .collect::<Vec<_>>()
        };
        let (whole, even, odd) = (row(0, 1, 6), row(0, 2, 3), row(1, 2, 3));
        let woven: Vec<_> = even.into_iter().zip(odd).flat_map(<[_; 2]>::from).collect();
        assert_eq!(woven, whole);
    }

    #[test]
    fn what_is_left_is_counted() {
        for (thread, threads, end) in [
            (0, 1, 1_000_000_000),
            (1, 2, 999_999_999),
            (0, 2, 1),
            (1, 2, 1),
        ] {
            let mut schedule = Schedule::new(5, THREE, thread, threads);
            let left = schedule.left_before(5 + end);
            let taken = std::iter::from_fn(|| schedule.take(5 + end - 1)).count();
            assert_eq!(left, taken as u64, "{thread} of {threads} before {end}");
            assert_eq!(schedule.left_before(5 + end), 0);
        }
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut schedule = Schedule::new(100, THREE, 0, 1);
        assert_eq!(schedule.take(99), None);
        assert_eq!(schedule.take(100), Some(100));
        assert_eq!(schedule.take(100), None);
    }
}
