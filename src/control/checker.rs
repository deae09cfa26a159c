//! Checks one server for ever: probe, judge, report, wait.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::probe::{Probe, ProbeError};
use crate::logic::health::{Health, Transition, jittered};

/// The checks of one server; a task that its owner aborts when the server goes.
pub struct Checker {
    /// What is asked.
    pub probe: Probe,
    /// From one check's start to the next, jittered.
    pub interval: Duration,
    /// What is known so far.
    pub health: Health,
}

/// One check, done.
#[derive(Debug)]
pub struct Checked<'a> {
    /// How it went.
    pub outcome: &'a Result<(), ProbeError>,
    /// What is known now.
    pub health: &'a Health,
    /// Whether the server changed sides by it.
    pub transition: Option<Transition>,
}

impl Checker {
    /// Checks until aborted, the first time at once; every check is reported.
    pub async fn run(self, report: impl FnMut(Checked<'_>) + Send) {
        let Self {
            probe,
            interval,
            health,
        } = self;
        check_for_ever(|| probe.run(), interval, health, report).await;
    }
}

async fn check_for_ever<F: Future<Output = Result<(), ProbeError>>>(
    mut ask: impl FnMut() -> F,
    interval: Duration,
    mut health: Health,
    mut report: impl FnMut(Checked<'_>),
) {
    loop {
        let next = Instant::now() + jittered(interval, fastrand::u64(..));
        let outcome = ask().await;
        let transition = health.observe(outcome.is_ok());
        report(Checked {
            outcome: &outcome,
            health: &health,
            transition,
        });
        sleep_until(next).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::iter::repeat;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;
    use tokio::task::JoinSet;

    use super::*;
    use crate::config::model::ProbeKind;

    fn timed_out() -> Result<(), ProbeError> {
        Err(ProbeError::TimedOut {
            timeout: Duration::ZERO,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn checks_keep_their_interval_within_a_tenth() {
        let interval = Duration::from_secs(5);
        let (checked, mut checks) = mpsc::unbounded_channel();
        let report = move |_: Checked<'_>| checked.send(Instant::now()).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(check_for_ever(
            || ready(Ok(())),
            interval,
            Health::new(1, 1),
            report,
        ));

        let mut last = checks.recv().await.unwrap();
        for _ in 0..50 {
            let this = checks.recv().await.unwrap();
            let passed = this - last;
            // Tokio's timers count whole milliseconds.
            assert!(passed >= interval.mul_f64(0.899) && passed <= interval.mul_f64(1.101));
            last = this;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_hangs_is_checked_no_less_often() {
        let timeout = Duration::from_secs(2);
        let interval = Duration::from_secs(5);
        let ask = move || async move {
            tokio::time::timeout(timeout, pending::<()>())
                .await
                .unwrap_err();
            timed_out()
        };
        let (checked, mut checks) = mpsc::unbounded_channel();
        let report = move |_: Checked<'_>| checked.send(Instant::now()).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(check_for_ever(ask, interval, Health::new(1, 1), report));

        let first = checks.recv().await.unwrap();
        let second = checks.recv().await.unwrap();
        assert!(second - first <= interval.mul_f64(1.101));
    }

    #[tokio::test(start_paused = true)]
    async fn transitions_follow_rise_and_fall() {
        let mut outcomes = "+--+---+-++"
            .chars()
            .map(|c| if c == '+' { Ok(()) } else { timed_out() });
        let ask = move || {
            let outcome = outcomes.next();
            async move {
                match outcome {
                    Some(outcome) => outcome,
                    None => pending().await,
                }
            }
        };
        let (changed, mut changes) = mpsc::unbounded_channel();
        let mut number = 0;
        let report = move |checked: Checked<'_>| {
            number += 1;
            if let Some(transition) = checked.transition {
                changed.send((number, transition)).unwrap();
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(check_for_ever(
            ask,
            Duration::from_secs(1),
            Health::new(2, 3),
            report,
        ));
        assert_eq!(changes.recv().await, Some((7, Transition::Down)));
        assert_eq!(changes.recv().await, Some((11, Transition::Up)));
    }

    #[tokio::test]
    async fn a_server_that_fails_and_recovers_is_seen_to() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let checker = Checker {
            probe: Probe {
                kind: ProbeKind::Http,
                address: listener.local_addr().unwrap(),
                host: Arc::from("a"),
                path: Arc::from("/"),
                timeout: Duration::from_secs(30),
            },
            interval: Duration::from_millis(1),
            health: Health::new(2, 2),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            for status in [200, 503, 503].into_iter().chain(repeat(200)) {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.read_buf(&mut vec![]).await.unwrap();
                let answer = format!("HTTP/1.1 {status} X\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let (changed, mut changes) = mpsc::unbounded_channel();
        tasks.spawn(checker.run(move |checked| {
            if let Some(transition) = checked.transition {
                assert_eq!(checked.health.is_up(), checked.outcome.is_ok());
                changed.send(transition).unwrap();
            }
        }));
        assert_eq!(changes.recv().await, Some(Transition::Down));
        assert_eq!(changes.recv().await, Some(Transition::Up));
    }
}
