//! One relayed WebSocket as a state machine: bytes, ends of streams, orders and time go in; what to forward,
//! to inject, to read and to close comes out. Knows no socket; clock and seed are arguments.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::closing::{CLOSE_TIMEOUT, End, Ending, HALF_CLOSE_TIMEOUT, Output, RESET_TIMEOUT};
use super::forwarding::ping_payload;
use super::frame::{ControlFrame, Opcode, Violation};
use super::frame_observer::FrameObserver;
use super::peer::{Flow, Input, Peer};
use super::rate_limit::RateLimit;
use super::rng::Rng;
use super::settings::{Extensions, Settings};
use super::side::{Pair, Side};
use super::tally::Tally;
use super::walker::Walker;
use crate::logic::reason::EndReason;

/// A relayed WebSocket, from the 101 to the last byte. After every call the relay asks [`Self::inject`] for both
/// sides until it says `None`, then [`Self::output`], [`Self::reads`], [`Self::resumes`] and [`Self::deadline`].
#[derive(Debug)]
pub struct Session {
    pub(super) settings: Arc<Settings>,
    /// The moment of the call under way.
    pub(super) clock: Instant,
    pub(super) peers: Pair<Peer>,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) rate_limit: Option<Box<RateLimit>>,
    /// When a byte last moved.
    pub(super) active: Instant,
    /// When its time is up, and why then.
    pub(super) expires: Option<(Instant, EndReason)>,
    pub(super) tally: Tally,
    rng: Rng,
    /// What the proxy's pings of this session begin with.
    pub(super) nonce: u32,
}

impl Session {
    /// Most bytes that [`Self::held`] gives back.
    pub const HEADROOM: usize = RateLimit::THROTTLED_READ_BYTES + ControlFrame::MAX_LEN;

    /// A session whose handshake is done on both sides.
    pub fn new(settings: Arc<Settings>, extensions: Extensions, now: Instant, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let lifetime = settings.max_lifetime.map(|life| jittered(life, &mut rng));
        Self {
            clock: now,
            peers: Pair {
                client: Peer::new(Walker::new(true, extensions.rsv1), now),
                backend: Peer::new(Walker::new(false, extensions.rsv1), now),
            },
            ending: None,
            rate_limit: RateLimit::new(&settings, now),
            active: now,
            expires: lifetime
                .and_then(|life| now.checked_add(life))
                .map(|at| (at, EndReason::MaxLifetime)),
            tally: Tally::default(),
            nonce: u32::from_be_bytes(rng.key()),
            rng,
            settings,
        }
    }

    /// Ends the session at that moment for that reason, unless its time is up before.
    pub fn expire_at(&mut self, at: Instant, reason: EndReason) {
        if self.expires.is_none_or(|(sooner, _)| at < sooner) {
            self.expires = Some((at, reason));
        }
    }

    /// What the previous [`Self::receive`] withheld; the next chunk begins with it.
    pub fn held(&self, from: Side) -> &[u8] {
        &self.peers[from].held
    }

    /// Takes a chunk, which begins with [`Self::held`], and says how many bytes from its start go on to the other
    /// side. They have been closed up in place where frames of ours were among them; the rest of the chunk is done with.
    pub fn receive(&mut self, from: Side, chunk: &mut [u8], now: Instant) -> usize {
        self.clock = now;
        self.hears(from, chunk.len());
        let passed = self.follow(from, chunk);
        if passed > 0 {
            self.active = now;
        }
        self.settle();
        passed
    }

    /// That side will send no more (FIN).
    pub fn end_of_stream(&mut self, from: Side, now: Instant) {
        self.clock = now;
        self.peers[from].input = Input::Ended;
        self.peers[from].held = Vec::new();
        if self.ending.is_none() {
            self.begin_gone(from);
        }
        self.settle();
    }

    /// The connection to that side is gone: reset, or a write to it failed and nothing is left to read.
    pub fn broken(&mut self, side: Side, now: Instant) {
        self.clock = now;
        let ends_it = self.ending.is_none();
        if ends_it {
            self.begin_gone(side);
        }
        self.peers[side].cut();
        if ends_it || side == Side::Client {
            self.end_within(RESET_TIMEOUT);
        }
        self.settle();
    }

    /// That side has sent the end of its stream, behind what is not read as the other one takes nothing: it may take
    /// as long as an end that was read.
    pub fn leaves(&mut self, side: Side, now: Instant) {
        let reason = match side {
            Side::Client => EndReason::ClientGone,
            Side::Backend => EndReason::BackendGone,
        };
        self.expire_at(now + HALF_CLOSE_TIMEOUT - CLOSE_TIMEOUT, reason);
    }

    /// Ends the session for a reason of the proxy's; the first reason stays, and has five seconds left.
    pub fn order(&mut self, reason: EndReason, now: Instant) {
        self.clock = now;
        self.begin_own(reason);
        self.end_within(CLOSE_TIMEOUT);
        self.settle();
    }

