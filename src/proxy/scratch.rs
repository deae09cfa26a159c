//! The buffers that all sessions of a worker read into, one after the other; idle ones hold none.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::logic::websocket::Session;

/// Most bytes read in one go. Bulk gains up to here and loses cache beyond.
pub const SCRATCH_BYTES: usize = 256 * 1024;
/// TLS records read or written in one go: five that are full.
const RECORDS_BYTES: usize = 5 * (16 * 1024 + 256);

type Scratch = RefCell<Box<[u8]>>;

thread_local! {
    static PLAIN: Scratch = RefCell::new(vec![0; Session::HEADROOM + SCRATCH_BYTES].into());
    static SEALED_IN: Scratch = RefCell::new(vec![0; RECORDS_BYTES].into());
    static SEALED_OUT: Scratch = RefCell::new(vec![0; RECORDS_BYTES].into());
}

/// Lends the worker's buffer to `work`, with [`Session::HEADROOM`] bytes in front of the part to
/// read into, where bytes withheld from the chunk before are put back.
pub fn with<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&PLAIN, work)
}

/// Lends the worker's buffer for records that came in.
pub fn with_incoming<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&SEALED_IN, work)
}

/// Lends the worker's buffer for records that go out.
pub fn with_outgoing<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&SEALED_OUT, work)
}

fn lend<T>(scratch: &'static LocalKey<Scratch>, work: impl FnOnce(&mut [u8]) -> T) -> T {
    scratch.with_borrow_mut(|scratch| work(scratch))
}
