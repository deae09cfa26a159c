//! A scripted peer: sends its frames, answers pings and Closes as its temper is, and hangs up when it likes.

use std::collections::{HashSet, VecDeque};

use tidegate::logic::websocket::Side;

use super::plan::{self, Frame, FrameKind, Plan};
use super::wire::Scanner;

#[derive(Debug)]
pub struct Peer {
    side: Side,
    script: VecDeque<Frame>,
    /// Everything it has written, and where frames with a meaning stand in it.
    written: Vec<u8>,
    pub marks: Vec<Mark>,
    /// How much of that the relay has read.
    pub read: usize,
    /// Follows what it received.
    scanner: Scanner,
    /// Where in that stream pings of the proxy's end.
    own_pings: HashSet<usize>,
    credit: usize,
    temper: Temper,
    sent_close: bool,
    got_close: bool,
    finished: bool,
    reset: bool,
}

/// A stretch of what a peer wrote.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    pub start: usize,
    pub end: usize,
    pub kind: FrameKind,
}

#[derive(Debug)]
struct Temper {
    /// Takes what it is sent at once.
    quick: bool,
    answers_pings: bool,
    answers_closes: bool,
    /// Ends its stream when the other end did.
    follows_end: bool,
    /// May hang up in the middle.
    leaves: bool,
    /// Writes on behind its own Close.
    rude: bool,
}

impl Peer {
    pub fn new(side: Side, plan: &Plan, dice: &mut fastrand::Rng) -> Self {
        let often = |dice: &mut fastrand::Rng| dice.u32(0..5) != 0;
        Self {
            side,
            script: plan.script(side, dice).into(),
            written: Vec::new(),
            marks: Vec::new(),
            read: 0,
            scanner: Scanner::default(),
            own_pings: HashSet::new(),
            credit: 0,
            temper: Temper {
                quick: often(dice),
                answers_pings: often(dice),
                answers_closes: often(dice),
                follows_end: often(dice),
                leaves: !often(dice),
                rude: !often(dice),
            },
            sent_close: false,
            got_close: false,
            finished: false,
            reset: false,
        }
    }

    /// Writes its next frame, or the next few.
    pub fn write(&mut self, dice: &mut fastrand::Rng) {
        for _ in 0..dice.u32(1..4) {
            if self.finished || self.reset {
                return;
            }
            let Some(frame) = self.script.pop_front() else {
                return;
            };
            let start = self.written.len();
            self.written.extend(&frame.bytes);
            self.marks.push(Mark {
                start,
                end: self.written.len(),
                kind: frame.kind,
            });
            if frame.kind == FrameKind::Close {
                self.closed(dice);
            }
        }
    }

    pub fn unread(&self) -> &[u8] {
        &self.written[self.read..]
    }

    pub fn written(&self) -> &[u8] {
        &self.written
    }

    pub const fn read(&mut self, count: usize) {
        self.read += count;
    }

    /// Ends its stream or its connection, if it is one of those; what is unread may be lost half-way.
    pub fn hang_up(&mut self, dice: &mut fastrand::Rng) {
        if !self.temper.leaves || self.finished || self.reset {
            return;
        }
        self.written
            .truncate(dice.usize(self.read..=self.written.len()));
        self.finished = dice.bool();
        self.reset = !self.finished;
    }

    pub const fn has_finished(&self) -> bool {
        self.finished
    }

    pub const fn was_reset(&self) -> bool {
        self.reset
    }

    /// How much it would take now.
    pub const fn window(&self) -> usize {
        if self.temper.quick {
            usize::MAX
        } else {
            self.credit
        }
    }

    pub fn take_more(&mut self, dice: &mut fastrand::Rng) {
        self.credit = self.credit.max(dice.usize(0..500));
    }

    /// A ping of the proxy's will end there in what it receives.
    pub fn expect_ping(&mut self, end: usize) {
        self.own_pings.insert(end);
    }

    /// Takes what came, and answers.
    pub fn receive(&mut self, bytes: &[u8], dice: &mut fastrand::Rng) {
        self.credit = self.credit.saturating_sub(bytes.len());
        for control in self.scanner.scan(bytes) {
            match control.opcode {
                9 if self.temper.answers_pings && !self.sent_close => {
                    let pong = plan::good(self.side, 0x8a, &control.payload, dice);
                    let own = self.own_pings.contains(&control.end);
                    let kind = if own { FrameKind::Own } else { FrameKind::Good };
                    self.script.push_front(Frame { kind, ..pong });
                }
                8 => self.answer_close(&control.payload, dice),
                _ => {}
            }
        }
    }

    /// The other end ended its stream.
    pub const fn stream_ended(&mut self) {
        self.finished |= self.temper.follows_end && !self.reset;
    }

    fn answer_close(&mut self, payload: &[u8], dice: &mut fastrand::Rng) {
        self.got_close = true;
        if self.temper.answers_closes && !self.sent_close {
            let code = payload.first_chunk().map(|&code| u16::from_be_bytes(code));
            self.script.clear();
            self.script.push_back(plan::close(self.side, code, dice));
        }
        self.closes_connection();
    }

    fn closed(&mut self, dice: &mut fastrand::Rng) {
        self.sent_close = true;
        self.script.clear();
        if self.temper.rude {
            self.script
                .push_back(plan::good(self.side, 0x82, b"behind a Close", dice));
        }
        self.closes_connection();
    }

    /// RFC 6455 section 7.1.1: the server closes first.
    fn closes_connection(&mut self) {
        let done = self.sent_close && self.got_close && self.side == Side::Backend;
        self.finished |= done && !self.temper.rude && !self.reset;
    }
}
