//! Watches a session and holds every one of its promises against what peers and wires know.

use std::time::{Duration, Instant};

use tidegate::logic::limit::Rate;
use tidegate::logic::reason::{CloseCode, EndReason, Farewell};
use tidegate::logic::websocket::{Carried, CloseFrom, End, Output, Pair, Session, Side};

use super::MOST_READ;
use super::peer::Peer;
use super::plan::{FrameKind, Plan};
use super::wire::{Counts, Wire};

#[derive(Debug)]
pub struct Oracle {
    born: Instant,
    /// How far what each side wrote has been accounted for.
    matched: Pair<usize>,
    /// When each side last gave a sign of life.
    alive: Pair<Instant>,
    /// When a byte last moved.
    moved: Instant,
    pinged: Pair<Option<Instant>>,
    broke: Pair<bool>,
    ended: Pair<bool>,
    decided: Option<(EndReason, Instant)>,
    /// A connection that broke decided it.
    by_reset: bool,
    /// The code of the Close that the proxy sent to the client.
    told_client: Option<u16>,
    over: Option<(End, Instant)>,
}

impl Oracle {
    pub fn new(now: Instant) -> Self {
        Self {
            born: now,
            matched: Pair::default(),
            alive: Pair {
                client: now,
                backend: now,
            },
            moved: now,
            pinged: Pair::default(),
            broke: Pair::default(),
            ended: Pair::default(),
            decided: None,
            by_reset: false,
            told_client: None,
            over: None,
        }
    }

    pub fn heard(&mut self, from: Side, count: usize, now: Instant) {
        if count > 0 {
            self.alive[from] = now;
        }
    }

    pub fn took(&mut self, side: Side, now: Instant) {
        self.alive[side] = now;
        self.moved = now;
    }

    pub fn broke(&mut self, side: Side) {
        self.broke[side] = true;
    }

    pub fn ended_stream(&mut self, side: Side) {
        self.ended[side] = true;
    }

    /// Bytes forwarded are the bytes received less the proxy's own frames, in order, and all of them while it lives.
    pub fn forwarded(
        &mut self,
        from: Side,
        passed: &[u8],
        peer: &Peer,
        session: &Session,
        now: Instant,
    ) {
        if !passed.is_empty() {
            self.moved = now;
        }
        let mut at = self.matched[from];
        for &byte in passed {
            at = skip_own(at, peer);
            assert!(at < peer.read, "a byte from nowhere");
            assert_eq!(byte, peer.written()[at], "byte {at} from {from:?}");
            at += 1;
        }
        at = skip_own(at, peer).min(peer.read);
        self.matched[from] = at;
        let judged = peer.read - session.held(from).len();
        if session.reason().is_none() {
            assert!(
                at >= judged,
                "{} bytes from {from:?} were lost",
                judged - at
            );
        }
        let closed = peer
            .marks
            .iter()
            .any(|mark| mark.kind == FrameKind::Close && mark.end == at);
        if self.decided.is_none()
            && session
                .reason()
                .is_some_and(|end| end.reason == closing(from))
        {
            assert!(closed, "the Close passed without what came before it");
        }
    }

    /// There is one reason, it is true, and it stays.
    pub fn decided(
        &mut self,
        session: &Session,
        peers: &Pair<Peer>,
        wires: &Pair<Wire>,
        plan: &Plan,
        now: Instant,
    ) {
        let Some(End { reason, .. }) = session.reason() else {
            return;
        };
        match self.decided {
            Some((first, _)) => assert_eq!(reason, first),
            None => {
                self.decided = Some((reason, now));
                self.by_reset = Side::BOTH.into_iter().any(|side| self.broke[side]);
                self.check_reason(reason, peers, plan, now);
            }
        }
        if self.over.is_none()
            && let Some(end) = session.end()
        {
            self.over = Some((end, now));
        }
        for side in Side::BOTH {
            let counts = wires[side.other()].scanner.counts;
            assert!(wires[side.other()].is_cut() || counts == counted(&session.tally()[side]));
        }
    }

    /// A frame of the proxy's own stands on a legal border, says what it should, and is masked as it should be.
    pub fn injects(
        &mut self,
        to: Side,
        frame: &[u8],
        wire: &Wire,
        source: &Peer,
        plan: &Plan,
        now: Instant,
    ) {
        assert!(wire.scanner.on_border(), "inside a frame");
        assert_eq!(frame[1] & 0x80 != 0, to == Side::Backend);
        if frame[0] == 0x89 {
            return self.injects_ping(to, plan, now);
        }
        assert_eq!(frame[0], 0x88);
        let (reason, since) = self.decided.unwrap();
        let code = code_of(frame, to);
        if to == Side::Client {
            assert_eq!(self.told_client, None);
            self.told_client = Some(code.unwrap_or_default());
        }
        let farewell = match to {
            Side::Client => reason.to_client(),
            Side::Backend => reason.to_backend(),
        };
        match farewell {
            Farewell::Close(expected) => assert_eq!(code, Some(expected.get())),
            // The client's own code, which its backend never answered.
            _ => assert_eq!((to, reason), (Side::Client, EndReason::ClientClose)),
        }
        let patient = now.duration_since(since) < Duration::from_secs(1);
        if patient && wire.scanner.in_message() {
            let over = |kind| kind == FrameKind::Close || kind == FrameKind::Bad;
            let dead = source
                .marks
                .iter()
                .any(|mark| over(mark.kind) && mark.start < source.read);
            let gone = self.broke[to.other()] || self.ended[to.other()];
            let parted = [EndReason::PingTimeout, EndReason::BackendPingTimeout].contains(&reason);
            assert!(
                dead || gone || parted || plan.has_small_limits(),
                "{reason}: a Close inside a message"
            );
        }
    }

