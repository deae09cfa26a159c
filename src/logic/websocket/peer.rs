//! What a session knows of one of its peers.

use std::time::Instant;

use super::heartbeat::Heartbeat;
use super::walker::Walker;

/// One peer: what comes from it and what goes to it.
#[derive(Debug)]
pub(super) struct Peer {
    /// Follows what it sends.
    pub(super) walker: Walker,
    /// The end of what it sent that cannot be judged yet.
    pub(super) held: Vec<u8>,
    pub(super) input: Input,
    pub(super) output: Flow,
    /// Bytes for it that it does not take, as far as this number goes.
    parked_bytes: u32,
    pub(super) heartbeat: Heartbeat,
}

/// What still comes from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Frames.
    Open,
    /// Nothing that counts: its Close came.
    Closed,
    /// Nothing that can be followed: it broke the protocol.
    Deaf,
    /// Nothing: its stream ended.
    Ended,
}

/// What still goes to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// What the other one sends.
    Open,
    /// The Close it is owed.
    Sealed,
    /// Nothing: it got a Close.
    Closed,
    /// What is parked, then the end of the stream.
    Finish,
    /// Nothing: the connection is dropped.
    Cut,
}

impl Peer {
    pub(super) const fn new(walker: Walker, now: Instant) -> Self {
        Self {
            walker,
            held: Vec::new(),
            input: Input::Open,
            output: Flow::Open,
            parked_bytes: 0,
            heartbeat: Heartbeat::new(now),
        }
    }

    /// Its connection is gone, or is not wanted any more.
    pub(super) fn cut(&mut self) {
        self.input = Input::Ended;
        self.output = Flow::Cut;
        self.held = Vec::new();
        self.parked_bytes = 0;
    }

    /// So many bytes for it are parked now; says whether it took some.
    pub(super) fn park(&mut self, bytes: usize) -> bool {
        let before = self.parked_bytes;
        self.parked_bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.parked_bytes < before
    }

    /// Whether bytes for it are parked.
    pub(super) const fn is_stalled(&self) -> bool {
        self.parked_bytes > 0
    }

    /// Its stream ended, or is to be ended, and so did what goes to it.
    pub(super) fn is_done(&self) -> bool {
        self.input == Input::Ended && matches!(self.output, Flow::Finish | Flow::Cut)
    }
}
