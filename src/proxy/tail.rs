//! Shows somebody who watches a session its frames as they pass. A session that nobody watches
//! has none of this.

use std::time::Instant;

use crate::logic::websocket::{FrameObserver, Pair, Session, Side};
use crate::state::tap::Tap;

/// A watched session's tap, and how far its frames have been followed.
#[derive(Debug)]
pub struct Tail {
    tap: Box<Tap>,
    observers: Pair<FrameObserver>,
}

impl Tail {
    /// Follows a session from here on.
    pub fn begin(mut tap: Box<Tap>, session: &Session) -> Self {
        tap.began();
        let observers = Pair {
            client: session.observer(Side::Client),
            backend: session.observer(Side::Backend),
        };
        Self { tap, observers }
    }

    /// This passed on from that side; false when nobody watches any more.
    pub fn passed(&mut self, from: Side, bytes: &[u8], now: Instant) -> bool {
        let Self { tap, observers } = self;
        observers[from].follow(bytes, |header, payload| {
            tap.frame(from.other(), false, header, payload, now);
        });
        !tap.is_left()
    }

    /// The proxy said this to that side.
    pub fn said(&mut self, to: Side, frame: &[u8], now: Instant) {
        FrameObserver::of_ours(to == Side::Backend).follow(frame, |header, payload| {
            self.tap.frame(to, true, header, payload, now);
        });
    }

    /// The tap, to say a last word.
    pub fn into_tap(self) -> Tap {
        *self.tap
    }
}
