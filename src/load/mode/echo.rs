//! Messages that must come back as they went, at a rate or so many under way.

use std::io;
use std::num::NonZeroU64;

use crate::load::driver::{Driver, Span};
use crate::load::plan::Pace;

pub(super) fn run(pace: Pace, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    match pace {
        Pace::Rate(per_second) => open_loop(per_second, driver, span),
        Pace::InFlight(count) => closed_loop(count, driver, span),
    }
}

/// Sends when a message is due, not when there is room for it: a target that stalls is seen to.
fn open_loop(per_second: NonZeroU64, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    /// Sent between two looks at what has come back.
    const BATCH: usize = 64;
    let mut schedule = driver.schedule(span.start, per_second);
    while schedule.next_due() < span.end {
        for _ in 0..BATCH {
            let Some(due) = schedule.take(driver.now().min(span.end - 1)) else {
                break;
            };
            driver.send_to_next(due);
        }
        let news = driver.turn(schedule.next_due())?;
        driver.recycle(news);
    }
    Ok(())
}

/// Sends a message for every echo.
fn closed_loop(in_flight: u32, driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    driver.keep_in_flight(in_flight, span.end);
    while driver.now() < span.end {
        let news = driver.turn(span.end)?;
        driver.recycle(news);
    }
    Ok(())
}
