//! Idle and sink: the clients wait, and what comes is counted.

use std::io;

use crate::load::driver::{Driver, Span};

pub(super) fn run(driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    while driver.goes_on(span.end) {
        let news = driver.turn(span.end)?;
        driver.recycle(news);
    }
    Ok(())
}
