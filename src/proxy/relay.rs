//! The I/O shell of a session: moves bytes between two streams as the session decides.
//! One task per session; it waits for readiness with no buffer held, and what a peer would not
//! take is parked, bounded, while the other side is not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::logic::parked::Parked;
use crate::logic::reason::EndReason;
use crate::logic::websocket::frame::Header;
use crate::logic::websocket::{End, Output, Pair, Session, Side};
use crate::runtime::socket::Departure;
use crate::state::registry::Asked;

use super::accounting::Accounting;
use super::scratch::{self, SCRATCH_BYTES};
use super::stream::Stream;
use super::tail::Tail;

/// Chunks moved in one direction before other sessions of the worker get their turn.
const CHUNKS_PER_TURN: usize = 8;

/// How often a peer that is not read is looked at: whether it is still there.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A session between its two streams. Resolves when both are over.
#[derive(Debug)]
pub struct Relay {
    session: Session,
    client: Half,
    backend: Half,
    timer: Option<Pin<Box<Sleep>>>,
    /// When it fires.
    armed: Option<Instant>,
    accounting: Accounting,
    /// Somebody watches.
    tail: Option<Box<Tail>>,
    park_limit: usize,
    /// What came behind the heads, until it has been passed on.
    early: Option<Box<Pair<Bytes>>>,
    started: bool,
    ended: bool,
}

/// How pumping a direction stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pumped {
    /// A waker is registered for when there is more to do.
    Waits,
    /// The session does not want to read; nothing wakes us for this side.
    Rests,
}

/// One peer: its stream, what it has not taken yet, and how far its ends are.
#[derive(Debug)]
struct Half {
    stream: Option<Stream>,
    parked: Parked,
    /// The TLS layer holds bytes that the socket did not take.
    unflushed: bool,
    /// It takes nothing more; what is written to it is dropped.
    deaf: bool,
    /// What the session was last told of what waits here.
    weighed: usize,
    shut: bool,
}

