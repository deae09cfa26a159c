//! Messages that must come back as they went, at a rate or so many under way.

use std::io;
use std::num::NonZeroU64;

use crate::load::clock::nanos;
use crate::load::driver::{Driver, END_TIMEOUT, Span};
use crate::load::fault::Fault;
use crate::load::plan::Pace;

pub(super) fn run(pace: Pace, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    match pace {
        Pace::Rate(per_second) => open_loop(per_second, driver, span),
        Pace::InFlight(count) => driver.keep_in_flight(count, span.end),
    }
}

/// Sends when a message is due, not when there is room for it: a target that stalls is seen to.
/// What is not sent some time after the load's end is given up: a rate may be beyond any machine.
fn open_loop(per_second: NonZeroU64, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    /// Sent between two looks at what has come back.
    const BATCH: usize = 64;
    let mut schedule = driver.schedule(span.start, per_second);
    let last = span.end + nanos(END_TIMEOUT);
    while schedule.next_due() < span.end && driver.goes_on(last) {
        for _ in 0..BATCH {
            let Some(due) = schedule.take(driver.now().min(span.end - 1)) else {
                break;
            };
            driver.send_to_next(due);
        }
        let news = driver.turn(schedule.next_due())?;
        driver.recycle(news);
    }
    if !driver.is_cut() {
        let left = schedule.left_before(span.end);
        driver.tally().faults(Fault::Unsent, left);
    }
    Ok(())
}
