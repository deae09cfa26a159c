//! How a session ends: one reason, the Closes it owes, and the deadlines after which nobody is waited for.

use std::time::{Duration, Instant};

use super::frame::Violation;
use super::peer::{Flow, Input};
use super::session::Session;
use super::side::{Pair, Side};
use super::walker::Fault;
use crate::logic::reason::{CloseCode, EndReason, Farewell};

/// Why a session ended, and the Close that the client or its backend saw first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The one reason.
    pub reason: EndReason,
    /// The code in the peer's Close, or in the one the proxy told the client; `None` where there was none.
    pub close_code: Option<CloseCode>,
    /// Who sent that Close; `None` when nobody did.
    pub close_from: Option<CloseFrom>,
}

/// Who sent a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words say it")]
pub enum CloseFrom {
    Client,
    Backend,
    Proxy,
}

impl CloseFrom {
    /// The word of logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::Proxy => "proxy",
        }
    }
}

/// What the relay does with the connection to one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Writes what it is given.
    Open,
    /// Writes what is parked, then shuts down writing and goes on reading while [`Session::reads`]; or closes, where
    /// the peer has nothing more to say ([`Session::has_finished`]).
    Finish,
    /// Drops the connection now, and what is parked with it.
    Cut,
}

/// An end under way.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) end: End,
    pub(super) violation: Option<Violation>,
    /// Who is owed a Close by the proxy.
    owed: Pair<bool>,
    /// From here on a Close may part the fragments of a message.
    patience_ends: Instant,
    patient: bool,
    /// When the backend has had its time to close the connection first.
    backend_lingers_until: Option<Instant>,
    /// When everything is cut.
    deadline: Instant,
    /// How far the deadline moves while something waits to be delivered.
    delivery_deadline: Option<Instant>,
}

/// How long a message under way may take before a Close stands between its fragments.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a peer's Close, and then its end of stream, is waited for.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the backend has to close the connection first (RFC 6455 section 7.1.1).
const BACKEND_LINGER: Duration = Duration::from_secs(1);
/// How long what came before an end of stream may take to be delivered.
pub(super) const HALF_CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the other side of a reset connection lasts.
pub(super) const RESET_TIMEOUT: Duration = Duration::from_secs(1);

impl Ending {
    fn new(reason: EndReason, now: Instant) -> Self {
        Self {
            end: End {
                reason,
                close_code: None,
                close_from: None,
            },
            violation: None,
            owed: Pair::default(),
            patience_ends: now + MESSAGE_PATIENCE,
            patient: true,
            backend_lingers_until: None,
            deadline: now + CLOSE_TIMEOUT,
            delivery_deadline: None,
        }
    }

    /// The proxy ends it.
    fn own(reason: EndReason, now: Instant) -> Self {
        let mut ending = Self::new(reason, now);
        ending.owed.client = matches!(reason.to_client(), Farewell::Close(_));
        ending.owed.backend = matches!(reason.to_backend(), Farewell::Close(_));
        ending
    }

    /// A peer ends it with a Close.
    fn passed(from: Side, code: Option<CloseCode>, now: Instant) -> Self {
        let (reason, close_from) = match from {
            Side::Client => (EndReason::ClientClose, CloseFrom::Client),
            Side::Backend => (EndReason::BackendClose, CloseFrom::Backend),
        };
        let mut ending = Self::new(reason, now);
        ending.end.close_code = code;
        ending.end.close_from = Some(close_from);
        ending.delivery_deadline = Some(now + HALF_CLOSE_TIMEOUT);
        ending
    }

    /// What the proxy's Close to that side says.
    fn farewell_code(&self, to: Side) -> Option<CloseCode> {
        let farewell = match to {
            Side::Client => self.end.reason.to_client(),
            Side::Backend => self.end.reason.to_backend(),
        };
        match farewell {
            Farewell::Close(code) => Some(code),
            Farewell::PassedOn | Farewell::Cut => self.end.close_code,
        }
    }
}

