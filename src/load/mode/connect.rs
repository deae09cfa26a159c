//! Connections opened and closed again: handshakes are the load.

use std::io;

use crate::load::client::News;
use crate::load::clock::{Nanos, nanos};
use crate::load::driver::{Driver, END_TIMEOUT, Span};

pub(super) fn run(driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    let most = driver.share();
    let mut openings = driver.openings(span.start);
    while driver.goes_on(span.end) {
        while driver.live() < most && driver.goes_on(span.end) {
            let now = driver.now();
            let Some(due) = openings.take(now) else { break };
            // Without a rate, one is due when another has gone.
            let due = if openings.is_at_once() { now } else { due };
            if !driver.open(due)? {
                break;
            }
        }
        let has_room = driver.live() < most;
        turn(
            driver,
            if has_room {
                openings.next_due()
            } else {
                Nanos::MAX
            },
        )?;
    }
    if driver.is_cut() {
        driver.forget_opening();
    }
    let last = driver.now() + nanos(END_TIMEOUT);
    while driver.live() > 0 && driver.now() < last {
        turn(driver, last)?;
    }
    Ok(())
}

/// Says goodbye to whoever has opened.
fn turn(driver: &mut Driver<'_>, until: Nanos) -> io::Result<()> {
    let news = driver.turn(until)?;
    for &(slot, news) in &news {
        if news == News::Opened {
            driver.close(slot);
        }
    }
    driver.recycle(news);
    Ok(())
}