impl Relay {
    /// A relay of `session` between two streams. `client_early` and `backend_early` are what came
    /// behind the two heads; `park_limit` is the most bytes parked per direction.
    pub fn new(
        session: Session,
        (client, client_early): (Stream, Bytes),
        (backend, backend_early): (Stream, Bytes),
        accounting: Accounting,
        park_limit: usize,
    ) -> Self {
        let came_early = !client_early.is_empty() || !backend_early.is_empty();
        let early = came_early.then_some(Pair {
            client: client_early,
            backend: backend_early,
        });
        Self {
            session,
            client: Half::new(client),
            backend: Half::new(backend),
            timer: None,
            armed: None,
            accounting,
            tail: None,
            park_limit,
            early: early.map(Box::new),
            started: false,
            ended: false,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant) {
        if !self.started {
            self.started = true;
            self.accounting.live().register(cx.waker());
            if let Some(early) = self.early.take() {
                self.replay(Side::Client, &early.client, cx, now);
                self.replay(Side::Backend, &early.backend, cx, now);
            }
        }
        if let Some(asked) = self.accounting.live().take_calls(cx.waker()) {
            self.heed(asked, now);
        }
        let rests = Side::BOTH.map(|side| self.pump(side, cx, now) == Pumped::Rests);
        // Behind the pumps: what waits in a socket is heard before a late timer calls it silence.
        if self.armed.is_some_and(|fires| fires <= now) {
            self.session.elapsed(now);
        }
        for side in Side::BOTH {
            self.inject(side, cx, now);
            self.settle(side, cx, now);
        }
        if self.armed.is_some_and(|fires| fires <= now) {
            self.look_for_departures(cx, now);
        }
        // What one side did may have set the other going again after its turn.
        let goes_on = |(side, rests): (Side, bool)| rests && self.may_pump(side);
        if Side::BOTH.into_iter().zip(rests).any(goes_on) {
            cx.waker().wake_by_ref();
        }
    }

    fn heed(&mut self, asked: Asked, now: Instant) {
        if let Some(tap) = asked.tap {
            let tail = Box::new(Tail::begin(tap, &self.session));
            if let Some(before) = self.tail.replace(tail) {
                before.into_tap().replaced();
            }
        }
        if let Some(reason) = asked.order {
            self.session.order(reason, now);
        }
    }

    fn may_pump(&self, from: Side) -> bool {
        let stream = match from {
            Side::Client => &self.client.stream,
            Side::Backend => &self.backend.stream,
        };
        stream.is_some() && (self.session.reads(from) || self.session.resumes(from))
    }

    /// Moves what `from` has sent for as long as the other side takes it.
    fn pump(&mut self, from: Side, cx: &mut Context<'_>, now: Instant) -> Pumped {
        for _ in 0..CHUNKS_PER_TURN {
            self.flush(from.other(), cx, now);
            if self.session.resumes(from) {
                scratch::with(|scratch| self.pass(from, scratch, 0, cx, now));
            } else if !self.session.reads(from) {
                return Pumped::Rests;
            } else if self.read(from, cx, now).is_pending() {
                return Pumped::Waits;
            }
        }
        cx.waker().wake_by_ref();
        Pumped::Waits
    }

    /// Reads one chunk and passes on what the session lets through.
    fn read(&mut self, from: Side, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        scratch::with(|scratch| {
            // One header more than may be parked: a message of just that size passes in one piece.
            let most = (self.park_limit + Header::MAX_LEN).min(SCRATCH_BYTES);
            let limit = most.min(self.session.read_limit(from));
            let Some(stream) = self.half(from).stream.as_mut() else {
                return Poll::Pending;
            };
            let mut buf = ReadBuf::new(&mut scratch[Session::HEADROOM..][..limit]);
            match Pin::new(stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Poll::Pending,
                // A TLS peer that ends TCP without close_notify; what it sent is whole all the same.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.session.end_of_stream(from, now);
                }
                Poll::Ready(Err(_)) => self.session.broken(from, now),
                Poll::Ready(Ok(())) => match buf.filled().len() {
                    0 if self.half(from).deaf => self.session.broken(from, now),
                    0 => self.session.end_of_stream(from, now),
                    read => self.pass(from, scratch, read, cx, now),
                },
            }
            Poll::Ready(())
        })
    }

    /// Passes `read` new bytes on, with those withheld before in front of them.
    fn pass(
        &mut self,
        from: Side,
        scratch: &mut [u8],
        read: usize,
        cx: &mut Context<'_>,
        now: Instant,
    ) {
        let held = self.session.held(from);
        let start = Session::HEADROOM - held.len();
        scratch[start..Session::HEADROOM].copy_from_slice(held);
        let chunk = &mut scratch[start..Session::HEADROOM + read];
        let forward = self.session.receive(from, chunk, now);
        self.tail
            .take_if(|tail| !tail.passed(from, &chunk[..forward], now));
        self.deliver(from.other(), &chunk[..forward], cx, now);
        self.inject(Side::Client, cx, now);
        self.inject(Side::Backend, cx, now);
    }

    /// Passes on what came behind a head, as if it had been read now.
    fn replay(&mut self, from: Side, early: &[u8], cx: &mut Context<'_>, now: Instant) {
        for piece in early.chunks(SCRATCH_BYTES) {
            scratch::with(|scratch| {
                scratch[Session::HEADROOM..][..piece.len()].copy_from_slice(piece);
                self.pass(from, scratch, piece.len(), cx, now);
            });
        }
    }

    /// Sends the proxy's own frames that may go out to a side now.
    fn inject(&mut self, to: Side, cx: &mut Context<'_>, now: Instant) {
        while let Some(frame) = self.session.inject(to) {
            if let Some(tail) = &mut self.tail {
                tail.said(to, &frame, now);
            }
            self.deliver(to, &frame, cx, now);
        }
    }

