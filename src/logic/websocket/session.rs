//! One relayed WebSocket as a state machine: bytes, ends of streams, orders and time go in; what to forward,
//! to inject, to read and to close comes out. Knows no socket; clock and seed are arguments.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::closing::{CLOSE_TIMEOUT, End, Ending, Output, RESET_TIMEOUT};
use super::dice::Dice;
use super::frame::{ControlFrame, Opcode, Violation};
use super::gate::Gate;
use super::heartbeat::{Pulse, Rhythm};
use super::peer::{Flow, Input, Peer};
use super::settings::{Extensions, Settings};
use super::side::{Pair, Side};
use super::sieve::Sieve;
use super::tally::Tally;
use super::walker::{Fault, Limits, Piece, Step, Walker};
use crate::logic::reason::EndReason;

/// A relayed WebSocket, from the 101 to the last byte. After every call the relay asks [`Self::inject`] for both
/// sides until it says `None`, then [`Self::output`], [`Self::reads`], [`Self::resumes`] and [`Self::deadline`].
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    /// The moment of the call under way.
    pub(super) clock: Instant,
    pub(super) peers: Pair<Peer>,
    pub(super) ending: Option<Box<Ending>>,
    gate: Option<Box<Gate>>,
    /// When a byte last moved.
    active: Instant,
    expires: Option<Instant>,
    tally: Tally,
    dice: Dice,
    /// What the proxy's pings of this session begin with.
    nonce: u32,
}

impl Session {
    /// Most bytes that [`Self::held`] gives back.
    pub const HEADROOM: usize = Gate::THROTTLED_READ_BYTES + ControlFrame::MAX_LEN;

    /// A session whose handshake is done on both sides.
    pub fn new(settings: Arc<Settings>, extensions: Extensions, now: Instant, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let lifetime = settings.max_lifetime.map(|life| jittered(life, &mut dice));
        Self {
            clock: now,
            peers: Pair {
                client: Peer::new(Walker::new(true, extensions.rsv1), now),
                backend: Peer::new(Walker::new(false, extensions.rsv1), now),
            },
            ending: None,
            gate: Gate::new(&settings, now),
            active: now,
            expires: lifetime.and_then(|life| now.checked_add(life)),
            tally: Tally::default(),
            nonce: u32::from_be_bytes(dice.key()),
            dice,
            settings,
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
        let peer = &mut self.peers[from];
        let fresh = chunk.len().saturating_sub(peer.held.len());
        release(&mut peer.held);
        if fresh > 0 {
            peer.heartbeat.heard(now);
        }
        if from == Side::Client
            && let Some(gate) = &mut self.gate
        {
            gate.count_bytes(fresh, now);
        }
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
        self.elapsed_gate();
        self.elapsed_heartbeats();
        if self.expires.is_some_and(|expires| expires <= now) {
            self.begin_own(EndReason::MaxLifetime);
        }
        if self.idles_at().is_some_and(|idles| idles <= now) {
            self.begin_own(EndReason::IdleTimeout);
        }
        self.settle();
    }

    /// The earliest moment at which [`Self::elapsed`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return self.ending_deadline(ending);
        }
        let gate = self.gate.as_ref().and_then(|gate| gate.until());
        let beats = Side::BOTH.map(|side| {
            self.rhythm(side)
                .and_then(|rhythm| self.peers[side].heartbeat.deadline(rhythm))
        });
        let [client, backend] = beats;
        [gate, client, backend, self.expires, self.idles_at()]
            .into_iter()
            .flatten()
            .min()
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

    /// Most that the relay should read at a time from that side.
    pub fn read_limit(&self, from: Side) -> usize {
        match (&self.gate, from) {
            (Some(gate), Side::Client) => gate.read_limit(),
            _ => usize::MAX,
        }
    }

