//! The buffers in which all TLS streams of a thread open and seal their records, one stream after
//! the other; idle ones hold none.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Room for the records that are read or written in one go.
pub(super) const RECORDS_BYTES: usize = 80 * 1024;

type Scratch = RefCell<Box<[u8]>>;

thread_local! {
    static INCOMING: Scratch = RefCell::new(vec![0; RECORDS_BYTES].into());
    static OUTGOING: Scratch = RefCell::new(vec![0; RECORDS_BYTES].into());
}

/// Lends the thread's buffer for records that come in.
pub(super) fn with_incoming<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&INCOMING, work)
}

/// Lends the thread's buffer for records that go out.
pub(super) fn with_outgoing<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    lend(&OUTGOING, work)
}

fn lend<T>(scratch: &'static LocalKey<Scratch>, work: impl FnOnce(&mut [u8]) -> T) -> T {
    scratch.with_borrow_mut(|scratch| work(scratch))
}