    /// Writes what the peer takes and parks the rest.
    fn deliver(&mut self, to: Side, bytes: &[u8], cx: &mut Context<'_>, now: Instant) {
        let half = self.half(to);
        if half.stream.is_none() || bytes.is_empty() {
            return;
        }
        let written = if half.parked.is_empty() {
            half.write(bytes, cx)
        } else {
            Ok(0)
        };
        match written {
            Ok(written) => {
                half.parked.push(&bytes[written..]);
                self.weigh(to, now);
            }
            Err(_) => self.lost(to, cx, now),
        }
    }

    /// Writes what is parked.
    fn flush(&mut self, to: Side, cx: &mut Context<'_>, now: Instant) {
        let half = self.half(to);
        if half.is_clear() {
            return;
        }
        match half.drain(cx) {
            Ok(()) => self.weigh(to, now),
            Err(_) => self.lost(to, cx, now),
        }
    }

    /// Tells session and metric how much waits for a side.
    fn weigh(&mut self, side: Side, now: Instant) {
        let half = self.half(side);
        let waiting = half.waiting();
        let before = std::mem::replace(&mut half.weighed, waiting);
        if waiting != before {
            self.accounting
                .parked_bytes
                .add(gauge(waiting) - gauge(before));
            self.session.parked(side, waiting, now);
        }
    }

    /// Carries out what the session says of a side's end.
    fn settle(&mut self, side: Side, cx: &mut Context<'_>, now: Instant) {
        self.flush(side, cx, now);
        match self.session.output(side) {
            Output::Open => {}
            Output::Finish if self.half(side).is_clear() => self.finish(side, cx, now),
            Output::Finish => {}
            Output::Cut => self.cut(side, now),
        }
    }

    /// Ends our side of the stream. To a peer that has nothing more to say a close does; TLS has a word
    /// of its own to say after the Close.
    fn finish(&mut self, side: Side, cx: &mut Context<'_>, now: Instant) {
        let has_finished = self.session.has_finished(side);
        let half = self.half(side);
        let closed = half
            .stream
            .take_if(|stream| has_finished && !stream.is_tls());
        if closed.is_some() {
            self.session.end_of_stream(side, now);
        } else {
            half.finish(cx);
        }
    }

    /// A write failed: the peer takes nothing more. What it sent before, a Close perhaps, may still
    /// wait in its socket and is read out first, where the session reads that side at all.
    fn lost(&mut self, side: Side, cx: &Context<'_>, now: Instant) {
        self.half(side).deafen();
        self.weigh(side, now);
        if !self.session.reads(side) {
            self.session.broken(side, now);
            self.cut(side, now);
        }
        // The session may have something to say to the other side, which may have had its turn.
        cx.waker().wake_by_ref();
    }

    /// Whether a living session does not read a side.
    fn holds_back(&self) -> bool {
        let reads = |side| self.session.reads(side);
        self.session.reason().is_none() && !Side::BOTH.into_iter().all(reads)
    }

    /// A peer that is not read may have left all the same, and nothing else would tell.
    fn look_for_departures(&mut self, cx: &Context<'_>, now: Instant) {
        for side in Side::BOTH {
            if !self.holds_back() || self.session.reads(side) {
                continue;
            }
            let stream = self.half(side).stream.as_ref();
            match stream.and_then(Stream::departure) {
                Some(Departure::Reset) => self.lost(side, cx, now),
                Some(Departure::Ended) => self.session.leaves(side, now),
                None => {}
            }
        }
    }

    fn cut(&mut self, side: Side, now: Instant) {
        let half = self.half(side);
        if let Some(stream) = half.stream.take() {
            if !half.is_clear() {
                // A peer that takes nothing would keep the kernel's buffers for minutes.
                stream.abort();
            }
            half.deafen();
            self.weigh(side, now);
        }
    }