impl Session {
    /// A reason to end; the first one stays.
    pub(super) fn begin_own(&mut self, reason: EndReason) {
        if self.ending.is_some() {
            return;
        }
        self.begin(Ending::own(reason, self.clock));
        for side in Side::BOTH {
            let farewell = match side {
                Side::Client => reason.to_client(),
                Side::Backend => reason.to_backend(),
            };
            if farewell == Farewell::Cut {
                self.peers[side].cut();
            }
        }
    }

    /// A peer sent what it may not: nothing of it passes.
    pub(super) fn begin_fault(&mut self, from: Side, fault: Fault) {
        let reason = match (fault, from) {
            (Fault::Violation(_), Side::Client) => EndReason::ClientProtocolError,
            (Fault::Violation(_), Side::Backend) => EndReason::BackendProtocolError,
            (Fault::TooBig { .. }, _) => EndReason::MessageTooBig,
            (Fault::TooMany, _) => EndReason::RateExceeded,
        };
        self.begin_own(reason);
        self.end_within(CLOSE_TIMEOUT);
        if let Fault::Violation(violation) = fault
            && let Some(ending) = &mut self.ending
        {
            self.peers[from].input = Input::Deaf;
            ending.violation.get_or_insert(violation);
        }
        self.conclude(from.other());
    }

    /// A valid Close came; says whether it passes.
    pub(super) fn peer_closed(&mut self, from: Side, code: Option<CloseCode>) -> bool {
        let to = from.other();
        self.peers[from].input = Input::Closed;
        if self.ending.is_none() {
            self.begin(Ending::passed(from, code, self.clock));
        }
        let passes = self.peers[to].output == Flow::Open && !self.owes(to);
        if passes {
            self.peers[to].output = Flow::Closed;
        }
        passes
    }

    /// A stream ended without a Close, and nothing had ended the session before.
    pub(super) fn begin_gone(&mut self, side: Side) {
        let now = self.clock;
        match side {
            Side::Client => {
                let mut ending = Ending::new(EndReason::ClientGone, now);
                ending.deadline = now + HALF_CLOSE_TIMEOUT;
                self.begin(ending);
            }
            Side::Backend => {
                let mut ending = Ending::own(EndReason::BackendGone, now);
                ending.delivery_deadline = Some(now + HALF_CLOSE_TIMEOUT);
                self.begin(ending);
                self.peers.backend.output = Flow::Finish;
            }
        }
    }

    /// The end under way takes no longer than this, whatever is still to be delivered.
    pub(super) fn end_within(&mut self, time: Duration) {
        let deadline = self.clock + time;
        if let Some(ending) = &mut self.ending {
            ending.deadline = ending.deadline.min(deadline);
            ending.delivery_deadline = None;
        }
    }

    /// Nothing that was received goes to that side any more: the Close it is owed, or the end of its stream.
    pub(super) fn conclude(&mut self, to: Side) {
        let on_border = self.on_border(to);
        let Some(ending) = &mut self.ending else {
            return;
        };
        if self.peers[to].output != Flow::Open {
            return;
        }
        // A backend that ends without answering a client's Close leaves the answer to us (RFC 6455 s5.5.1).
        if to == Side::Client && ending.end.reason == EndReason::ClientClose {
            ending.owed.client = true;
        }
        let closes = ending.owed[to] && on_border;
        self.peers[to].output = if closes { Flow::Sealed } else { Flow::Finish };
    }

    /// Takes every step of the end that may be taken now.
    pub(super) fn settle(&mut self) {
        if self.ending.is_none() {
            return;
        }
        for side in Side::BOTH {
            match self.peers[side].output {
                Flow::Open if self.peers[side.other()].input != Input::Open => self.conclude(side),
                Flow::Open if self.may_interrupt(side) => self.conclude(side),
                Flow::Closed => self.finish_handshake(side),
                _ => {}
            }
        }
    }

