//! What the operator ordered of a server at run time. It outlives reloads that do not change the
//! server, as the server itself does.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

/// A server's standing with the operator.
#[derive(Debug, Default)]
pub struct Standing {
    draining: AtomicBool,
    /// 0 is the configured one.
    weight: AtomicU16,
}

impl Standing {
    /// Whether it takes no new connections by order.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// No new connections from now on.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// New connections again.
    pub fn ready(&self) {
        self.draining.store(false, Relaxed);
    }

    /// The weight that stands in for the configured one.
    pub fn weight(&self) -> Option<NonZeroU16> {
        NonZeroU16::new(self.weight.load(Relaxed))
    }

    /// This weight instead of the configured one.
    pub fn weigh(&self, weight: NonZeroU16) {
        self.weight.store(weight.get(), Relaxed);
    }

    /// Whether anything is other than configured.
    pub fn is_changed(&self) -> bool {
        self.is_draining() || self.weight().is_some()
    }

    /// As configured again.
    pub fn reset(&self) {
        self.ready();
        self.weight.store(0, Relaxed);
    }

    /// The word of the admin API: `drain` or `ready`.
    pub fn word(&self) -> &'static str {
        if self.is_draining() { "drain" } else { "ready" }
    }
}
