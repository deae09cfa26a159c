//! The buffer that all sessions of a worker read into, one after the other; idle ones hold none.

use std::cell::RefCell;

use crate::logic::websocket::Session;

/// Most bytes read in one go. Bulk gains up to here and loses cache beyond.
pub const SCRATCH_BYTES: usize = 256 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> =
        RefCell::new(vec![0; Session::HEADROOM + SCRATCH_BYTES].into_boxed_slice());
}

/// Lends the worker's buffer to `work`, with [`Session::HEADROOM`] bytes in front of the part to
/// read into, where bytes withheld from the chunk before are put back.
pub fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| work(scratch))
}