    /// The Close that may go out to that side now.
    pub(super) fn take_farewell(&mut self, to: Side) -> Option<Option<CloseCode>> {
        let ending = self
            .ending
            .as_mut()
            .filter(|_| self.peers[to].output == Flow::Sealed)?;
        let code = ending.farewell_code(to);
        if to == Side::Client && ending.end.close_from.is_none() {
            ending.end.close_code = code;
            ending.end.close_from = Some(CloseFrom::Proxy);
        }
        self.peers[to].output = Flow::Closed;
        self.settle();
        Some(code)
    }

    /// When [`Self::elapsed_ending`] wants to be called.
    pub(super) fn ending_deadline(&self, ending: &Ending) -> Option<Instant> {
        if Side::BOTH
            .iter()
            .all(|&side| self.peers[side].output == Flow::Cut)
        {
            return None;
        }
        let waits_for_message = ending.patient
            && Side::BOTH
                .iter()
                .any(|&side| ending.owed[side] && self.peers[side].output == Flow::Open);
        let patience_ends = waits_for_message.then_some(ending.patience_ends);
        let linger = (self.peers.backend.output == Flow::Closed)
            .then_some(ending.backend_lingers_until)
            .flatten();
        [patience_ends, linger, Some(ending.deadline)]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time went by in an end under way.
    pub(super) fn elapsed_ending(&mut self) {
        let now = self.clock;
        let Some(ending) = &mut self.ending else {
            return;
        };
        if now >= ending.deadline {
            self.peers.client.cut();
            self.peers.backend.cut();
            return;
        }
        ending.patient &= now < ending.patience_ends;
        let lingered = ending
            .backend_lingers_until
            .is_some_and(|until| now >= until);
        if lingered && self.peers.backend.output == Flow::Closed {
            self.peers.backend.output = Flow::Finish;
        }
        self.settle();
    }

    /// The number of parked bytes changed: what was received may take longer to deliver than a Close to answer.
    pub(super) fn stretch(&mut self) {
        let stalled = self.delivers();
        let answered_by = self.clock + CLOSE_TIMEOUT;
        let Some(ending) = &mut self.ending else {
            return;
        };
        if let Some(delivered_by) = ending.delivery_deadline {
            ending.deadline = if stalled {
                delivered_by
            } else {
                delivered_by.min(answered_by)
            };
        }
    }

    /// Whether the session is over but for flushing.
    pub(super) fn is_over(&self) -> bool {
        self.peers.client.is_done() && self.peers.backend.is_done()
    }

    fn begin(&mut self, ending: Ending) {
        let stalled = self.delivers();
        self.ending = Some(Box::new(ending));
        if stalled {
            self.stretch();
        }
    }

    /// Whether something that was received still waits to be delivered.
    fn delivers(&self) -> bool {
        Side::BOTH.iter().any(|&side| self.peers[side].is_stalled())
    }

    fn owes(&self, to: Side) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.owed[to])
    }

    /// Whether what is forwarded to that side ends on a frame border.
    pub(super) fn on_border(&self, to: Side) -> bool {
        self.peers[to.other()].walker.between_frames()
    }

    /// Whether an owed Close may take the place of what would follow.
    fn may_interrupt(&self, to: Side) -> bool {
        let Some(ending) = &self.ending else {
            return false;
        };
        let walker = &self.peers[to.other()].walker;
        ending.owed[to] && walker.between_frames() && (!ending.patient || walker.between_messages())
    }

    /// That side got a Close: its own is waited for, then its end of stream.
    fn finish_handshake(&mut self, side: Side) {
        let lingers_until = self.clock + BACKEND_LINGER;
        match (self.peers[side].input, side) {
            (Input::Open, _) => {}
            // RFC 6455 s7.1.1: the server closes the connection first; to the backend we are the client.
            (Input::Closed, Side::Backend) => {
                if let Some(ending) = &mut self.ending {
                    ending.backend_lingers_until.get_or_insert(lingers_until);
                }
            }
            _ => self.peers[side].output = Flow::Finish,
        }
    }
}
