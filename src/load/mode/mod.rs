//! The kinds of load, one file each.

mod echo;

use std::io;

use super::driver::{Driver, Span};
use super::plan::Mode;

impl Mode {
    /// Puts a thread's open connections under this load for the span.
    pub(super) fn run(self, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
        match self {
            Self::Echo(pace) => echo::run(pace, driver, span),
        }
    }
}
