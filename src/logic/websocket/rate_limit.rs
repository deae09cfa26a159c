//! What a client may send: message and byte rates of one session.

use std::time::Instant;

use super::settings::{OnExcess, Settings};
use crate::logic::limit::Bucket;

/// The client's rates. A session without any has no such limit.
#[derive(Debug)]
pub(super) struct RateLimit {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    on_excess: OnExcess,
    /// The client is not read before this.
    until: Option<Instant>,
    /// A message that has no token yet is withheld, with what follows it.
    withheld: bool,
}

impl RateLimit {
    /// Most that is read at a time from a client whose messages are throttled: what may be withheld.
    pub(super) const THROTTLED_READ_BYTES: usize = 16 << 10;
    /// Most that is read at a time from a client whose bytes are limited: what it may overshoot by.
    pub(super) const LIMITED_READ_BYTES: usize = 64 << 10;

    pub(super) fn new(settings: &Settings, now: Instant) -> Option<Box<Self>> {
        if settings.client_messages.is_none() && settings.client_bytes.is_none() {
            return None;
        }
        Some(Box::new(Self {
            messages: settings.client_messages.map(|rate| Bucket::new(rate, now)),
            bytes: settings.client_bytes.map(|rate| Bucket::new(rate, now)),
            on_excess: settings.on_excess,
            until: None,
            withheld: false,
        }))
    }

    /// Most that may be read at a time.
    pub(super) const fn read_limit(&self) -> usize {
        if self.throttles() {
            Self::THROTTLED_READ_BYTES
        } else {
            Self::LIMITED_READ_BYTES
        }
    }

    /// Counts bytes that came; beyond the rate nothing is read for a while.
    pub(super) fn count_bytes(&mut self, count: usize, now: Instant) {
        self.withheld = false;
        if let Some(bucket) = &mut self.bytes {
            bucket.charge(count as u64, now);
            let wait = bucket.wait(1, now);
            if !wait.is_zero() {
                self.until = self.until.max(now.checked_add(wait));
            }
        }
    }

    /// Whether another message may begin.
    pub(super) fn allows_message(&self, now: Instant) -> bool {
        self.messages
            .as_ref()
            .is_none_or(|bucket| bucket.wait(1, now).is_zero())
    }

    /// A message begins.
    pub(super) fn count_message(&mut self, now: Instant) {
        if let Some(bucket) = &mut self.messages {
            bucket.charge(1, now);
        }
    }

    /// A message came that may not begin: whether it waits for its turn, or the session ends.
    pub(super) fn withholds(&mut self, now: Instant) -> bool {
        let throttles = self.throttles();
        if let Some(bucket) = self.messages.as_ref().filter(|_| throttles) {
            self.until = self.until.max(now.checked_add(bucket.wait(1, now)));
            self.withheld = true;
        }
        throttles
    }

    /// Time went by.
    pub(super) fn elapsed(&mut self, now: Instant) -> bool {
        let reopens = self.until.is_some_and(|until| until <= now);
        if reopens {
            self.until = None;
        }
        reopens
    }

    /// Whether messages beyond the rate wait for their turn.
    pub(super) const fn throttles(&self) -> bool {
        self.messages.is_some() && matches!(self.on_excess, OnExcess::Throttle)
    }

    /// Until when nothing is read.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether messages are withheld.
    pub(super) const fn has_withheld(&self) -> bool {
        self.withheld
    }
}
