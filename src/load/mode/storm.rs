//! All connections lost and opened again at the same instant, over and over.

use std::io;

use crate::load::driver::{Driver, Span};
use crate::load::schedule::Schedule;
use crate::load::tally::record;

pub(super) fn run(driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    // From here on a connection's opening is its return.
    driver.tally().opening.reset();
    while driver.goes_on(span.end) {
        let start = driver.now();
        driver.drop_all();
        driver.open_share(Schedule::at_once(start))?;
        if driver.are_all_open() {
            let now = driver.now();
            record(&mut driver.tally().recovery, start, now);
        }
        driver.await_other_threads(span.end)?;
    }
    Ok(())
}