    /// Whether withheld messages may go on: the relay calls [`Self::receive`] with [`Self::held`] alone.
    pub fn resumes(&self, from: Side) -> bool {
        let withheld =
            from == Side::Client && self.gate.as_ref().is_some_and(|gate| gate.has_withheld());
        let waits = self.ending.is_none()
            && self
                .gate
                .as_ref()
                .is_some_and(|gate| gate.until().is_some());
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

    /// Judges a chunk frame by frame; what comes after a Close or a violation is not looked at.
    fn follow(&mut self, from: Side, chunk: &mut [u8]) -> usize {
        let mut sieve = Sieve::default();
        while sieve.judged() < chunk.len() && self.peers[from].input == Input::Open {
            sieve.keep(self.glide(from, &chunk[sieve.judged()..]));
            let rest = &chunk[sieve.judged()..];
            if rest.is_empty() {
                break;
            }
            let limits = self.limits(from, rest.len());
            let (len, passes) = match self.peers[from].walker.step(rest, limits) {
                Ok(Step::Data(piece)) => (piece.len, self.data(from, piece)),
                Ok(Step::Close { len, code }) => {
                    let passes = self.peer_closed(from, code);
                    self.tally[from].close += u64::from(passes);
                    (len, passes)
                }
                Ok(Step::Ping { len }) => {
                    let passes = self.forwards(from);
                    self.tally[from].ping += u64::from(passes);
                    (len, passes)
                }
                Ok(Step::Pong { len, payload }) => {
                    let passes = !self.answers_us(from, payload) && self.forwards(from);
                    self.tally[from].pong += u64::from(passes);
                    (len, passes)
                }
                Ok(Step::Incomplete) => {
                    self.peers[from].held.extend_from_slice(rest);
                    break;
                }
                Err(Fault::TooMany) if self.withholds() => {
                    self.peers[from].held.extend_from_slice(rest);
                    break;
                }
                Err(fault) => {
                    self.begin_fault(from, fault);
                    continue;
                }
            };
            if passes {
                sieve.keep(len);
            } else {
                sieve.drop(chunk, len);
            }
            self.settle();
        }
        sieve.finish(chunk)
    }

    /// The common case: data frames that no end, no rate and no ping of ours concerns pass unseen.
    fn glide(&mut self, from: Side, bytes: &[u8]) -> usize {
        let rated = from == Side::Client && self.gate.is_some();
        if rated || self.ending.is_some() {
            return 0;
        }
        let limits = self.limits(from, bytes.len());
        self.peers[from]
            .walker
            .run(bytes, limits, &mut self.tally[from])
    }

    /// Some of a data frame came; says whether it passes.
    #[inline]
    fn data(&mut self, from: Side, piece: Piece) -> bool {
        if !self.forwards(from) {
            return false;
        }
        if piece.opens
            && from == Side::Client
            && let Some(gate) = &mut self.gate
        {
            gate.count_message(self.clock);
        }
        self.tally[from].data(piece.payload, piece.ends);
        true
    }

    /// Whether what comes from that side goes on to the other.
    #[inline]
    fn forwards(&self, from: Side) -> bool {
        self.peers[from.other()].output == Flow::Open
    }

    /// Whether what comes from that side goes nowhere, so that reading it costs nobody anything.
    fn discards(&self, from: Side) -> bool {
        self.peers[from].input != Input::Open || !self.forwards(from)
    }

    /// Whether that side is not read for what it or the other one did.
    fn holds_back(&self, from: Side) -> bool {
        let throttled = from == Side::Client
            && self.ending.is_none()
            && self
                .gate
                .as_ref()
                .is_some_and(|gate| gate.until().is_some() || gate.has_withheld());
        throttled || self.peers[from.other()].is_stalled()
    }

    /// What the next frame from that side may be, at the beginning of so many bytes.
    #[inline]
    fn limits(&self, from: Side, available: usize) -> Limits {
        if !self.forwards(from) {
            return Limits::NONE;
        }
        Limits {
            frame: self.settings.max_frame_bytes,
            message: self.settings.max_message_bytes,
            another: from == Side::Backend || self.allows_message(available),
        }
    }

    #[inline]
    fn allows_message(&self, available: usize) -> bool {
        let Some(gate) = &self.gate else { return true };
        // More than fits in front of the next chunk cannot be withheld.
        let passes_whole = gate.throttles() && available > Self::HEADROOM;
        self.ending.is_some() || passes_whole || gate.allows_message(self.clock)
    }

    fn withholds(&mut self) -> bool {
        self.gate
            .as_mut()
            .is_some_and(|gate| gate.withholds(self.clock))
    }

    /// Whether a pong answers a ping of ours.
    fn answers_us(&mut self, from: Side, payload: Option<[u8; 8]>) -> bool {
        let Some(payload) = payload else { return false };
        let number = u64::from_be_bytes(payload) & u64::from(u32::MAX);
        let Ok(number) = u32::try_from(number) else {
            return false;
        };
        let heartbeat = &mut self.peers[from].heartbeat;
        if payload != ping_payload(self.nonce, number) || !heartbeat.knows(number) {
            return false;
        }
        heartbeat.answered(number, self.clock);
        true
    }

    fn elapsed_gate(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        if gate.elapsed(self.clock) {
            self.peers.client.heartbeat.heard(self.clock);
        }
    }

    fn elapsed_heartbeats(&mut self) {
        for side in Side::BOTH {
            let Some(rhythm) = self.rhythm(side) else {
                continue;
            };
            let peer = &mut self.peers[side];
            if peer
                .heartbeat
                .deadline(rhythm)
                .is_none_or(|deadline| self.clock < deadline)
            {
                continue;
            }
            if peer.heartbeat.elapsed(peer.is_stalled(), self.clock) == Pulse::Dead {
                self.begin_own(match side {
                    Side::Client => EndReason::PingTimeout,
                    Side::Backend => EndReason::BackendPingTimeout,
                });
            }
        }
    }

    /// How that side is pinged; `None` also while it is not read, when its silence is ours.
    fn rhythm(&self, side: Side) -> Option<Rhythm> {
        let pinged = side == Side::Client || self.settings.ping_backend;
        let interval = self
            .settings
            .ping_interval
            .filter(|_| pinged && !self.holds_back(side))?;
        Some(Rhythm {
            interval,
            timeout: self.settings.ping_timeout,
        })
    }

    fn may_ping(&self, to: Side) -> bool {
        self.ending.is_none() && self.peers[to].heartbeat.wants_ping() && self.on_border(to)
    }

    fn idles_at(&self) -> Option<Instant> {
        self.settings
            .idle_timeout
            .and_then(|timeout| self.active.checked_add(timeout))
    }

    /// RFC 6455 section 5.3: frames to a server are masked, each with a fresh key.
    const fn mask(&mut self, to: Side) -> Option<[u8; 4]> {
        match to {
            Side::Client => None,
            Side::Backend => Some(self.dice.key()),
        }
    }
}

/// Eight bytes by which the proxy knows its own ping again.
fn ping_payload(nonce: u32, number: u32) -> [u8; 8] {
    (u64::from(nonce) << 32 | u64::from(number)).to_be_bytes()
}

/// Uniform within 10 % of `life`, so that sessions opened together do not end together.
fn jittered(life: Duration, dice: &mut Dice) -> Duration {
    Duration::try_from_secs_f64(life.as_secs_f64() * (0.9 + 0.2 * dice.fraction())).unwrap_or(life)
}

/// Empties a buffer; a large one is not kept.
fn release(held: &mut Vec<u8>) {
    if held.capacity() > ControlFrame::MAX_LEN {
        *held = Vec::new();
    } else {
        held.clear();
    }
}
