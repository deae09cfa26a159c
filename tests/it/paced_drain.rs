//! Drains end sessions evenly over the time that was given, never faster (CONTRACT section 4, issue "paced drain").
//! `--nocapture` prints how many sessions ended in each second.

#![expect(
    clippy::print_stdout,
    reason = "figures to be quoted, with --no-capture"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::frame::{CLOSE, Frame};
use crate::support::swarm::join;
use crate::support::wait::wait_until;
use crate::support::{Echo, Setup, Tidegate};

/// How late the last one may be on a busy machine.
const SLACK: Duration = Duration::from_secs(2);

/// Clients that wait for their end.
struct Crowd {
    thread: thread::JoinHandle<Vec<End>>,
}

/// When a client heard its Close, and what that said.
#[derive(Clone, Copy, Debug)]
struct End {
    at: Instant,
    code: Option<u16>,
}

impl Crowd {
    #[track_caller]
    fn open(address: SocketAddr, size: usize) -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&open);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(attend(address, size, counter))
        });
        wait_until("the crowd to be there", || {
            open.load(Ordering::Acquire) == size
        });
        Self { thread }
    }

    /// When each of them heard its Close, in order, counted from `start`.
    fn ends(self, start: Instant, code: u16) -> Vec<Duration> {
        let ends = self.thread.join().unwrap();
        let wrong: Vec<_> = ends.iter().filter(|end| end.code != Some(code)).collect();
        assert!(wrong.is_empty(), "not {code}: {wrong:?}");
        let mut times: Vec<_> = ends.iter().map(|end| end.at - start).collect();
        times.sort_unstable();
        times
    }
}

async fn attend(address: SocketAddr, size: usize, open: Arc<AtomicUsize>) -> Vec<End> {
    const OPENING: usize = 64;
    let gate = Arc::new(Semaphore::new(OPENING));
    let mut crowd = JoinSet::new();
    for _ in 0..size {
        let (gate, open) = (Arc::clone(&gate), Arc::clone(&open));
        crowd.spawn(async move {
            let mut stream = {
                let _permit = gate.acquire().await;
                join(address).await.unwrap()
            };
            open.fetch_add(1, Ordering::AcqRel);
            let mut unread = Vec::new();
            loop {
                let read = stream.read_buf(&mut unread).await.unwrap_or(0);
                let at = Instant::now();
                if let Some((frame, _)) = Frame::decode(&unread) {
                    let answer = Frame::client(CLOSE, &frame.payload).encode();
                    let _ = stream.write_all(&answer).await;
                    let code = frame.close_code();
                    return End { at, code };
                }
                if read == 0 {
                    return End { at, code: None };
                }
            }
        });
    }
    crowd.join_all().await
}

/// None earlier than its share of the time allows, all of them by the end of it.
#[track_caller]
fn assert_paced(times: &[Duration], within: Duration) {
    let share = within / u32::try_from(times.len()).unwrap();
    print_table(times, within);
    for (place, time) in (0..).zip(times) {
        assert!(*time >= share * place, "end {place} came after {time:?}");
    }
    let last = *times.last().expect("somebody");
    assert!(last <= within + SLACK, "the last one ended after {last:?}");
}

fn print_table(times: &[Duration], within: Duration) {
    println!("{} sessions over {within:?}", times.len());
    println!("| second | ended | left |\n|---|---|---|");
    let last = times.last().map_or(0, Duration::as_secs);
    let mut left = times.len();
    for second in 0..=last {
        let ended = times.iter().filter(|time| time.as_secs() == second).count();
        left -= ended;
        println!("| {} | {ended} | {left} |", second + 1);
    }
}

/// The busiest second has no more than its share and what a hiccup before it left over.
#[track_caller]
fn assert_even(times: &[Duration], within: Duration) {
    let fair = times.len() / usize::try_from(within.as_secs()).unwrap();
    for second in 0..within.as_secs() {
        let ended = times.iter().filter(|time| time.as_secs() == second).count();
        assert!(ended <= fair * 3 / 2, "{ended} ended in second {second}");
    }
}

#[test]
fn a_shutdown_ends_2000_sessions_evenly_over_20_s_under_load() {
    let echo = Echo::start();
    // What a closing handshake needs at its end is taken off the grace: 20 s are left.
    let setup = Setup::to(&[&echo])
        .with("server", "shutdown_grace = \"26s\"")
        .with("log", "level = \"info\"");
    let mut proxy = Tidegate::start(&setup);
    let crowd = Crowd::open(proxy.address(), 2000);
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    let times = crowd.ends(start, 1001);
    let within = Duration::from_secs(20);
    assert_paced(&times, within);
    assert_even(&times, within);
    assert!(proxy.wait_for_exit().success());
    let gone = start.elapsed();
    assert!(
        gone <= Duration::from_secs(26) + SLACK,
        "gone after {gone:?}"
    );
}

#[test]
fn a_removed_server_loses_its_sessions_at_the_pace_of_its_upstream() {
    let [leaving, staying] = Echo::start_many::<2>();
    let paced = |server: &Echo| {
        Setup::to(&[server])
            .with("upstream.echo", "drain = \"3s\"")
            .with("log", "level = \"info\"")
    };
    let proxy = Tidegate::start(&paced(&leaving));
    let crowd = Crowd::open(proxy.address(), 150);
    let start = Instant::now();
    proxy.reload_with(&paced(&staying));
    assert_paced(&crowd.ends(start, 1012), Duration::from_secs(3));
    let labels = [("reason", "server_drain")];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 150.0);
}
