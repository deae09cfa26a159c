//! Passive ejection: a server that keeps failing real connections is taken out for a while.

use std::time::{Duration, Instant};

/// What real connections have shown of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ejection {
    /// Failures since the last success.
    failures: u32,
    /// Ejections since the last success.
    ejections: u32,
    until: Option<Instant>,
}

impl Ejection {
    /// Whether it is out now.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// A connection or a handshake failed; returns for how long the server goes out now, if it does.
    ///
    /// It takes `most_failures` in a row, and each further failure when the server is back ejects
    /// it for twice as long, up to ten times `eject`. The last server of an upstream stays.
    pub fn failed(
        &mut self,
        most_failures: u32,
        eject: Duration,
        others_available: bool,
        now: Instant,
    ) -> Option<Duration> {
        // Connections that were under way when it went out say nothing new.
        if self.is_ejected(now) {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < most_failures || !others_available {
            return None;
        }
        let period = eject * times(self.ejections);
        self.ejections = self.ejections.saturating_add(1);
        self.until = now.checked_add(period);
        Some(period)
    }

    /// A connection or a check succeeded: all is forgiven.
    pub fn succeeded(&mut self) {
        *self = Self::default();
    }
}

/// 1, 2, 4, 8 and then 10 times.
fn times(earlier_ejections: u32) -> u32 {
    const MOST: u32 = 10;
    1u32.checked_shl(earlier_ejections)
        .map_or(MOST, |times| times.min(MOST))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EJECT: Duration = Duration::from_secs(10);

    fn fail(ejection: &mut Ejection, now: Instant) -> Option<Duration> {
        ejection.failed(3, EJECT, true, now)
    }

    #[test]
    fn the_third_failure_in_a_row_ejects() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        assert_eq!(fail(&mut ejection, now), None);
        assert_eq!(fail(&mut ejection, now), None);
        assert_eq!(fail(&mut ejection, now), Some(EJECT));
        assert!(ejection.is_ejected(now));
        assert!(!ejection.is_ejected(now + EJECT));
    }

    #[test]
    fn a_success_in_between_starts_the_count_again() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        for _ in 0..5 {
            assert_eq!(fail(&mut ejection, now), None);
            assert_eq!(fail(&mut ejection, now), None);
            ejection.succeeded();
        }
    }

    #[test]
    fn each_return_that_fails_doubles_the_time_up_to_ten_times() {
        let mut now = Instant::now();
        let mut ejection = Ejection::default();
        ejection.failed(1, EJECT, false, now);
        let mut periods = vec![];
        for _ in 0..40 {
            let period = ejection.failed(1, EJECT, true, now).unwrap();
            periods.push(period.as_secs());
            now += period;
        }
        assert_eq!(periods[..6], [10, 20, 40, 80, 100, 100]);
        assert_eq!(periods[39], 100);
    }

    #[test]
    fn a_success_forgets_the_doubling() {
        let mut now = Instant::now();
        let mut ejection = Ejection::default();
        assert_eq!(ejection.failed(1, EJECT, true, now), Some(EJECT));
        now += EJECT;
        ejection.succeeded();
        assert_eq!(ejection.failed(1, EJECT, true, now), Some(EJECT));
    }

    #[test]
    fn failures_of_connections_already_under_way_do_not_prolong_it() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        assert_eq!(ejection.failed(1, EJECT, true, now), Some(EJECT));
        assert_eq!(ejection.failed(1, EJECT, true, now + EJECT / 2), None);
        assert!(!ejection.is_ejected(now + EJECT));
    }

    #[test]
    fn the_last_server_is_never_ejected() {
        let now = Instant::now();
        let mut ejection = Ejection::default();
        for _ in 0..10 {
            assert_eq!(ejection.failed(1, EJECT, false, now), None);
        }
        assert!(!ejection.is_ejected(now));
    }
}
