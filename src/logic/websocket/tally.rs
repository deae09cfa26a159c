//! What a session has carried so far.

use super::side::Pair;
use super::walker::Kind;

/// What passed in each direction, by the side it came from. The proxy's own frames are not in it.
pub type Tally = Pair<Carried>;

/// What passed in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Text messages, counted at their final frame.
    pub text: u64,
    /// Binary messages, counted at their final frame.
    pub binary: u64,
    /// Closes.
    pub close: u64,
    /// Pings.
    pub ping: u64,
    /// Pongs.
    pub pong: u64,
    /// Payload bytes of data frames.
    pub payload_bytes: u64,
}

impl Carried {
    /// Data messages.
    pub const fn messages(&self) -> u64 {
        self.text + self.binary
    }

    #[inline]
    pub(super) const fn data(&mut self, payload: usize, ends: Option<Kind>) {
        self.payload_bytes += payload as u64;
        match ends {
            Some(Kind::Text) => self.text += 1,
            Some(Kind::Binary) => self.binary += 1,
            None => {}
        }
    }
}