    /// Arms the timer for the session's deadline. A timer that stands earlier is left: it fires,
    /// finds nothing to do and is armed again, so traffic costs no timer work.
    fn arm(&mut self, cx: &mut Context<'_>, now: Instant) {
        let look = self.holds_back().then(|| now + LOOK_INTERVAL);
        let Some(deadline) = self.session.deadline().into_iter().chain(look).min() else {
            return;
        };
        if self
            .armed
            .is_some_and(|fires| now < fires && fires <= deadline)
        {
            return;
        }
        self.armed = Some(deadline);
        let deadline = deadline.into();
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().reset(deadline);
        if timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    fn over(&self) -> Option<End> {
        let end = self.session.end()?;
        (self.client.is_over() && self.backend.is_over()).then_some(end)
    }

    fn settle_account(&mut self, end: &End, now: Instant) {
        self.ended = true;
        self.accounting.publish(&mut self.session);
        self.accounting.closed(&self.session, end, now);
        if let Some(tail) = self.tail.take() {
            tail.into_tap().ended(end);
        }
    }

    const fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        }
    }
}

impl Future for Relay {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let now = Instant::now();
        self.turn(cx, now);
        if let Some(end) = self.over() {
            self.settle_account(&end, now);
            return Poll::Ready(end);
        }
        let Self {
            session,
            accounting,
            ..
        } = &mut *self;
        accounting.publish(session);
        self.arm(cx, now);
        Poll::Pending
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.ended {
            let end = self.session.reason().unwrap_or_else(cut_short);
            self.settle_account(&end, Instant::now());
        }
        self.accounting
            .parked_bytes
            .sub(gauge(self.client.weighed + self.backend.weighed));
    }
}

impl Half {
    fn new(stream: Stream) -> Self {
        Self {
            stream: Some(stream),
            parked: Parked::default(),
            unflushed: false,
            deaf: false,
            weighed: 0,
            shut: false,
        }
    }

    /// Writes as much as the stream takes now.
    fn write(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> io::Result<usize> {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.deaf) else {
            return Ok(bytes.len());
        };
        let mut written = 0;
        while written < bytes.len() {
            match Pin::new(&mut *stream).poll_write(cx, &bytes[written..])? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => written += count,
                Poll::Pending => break,
            }
        }
        self.unflushed = Pin::new(stream).poll_flush(cx)?.is_pending();
        Ok(written)
    }

    /// Writes what is parked.
    fn drain(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if !self.parked.is_empty() {
            let mut parked = std::mem::take(&mut self.parked);
            let written = self.write(parked.rest(), cx)?;
            parked.take(written);
            self.parked = parked;
        } else if self.unflushed {
            let Some(stream) = self.stream.as_mut() else {
                return Ok(());
            };
            self.unflushed = Pin::new(stream).poll_flush(cx)?.is_pending();
        }
        Ok(())
    }

    /// Forgets what waits, and takes nothing more.
    fn deafen(&mut self) {
        self.deaf = true;
        self.parked = Parked::default();
        self.unflushed = false;
    }

    /// Whether the peer's socket has taken everything.
    const fn is_clear(&self) -> bool {
        self.parked.is_empty() && !self.unflushed
    }

    /// Bytes that wait; what the TLS layer holds, at most a few records, weighs one.
    fn waiting(&self) -> usize {
        self.parked.len() + usize::from(self.unflushed)
    }

    /// Ends our side of the stream, once.
    fn finish(&mut self, cx: &mut Context<'_>) {
        if self.shut {
            return;
        }
        if let Some(stream) = self.stream.as_mut() {
            // An error here means that the peer is gone, which is what was wanted.
            self.shut = Pin::new(stream).poll_shutdown(cx).is_ready();
        }
    }

    const fn is_over(&self) -> bool {
        self.stream.is_none() || self.shut
    }
}

/// The end of a session that nobody decided: its task was dropped, with the process or by a panic.
fn cut_short() -> End {
    End {
        reason: if std::thread::panicking() {
            EndReason::InternalError
        } else {
            EndReason::Shutdown
        },
        close_code: None,
        close_from: None,
    }
}

fn gauge(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
