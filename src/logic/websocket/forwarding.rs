//! What of a chunk passes: each frame is judged once, in order, and most are not looked at one by one.

use super::compaction::Compaction;
use super::frame::ControlFrame;
use super::peer::{Flow, Input};
use super::session::Session;
use super::side::Side;
use super::walker::{Fault, Limits, Piece, Step};

impl Session {
    /// Counts the arrival of a chunk, which begins with what was withheld before.
    pub(super) fn hears(&mut self, from: Side, chunk_len: usize) {
        let peer = &mut self.peers[from];
        let fresh = chunk_len.saturating_sub(peer.held.len());
        release(&mut peer.held);
        if fresh > 0 {
            peer.heartbeat.heard(self.clock);
        }
        if from == Side::Client
            && let Some(rate_limit) = &mut self.rate_limit
        {
            rate_limit.count_bytes(fresh, self.clock);
        }
    }

    /// Judges a chunk frame by frame; what comes after a Close or a violation is not looked at.
    pub(super) fn follow(&mut self, from: Side, chunk: &mut [u8]) -> usize {
        let mut compaction = Compaction::default();
        while compaction.judged() < chunk.len() && self.peers[from].input == Input::Open {
            compaction.keep(self.glide(from, &chunk[compaction.judged()..]));
            let rest = &chunk[compaction.judged()..];
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
                compaction.keep(len);
            } else {
                compaction.drop(chunk, len);
            }
            self.settle();
        }
        compaction.finish(chunk)
    }

    /// The common case: data frames that no end, no rate and no ping of ours concerns pass unseen.
    fn glide(&mut self, from: Side, bytes: &[u8]) -> usize {
        let rated = from == Side::Client && self.rate_limit.is_some();
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
            && let Some(rate_limit) = &mut self.rate_limit
        {
            rate_limit.count_message(self.clock);
        }
        self.tally[from].data(piece.payload, piece.ends);
        true
    }

    /// Whether what comes from that side goes on to the other.
    #[inline]
    pub(super) fn forwards(&self, from: Side) -> bool {
        self.peers[from.other()].output == Flow::Open
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
        let Some(rate_limit) = &self.rate_limit else {
            return true;
        };
        // More than fits in front of the next chunk cannot be withheld.
        let passes_whole = rate_limit.throttles() && available > Self::HEADROOM;
        self.ending.is_some() || passes_whole || rate_limit.allows_message(self.clock)
    }

    fn withholds(&mut self) -> bool {
        self.rate_limit
            .as_mut()
            .is_some_and(|rate_limit| rate_limit.withholds(self.clock))
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
}

/// Eight bytes by which the proxy knows its own ping again.
pub(super) fn ping_payload(nonce: u32, number: u32) -> [u8; 8] {
    (u64::from(nonce) << 32 | u64::from(number)).to_be_bytes()
}

/// Empties a buffer; a large one is not kept.
fn release(held: &mut Vec<u8>) {
    if held.capacity() > ControlFrame::MAX_LEN {
        *held = Vec::new();
    } else {
        held.clear();
    }
}
