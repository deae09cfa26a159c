//! What the operator ordered of a server at run time. It outlives reloads that do not change the
//! server, as the server itself does.

use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};

/// The operator's overrides for a server.
#[derive(Debug, Default)]
pub struct Overrides {
    draining: AtomicBool,
    /// 0 is the configured one.
    weight: AtomicU16,
}

impl Overrides {
    /// Whether it takes no new connections by order.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    pub(super) fn drain(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Says whether it was drained.
    pub(super) fn ready(&self) -> bool {
        self.draining.swap(false, Relaxed)
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

    pub(super) fn forget_weight(&self) {
        self.weight.store(0, Relaxed);
    }

    /// The word of the admin API: `drain` or `ready`.
    pub fn word(&self) -> &'static str {
        if self.is_draining() { "drain" } else { "ready" }
    }
}
