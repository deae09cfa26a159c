//! Clients that send as fast as they are let and read hardly anything: who holds what they leave?

use std::io;
use std::time::Duration;

use crate::load::clock::nanos;
use crate::load::driver::{Driver, Span};

/// Sips a second.
const SIPS: u32 = 10;

pub(super) fn run(bytes_per_second: u32, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    let sip_bytes = usize::try_from(bytes_per_second.div_ceil(SIPS)).unwrap_or(usize::MAX);
    let step = nanos(Duration::from_secs(1) / SIPS);
    let mut next = span.start;
    while driver.goes_on(span.end) {
        for slot in driver.open_slots() {
            driver.sip_and_flood(slot, sip_bytes);
        }
        next += step;
        while driver.goes_on(next.min(span.end)) {
            let news = driver.turn(next)?;
            driver.recycle(news);
        }
    }
    Ok(())
}
