//! Thousands of clients on one thread, each checking that its messages come back once, whole
//! and in order.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::frame::{CLOSE, Frame, PING, PONG, TEXT};
use super::request::Request;
use super::wait::{PATIENCE, wait_until};

/// Open connections; they end with [`Swarm::finish`].
pub struct Swarm {
    size: usize,
    shared: Arc<Shared>,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    open: AtomicUsize,
    echoed: AtomicU64,
    finish: AtomicBool,
    faults: Mutex<Vec<String>>,
}

/// What became of a swarm.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that came back as they should.
    pub echoed: u64,
    /// Whatever went wrong, one line each.
    pub faults: Vec<String>,
}

impl Swarm {
    /// Opens `size` WebSockets, each of which says something every `pace`, and waits until all are
    /// open. Without a pace they are silent.
    #[track_caller]
    pub fn open(address: SocketAddr, size: usize, pace: Option<Duration>) -> Self {
        let shared = Arc::new(Shared::default());
        let members = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(run(address, size, pace, members));
        });
        let swarm = Self {
            size,
            shared,
            thread,
        };
        wait_until("the swarm to be open", || {
            let faults = swarm.shared.faults.lock().unwrap();
            assert!(faults.is_empty(), "{faults:?}");
            swarm.shared.open.load(Ordering::Acquire) == size
        });
        swarm
    }

    /// How many messages came back so far.
    pub fn echoed(&self) -> u64 {
        self.shared.echoed.load(Ordering::Acquire)
    }

    /// Waits until every member on average got `rounds` more messages back.
    #[track_caller]
    pub fn wait_for_rounds(&self, rounds: usize) {
        let goal = self.echoed() + u64::try_from(rounds * self.size).unwrap();
        wait_until("the swarm to talk on", || self.echoed() >= goal);
    }

    /// Lets every member wait for what is still under way, close with 1000 and leave.
    pub fn finish(self) -> Outcome {
        self.shared.finish.store(true, Ordering::Release);
        self.thread.join().unwrap();
        let faults = std::mem::take(&mut *self.shared.faults.lock().unwrap());
        Outcome {
            echoed: self.shared.echoed.load(Ordering::Acquire),
            faults,
        }
    }
}

impl Outcome {
    /// Fails unless nothing was lost, altered, doubled or out of order.
    #[track_caller]
    pub fn assert_flawless(&self) {
        assert!(
            self.faults.is_empty(),
            "{} faults: {:?}",
            self.faults.len(),
            self.faults
        );
    }
}

/// How many members shake hands at a time.
const OPENING: usize = 64;

async fn run(address: SocketAddr, size: usize, pace: Option<Duration>, shared: Arc<Shared>) {
    let gate = Arc::new(tokio::sync::Semaphore::new(OPENING));
    let mut members = JoinSet::new();
    for number in 0..size {
        let (shared, gate) = (Arc::clone(&shared), Arc::clone(&gate));
        members.spawn(async move {
            let member = Member {
                number,
                pace,
                shared: &shared,
            };
            if let Err(error) = member.live(address, &gate).await {
                shared
                    .faults
                    .lock()
                    .unwrap()
                    .push(format!("member {number}: {error}"));
            }
        });
    }
    while members.join_next().await.is_some() {}
}

struct Member<'a> {
    number: usize,
    pace: Option<Duration>,
    shared: &'a Shared,
}

impl Member<'_> {
    async fn live(&self, address: SocketAddr, gate: &tokio::sync::Semaphore) -> io::Result<()> {
        let mut stream = {
            let _permit = gate.acquire().await;
            timeout(PATIENCE, join(address)).await??
        };
        self.shared.open.fetch_add(1, Ordering::AcqRel);
        let (said, heard, mut unread) = self.talk(&mut stream).await?;
        timeout(PATIENCE, self.leave(&mut stream, said, heard, &mut unread)).await?
    }

    /// Talks until told to finish; gives how much was said and heard.
    async fn talk(&self, stream: &mut TcpStream) -> io::Result<(u64, u64, Vec<u8>)> {
        let (mut said, mut heard, mut unread) = (0, 0, Vec::new());
        let mut ticks = self.ticks();
        while !self.shared.finish.load(Ordering::Acquire) {
            tokio::select! {
                _ = ticks.tick() => {
                    if self.pace.is_some() {
                        let text = self.text(said);
                        stream.write_all(&Frame::client(TEXT, text).encode()).await?;
                        said += 1;
                    }
                }
                count = stream.read_buf(&mut unread) => {
                    self.hear(stream, count?, &mut unread, &mut heard).await?;
                }
            }
        }
        Ok((said, heard, unread))
    }

    /// Waits for what is still under way, then closes.
    async fn leave(
        &self,
        stream: &mut TcpStream,
        said: u64,
        mut heard: u64,
        unread: &mut Vec<u8>,
    ) -> io::Result<()> {
        while heard < said {
            let count = stream.read_buf(unread).await?;
            self.hear(stream, count, unread, &mut heard).await?;
        }
        let close = Frame::client(CLOSE, Frame::close_payload(1000, "done"));
        stream.write_all(&close.encode()).await?;
        let mut rest = std::mem::take(unread);
        loop {
            if let Some((frame, _)) = Frame::decode(&rest) {
                return match frame.close_code() {
                    Some(1000) => Ok(()),
                    _ => Err(fault(format!("{frame:?} for a Close"))),
                };
            }
            if stream.read_buf(&mut rest).await? == 0 {
                return Err(fault("no Close came back".to_owned()));
            }
        }
    }

    async fn hear(
        &self,
        stream: &mut TcpStream,
        count: usize,
        unread: &mut Vec<u8>,
        heard: &mut u64,
    ) -> io::Result<()> {
        if count == 0 {
            return Err(fault(format!("cut off after {heard} messages")));
        }
        while let Some((frame, length)) = Frame::decode(unread) {
            unread.drain(..length);
            if frame.opcode == PING {
                stream
                    .write_all(&Frame::client(PONG, frame.payload).encode())
                    .await?;
                continue;
            }
            let expected = self.text(*heard);
            if frame != Frame::server(TEXT, &expected) {
                return Err(fault(format!("{frame:?} instead of {expected}")));
            }
            *heard += 1;
            self.shared.echoed.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    fn text(&self, sequence: u64) -> String {
        format!("member {} message {sequence}", self.number)
    }

    /// Members speak evenly spread over the pace, not all at once.
    fn ticks(&self) -> tokio::time::Interval {
        let pace = self.pace.unwrap_or(Duration::from_millis(100));
        let share = u32::try_from(self.number % 100).unwrap();
        let mut ticks = interval_at(Instant::now() + pace * share / 100, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

/// Opens a WebSocket.
///
/// # Errors
/// When there is no 101.
pub async fn join(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&Request::upgrade().bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101 ") {
        return Ok(stream);
    }
    Err(fault(String::from_utf8_lossy(&head).into_owned()))
}

fn fault(text: String) -> io::Error {
    io::Error::other(text)
}

#[test]
fn a_swarm_notices_what_it_is_there_to_notice() {
    let echo = super::Echo::start();
    let swarm = Swarm::open(echo.address(), 50, Some(Duration::from_millis(20)));
    swarm.wait_for_rounds(3);
    let outcome = swarm.finish();
    outcome.assert_flawless();
    assert!(outcome.echoed >= 150, "{outcome:?}");

    let swarm = Swarm::open(echo.address(), 5, Some(Duration::from_millis(20)));
    drop(echo);
    assert_eq!(swarm.finish().faults.len(), 5);
}