    /// Rates hold while the session lives.
    pub fn paces(&self, session: &Session, read: usize, plan: &Plan, now: Instant) {
        if self.decided.is_some() {
            return;
        }
        let lived = now.duration_since(self.born).as_nanos();
        let earned = |rate: Rate| {
            u128::from(rate.burst.get()) + lived * u128::from(rate.per_second.get()) / 1_000_000_000
        };
        if let Some(rate) = plan.settings.client_messages {
            assert!(
                u128::from(session.tally().client.messages()) <= earned(rate),
                "too many messages"
            );
        }
        if let Some(rate) = plan.settings.client_bytes {
            assert!(
                read as u128 <= earned(rate) + MOST_READ as u128,
                "too many bytes"
            );
        }
    }

    /// The end came in time, and whoever could be told was told.
    pub fn ended(&self, session: &Session, wires: &Pair<Wire>, now: Instant) {
        let (reason, since) = self.decided.unwrap();
        let (end, over) = self.over.unwrap_or_else(|| (session.end().unwrap(), now));
        let took = over.duration_since(since);
        assert_eq!(end.reason, reason);
        assert!(took <= self.longest_end(reason), "{reason} took {took:?}");
        for side in Side::BOTH {
            assert_ne!(session.output(side), Output::Open);
            assert!(!session.reads(side));
            let farewell = match side {
                Side::Client => reason.to_client(),
                Side::Backend => reason.to_backend(),
            };
            let scanner = &wires[side].scanner;
            let deserves = matches!(farewell, Farewell::Close(_)) && !self.broke[side];
            assert!(
                !deserves || scanner.is_closed() || !scanner.on_border(),
                "{reason}: {side:?} heard nothing"
            );
        }
        let told = self
            .told_client
            .map(|code| (Some(CloseFrom::Proxy), Some(code)));
        let (from, code) = told.unwrap_or((None, None));
        if !matches!(reason, EndReason::ClientClose | EndReason::BackendClose) {
            assert_eq!(
                (end.close_from, end.close_code.map(CloseCode::get)),
                (from, code)
            );
        }
    }

    fn longest_end(&self, reason: EndReason) -> Duration {
        use EndReason::{BackendClose, BackendGone, ClientClose, ClientGone};
        Duration::from_secs(match reason {
            ClientGone | BackendGone if self.by_reset => 1,
            ClientGone | BackendGone | ClientClose | BackendClose => 30,
            _ => 5,
        })
    }

    fn injects_ping(&mut self, to: Side, plan: &Plan, now: Instant) {
        assert!(self.decided.is_none(), "a ping in an ending session");
        let interval = plan.settings.ping_interval.unwrap();
        assert!(
            now.duration_since(self.alive[to]) >= interval,
            "a ping to a talking peer"
        );
        if let Some(before) = self.pinged[to].replace(now) {
            assert!(
                now.duration_since(before) >= interval,
                "two pings at a time"
            );
        }
    }

    fn check_reason(&self, reason: EndReason, peers: &Pair<Peer>, plan: &Plan, now: Instant) {
        let settings = &plan.settings;
        let wrote = |side: Side, kind| peers[side].marks.iter().any(|mark| mark.kind == kind);
        let silent = |side: Side| now.duration_since(self.alive[side]);
        let holds = match reason {
            EndReason::ClientClose => wrote(Side::Client, FrameKind::Close),
            EndReason::BackendClose => wrote(Side::Backend, FrameKind::Close),
            EndReason::ClientGone => self.broke.client || self.ended.client,
            EndReason::BackendGone => self.broke.backend || self.ended.backend,
            EndReason::IdleTimeout => settings
                .idle_timeout
                .is_some_and(|timeout| now.duration_since(self.moved) >= timeout),
            EndReason::PingTimeout => silent(Side::Client) >= settings.ping_timeout,
            EndReason::BackendPingTimeout => silent(Side::Backend) >= settings.ping_timeout,
            EndReason::MaxLifetime => settings
                .max_lifetime
                .is_some_and(|life| now.duration_since(self.born) >= life.mul_f64(0.9)),
            EndReason::ClientProtocolError => wrote(Side::Client, FrameKind::Bad),
            EndReason::BackendProtocolError => wrote(Side::Backend, FrameKind::Bad),
            EndReason::MessageTooBig => plan.has_small_limits(),
            EndReason::RateExceeded => settings.client_messages.is_some(),
            ordered => ordered == plan.order,
        };
        assert!(holds, "{reason} is not true");
    }
}

/// The next byte from `at` on that is no answer to the proxy.
fn skip_own(mut at: usize, peer: &Peer) -> usize {
    while let Some(own) = peer
        .marks
        .iter()
        .find(|mark| mark.kind == FrameKind::Own && mark.start == at && mark.end <= peer.read)
    {
        at = own.end;
    }
    at
}

fn closing(from: Side) -> EndReason {
    match from {
        Side::Client => EndReason::ClientClose,
        Side::Backend => EndReason::BackendClose,
    }
}

fn code_of(frame: &[u8], to: Side) -> Option<u16> {
    let (key, payload) = if to == Side::Backend {
        frame[2..].split_at(4)
    } else {
        (&[0; 4][..], &frame[2..])
    };
    let plain: Vec<u8> = payload
        .iter()
        .zip(key)
        .map(|(byte, key)| byte ^ key)
        .collect();
    plain.first_chunk().map(|&code| u16::from_be_bytes(code))
}

fn counted(carried: &Carried) -> Counts {
    Counts {
        text: carried.text,
        binary: carried.binary,
        close: carried.close,
        ping: carried.ping,
        pong: carried.pong,
        payload_bytes: carried.payload_bytes,
    }
}
