//! A session between two scripted peers: what the relay does with it, without the relay.

mod closing;
mod forwarding;
mod framing;
mod heartbeats;
mod limits;
mod walking;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frame::{Expected, Header, Opcode, apply_mask};
use super::{Extensions, OnExcess, Output, Pair, Session, Settings, Side};
use crate::logic::limit::Rate;
use crate::logic::reason::EndReason;

use Side::{Backend, Client};

/// A session, the time, and what reached each side.
struct Rig {
    session: Session,
    now: Instant,
    reached: Pair<Vec<u8>>,
}

/// What a side sees of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    opcode: Opcode,
    fin: bool,
    payload: Vec<u8>,
}

impl Rig {
    fn new(settings: Settings) -> Self {
        Self::with(settings, Extensions::default())
    }

    fn with(settings: Settings, extensions: Extensions) -> Self {
        let now = Instant::now();
        let session = Session::new(Arc::new(settings), extensions, now, 42);
        Self {
            session,
            now,
            reached: Pair::default(),
        }
    }

    /// Bytes come from a side, in one read.
    fn feed(&mut self, from: Side, bytes: &[u8]) {
        assert!(
            self.session.reads(from),
            "read from {from:?} against the session's will"
        );
        assert!(self.session.held(from).len() <= Session::HEADROOM);
        let mut chunk = [self.session.held(from), bytes].concat();
        let passed = self.session.receive(from, &mut chunk, self.now);
        self.reached[from.other()].extend_from_slice(&chunk[..passed]);
        self.inject();
    }

    /// Bytes come from a side, a byte a read.
    fn trickle(&mut self, from: Side, bytes: &[u8]) {
        for byte in bytes {
            self.feed(from, &[*byte]);
        }
    }

    fn end_of_stream(&mut self, from: Side) {
        self.session.end_of_stream(from, self.now);
        self.inject();
    }

    fn broken(&mut self, side: Side) {
        self.session.broken(side, self.now);
        self.inject();
    }

    fn order(&mut self, reason: EndReason) {
        self.session.order(reason, self.now);
        self.inject();
    }

    fn parked(&mut self, to: Side, bytes: usize) {
        self.session.parked(to, bytes, self.now);
        self.inject();
    }

    /// Time goes by; the session is woken when it asked to be.
    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        let mut wakes = 0;
        while let Some(deadline) = self
            .session
            .deadline()
            .filter(|&deadline| deadline <= until)
        {
            self.now = self.now.max(deadline);
            self.session.elapsed(self.now);
            self.inject();
            wakes += 1;
            assert!(wakes < 10_000, "a deadline that never goes away");
        }
        self.now = until;
    }

    fn wait_secs(&mut self, secs: u64) {
        self.wait(Duration::from_secs(secs));
    }

    /// The frames that reached a side so far; what follows the last whole one is left out.
    fn seen(&self, by: Side) -> Vec<Seen> {
        let expected = Expected {
            masked: by == Backend,
            rsv1: false,
            in_message: false,
        };
        let mut rest = &self.reached[by][..];
        let mut seen = Vec::new();
        let mut in_message = false;
        while let Ok(Some((header, len))) = Header::read(
            rest,
            Expected {
                in_message,
                ..expected
            },
        ) {
            let end = len + usize::try_from(header.payload_len).unwrap();
            let Some(payload) = rest.get(len..end) else {
                break;
            };
            let mut payload = payload.to_vec();
            apply_mask(&mut payload, header.mask.unwrap_or_default());
            seen.push(Seen {
                opcode: header.opcode,
                fin: header.fin,
                payload,
            });
            if !header.opcode.is_control() {
                in_message = !header.fin;
            }
            rest = &rest[end..];
        }
        seen
    }

    /// The codes of the Closes that reached a side.
    fn closes(&self, by: Side) -> Vec<u16> {
        let closes = self
            .seen(by)
            .into_iter()
            .filter(|seen| seen.opcode == Opcode::Close);
        closes
            .map(|seen| {
                seen.payload
                    .first_chunk()
                    .map_or(0, |&code| u16::from_be_bytes(code))
            })
            .collect()
    }

    fn pings(&self, by: Side) -> Vec<Vec<u8>> {
        let pings = self
            .seen(by)
            .into_iter()
            .filter(|seen| seen.opcode == Opcode::Ping);
        pings.map(|seen| seen.payload).collect()
    }

    fn outputs(&self) -> (Output, Output) {
        (self.session.output(Client), self.session.output(Backend))
    }

    fn reason(&self) -> Option<EndReason> {
        self.session.reason().map(|end| end.reason)
    }

    fn is_over(&self) -> bool {
        self.session.end().is_some()
    }

    fn inject(&mut self) {
        for to in Side::BOTH {
            while let Some(frame) = self.session.inject(to) {
                self.reached[to].extend_from_slice(&frame);
            }
        }
    }
}

/// No timers, no rates, the default sizes.
fn quiet() -> Settings {
    Settings {
        idle_timeout: None,
        max_lifetime: None,
        ping_interval: None,
        ping_timeout: Duration::from_secs(15),
        ping_backend: false,
        max_frame_bytes: 16 << 20,
        max_message_bytes: 16 << 20,
        client_messages: None,
        client_bytes: None,
        on_excess: OnExcess::Close,
    }
}

fn rate(per_second: u64, burst: u64) -> Rate {
    Rate {
        per_second: NonZeroU64::new(per_second).unwrap(),
        burst: NonZeroU64::new(burst).unwrap(),
    }
}

/// A frame as that side sends it.
fn frame(from: Side, fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mask = (from == Client).then_some([0x11, 0x22, 0x33, 0x44]);
    let header = Header {
        fin,
        rsv1: false,
        opcode,
        mask,
        payload_len: payload.len() as u64,
    };
    let mut bytes = [0; Header::MAX_LEN];
    let len = header.write(&mut bytes);
    let mut payload = payload.to_vec();
    apply_mask(&mut payload, mask.unwrap_or_default());
    [&bytes[..len], &payload].concat()
}

fn text(from: Side, payload: &str) -> Vec<u8> {
    frame(from, true, Opcode::Text, payload.as_bytes())
}

fn close(from: Side, code: u16) -> Vec<u8> {
    frame(from, true, Opcode::Close, &code.to_be_bytes())
}
