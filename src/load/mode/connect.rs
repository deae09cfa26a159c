//! Connections opened and closed again: handshakes are the load.

use std::io;

use crate::load::client::News;
use crate::load::clock::{Nanos, nanos};
use crate::load::driver::{Driver, END_TIMEOUT, Span};

pub(super) fn run(driver: &mut Driver<'_>, span: Span) -> io::Result<()> {
    let most = driver.share();
    let mut openings = driver.openings(span.start);
    let last = span.end + nanos(END_TIMEOUT);
    while driver.now() < span.end || (driver.live() > 0 && driver.now() < last) {
        while driver.live() < most && driver.now() < span.end {
            let now = driver.now();
            let Some(due) = openings.take(now) else { break };
            // Without a rate, one is due when another has gone.
            let due = if openings.is_at_once() { now } else { due };
            if !driver.open(due)? {
                break;
            }
        }
        let room = driver.live() < most && driver.now() < span.end;
        let news = driver.turn(if room {
            openings.next_due()
        } else {
            Nanos::MAX
        })?;
        for &(slot, news) in &news {
            if news == News::Opened {
                driver.close(slot);
            }
        }
        driver.recycle(news);
    }
    Ok(())
}
