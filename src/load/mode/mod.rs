//! The kinds of load, one file each.

mod connect;
mod echo;
mod slow_reader;
mod storm;
mod waiting;

use std::io;

use super::client::Expects;
use super::driver::{Driver, Span};
use super::plan::Mode;

impl Mode {
    /// Its word, as it is asked for.
    pub fn word(self) -> &'static str {
        match self {
            Self::Echo(_) => "echo",
            Self::Idle => "idle",
            Self::Connect => "connect",
            Self::Sink => "sink",
            Self::Storm => "storm",
            Self::SlowReader(_) => "slow-reader",
        }
    }

    /// Whether the load is put on connections that are open already.
    pub(super) fn opens_first(self) -> bool {
        self != Self::Connect
    }

    /// What the server's messages are held against.
    pub(super) fn expects(self) -> Expects {
        match self {
            Self::Echo(_) => Expects::Echoes,
            Self::Idle | Self::Connect | Self::Sink | Self::Storm => Expects::Anything,
            Self::SlowReader(_) => Expects::AnythingLater,
        }
    }

    /// `SO_RCVBUF` of the clients' sockets; `None` leaves it to the kernel.
    pub(super) fn receive_buffer_bytes(self) -> Option<usize> {
        /// A client that does not read must not have its kernel read for it.
        const SMALL: usize = 16 * 1024;
        matches!(self, Self::SlowReader(_)).then_some(SMALL)
    }

    /// Puts a thread's connections under this load for the span.
    pub(super) fn run(self, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
        match self {
            Self::Echo(pace) => echo::run(pace, driver, span),
            Self::Idle | Self::Sink => waiting::run(driver, span),
            Self::Connect => connect::run(driver, span),
            Self::Storm => storm::run(driver, span),
            Self::SlowReader(bytes_per_second) => slow_reader::run(bytes_per_second, driver, span),
        }
    }
}