    /// That side now has so many bytes parked that it did not take; called whenever the number changes.
    pub fn parked(&mut self, to: Side, bytes: usize, now: Instant) {
        self.clock = now;
        let was_stalled = self.peers[to].is_stalled();
        if self.peers[to].park(bytes) {
            self.peers[to].heartbeat.heard(now);
            self.active = now;
        }
        let is_stalled = self.peers[to].is_stalled();
        self.peers[to].heartbeat.stuck(is_stalled, now);
        if was_stalled && !is_stalled {
            self.peers[to.other()].heartbeat.heard(now);
        }
        self.stretch();
    }

    /// The [`Self::deadline`] has passed. Harmless when it has not.
    pub fn elapsed(&mut self, now: Instant) {
        self.clock = now;
        if self.ending.is_some() {
            self.elapsed_ending();
            return;
        }
        self.elapsed_living();
        self.settle();
    }

    /// The earliest moment at which [`Self::elapsed`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return self.ending_deadline(ending);
        }
        self.living_deadline()
    }

    /// A frame of the proxy's own that goes to that side now, right behind what was forwarded to it so far.
    pub fn inject(&mut self, to: Side) -> Option<ControlFrame> {
        if let Some(code) = self.take_farewell(to) {
            return Some(ControlFrame::close(code, self.mask(to)));
        }
        if !self.may_ping(to) {
            return None;
        }
        let number = self.peers[to].heartbeat.probe(self.clock);
        let payload = ping_payload(self.nonce, number);
        Some(ControlFrame::new(Opcode::Ping, &payload, self.mask(to)))
    }

    /// Whether the relay should read from that side now.
    pub fn reads(&self, from: Side) -> bool {
        self.peers[from].input != Input::Ended && (self.discards(from) || !self.holds_back(from))
    }

    /// Whether that side has said all that it may: its Close came, or the end of its stream.
    pub fn has_finished(&self, from: Side) -> bool {
        matches!(self.peers[from].input, Input::Closed | Input::Ended)
    }

    /// Most that the relay should read at a time from that side.
    pub fn read_limit(&self, from: Side) -> usize {
        match (&self.rate_limit, from) {
            (Some(rate_limit), Side::Client) => rate_limit.read_limit(),
            _ => usize::MAX,
        }
    }

    /// Whether withheld messages may go on: the relay calls [`Self::receive`] with [`Self::held`] alone.
    pub fn resumes(&self, from: Side) -> bool {
        let withheld = from == Side::Client
            && self
                .rate_limit
                .as_ref()
                .is_some_and(|rate_limit| rate_limit.has_withheld());
        let waits = self.ending.is_none()
            && self
                .rate_limit
                .as_ref()
                .is_some_and(|rate_limit| rate_limit.until().is_some());
        withheld && !waits && (self.discards(from) || !self.peers[from.other()].is_stalled())
    }

    /// What the relay does with the connection to that side.
    pub fn output(&self, to: Side) -> Output {
        match self.peers[to].output {
            Flow::Open | Flow::Sealed | Flow::Closed => Output::Open,
            Flow::Finish => Output::Finish,
            Flow::Cut => Output::Cut,
        }
    }

    /// Why the session ends, as soon as that is decided.
    pub fn reason(&self) -> Option<End> {
        self.ending.as_ref().map(|ending| ending.end)
    }

    /// Why the session ended, once nothing more is waited for: the relay flushes what stands in [`Output::Finish`],
    /// at most until [`Self::deadline`], and drops both connections.
    pub fn end(&self) -> Option<End> {
        self.reason().filter(|_| self.is_over())
    }

    /// What a peer did that ended the session with a protocol error.
    pub fn violation(&self) -> Option<Violation> {
        self.ending.as_ref().and_then(|ending| ending.violation)
    }

    /// What has passed so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The last round trip of a ping of the proxy's to that side.
    pub fn ping_rtt(&self, side: Side) -> Option<Duration> {
        self.peers[side].heartbeat.rtt()
    }

    /// The same, once for each ping.
    pub fn take_ping_rtt(&mut self, side: Side) -> Option<Duration> {
        self.peers[side].heartbeat.take_rtt()
    }

    /// For somebody who follows what comes from that side and passes, from here on.
    pub const fn observer(&self, from: Side) -> FrameObserver {
        match from {
            Side::Client => self.peers.client.walker.observer(),
            Side::Backend => self.peers.backend.walker.observer(),
        }
    }

    fn may_ping(&self, to: Side) -> bool {
        self.ending.is_none() && self.peers[to].heartbeat.wants_ping() && self.on_border(to)
    }

    /// RFC 6455 section 5.3: frames to a server are masked, each with a fresh key.
    const fn mask(&mut self, to: Side) -> Option<[u8; 4]> {
        match to {
            Side::Client => None,
            Side::Backend => Some(self.rng.key()),
        }
    }
}

/// Uniform within 10 % of `life`, so that sessions opened together do not end together.
fn jittered(life: Duration, rng: &mut Rng) -> Duration {
    Duration::try_from_secs_f64(life.as_secs_f64() * (0.9 + 0.2 * rng.fraction())).unwrap_or(life)
}
