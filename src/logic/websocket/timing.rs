//! When a living session wants to be woken, and what it does then; whom it reads and whom it pings.

use std::time::Instant;

use super::heartbeat::{Pulse, Rhythm};
use super::peer::Input;
use super::session::Session;
use super::side::Side;
use crate::logic::reason::EndReason;

impl Session {
    /// When [`Self::elapsed_living`] wants to be called.
    pub(super) fn living_deadline(&self) -> Option<Instant> {
        let rate_limit = self
            .rate_limit
            .as_ref()
            .and_then(|rate_limit| rate_limit.until());
        let beats = Side::BOTH.map(|side| {
            self.rhythm(side)
                .and_then(|rhythm| self.peers[side].heartbeat.deadline(rhythm))
        });
        let [client, backend] = beats;
        let expires = self.expires.map(|(at, _)| at);
        [rate_limit, client, backend, expires, self.idles_at()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Time went by in a session that nothing has ended yet.
    pub(super) fn elapsed_living(&mut self) {
        let now = self.clock;
        self.elapsed_gate();
        self.elapsed_heartbeats();
        if let Some((_, reason)) = self.expires.filter(|(at, _)| *at <= now) {
            self.begin_own(reason);
        }
        if self.idles_at().is_some_and(|idles| idles <= now) {
            self.begin_own(EndReason::IdleTimeout);
        }
    }

    /// Whether what comes from that side goes nowhere, so that reading it costs nobody anything.
    pub(super) fn discards(&self, from: Side) -> bool {
        self.peers[from].input != Input::Open || !self.forwards(from)
    }

    /// Whether that side is not read for what it or the other one did.
    pub(super) fn holds_back(&self, from: Side) -> bool {
        let throttled = from == Side::Client
            && self.ending.is_none()
            && self.rate_limit.as_ref().is_some_and(|rate_limit| {
                rate_limit.until().is_some() || rate_limit.has_withheld()
            });
        throttled || self.peers[from.other()].is_stalled()
    }

    fn elapsed_gate(&mut self) {
        let Some(rate_limit) = &mut self.rate_limit else {
            return;
        };
        if rate_limit.elapsed(self.clock) {
            self.peers.client.heartbeat.heard(self.clock);
        }
    }

    fn elapsed_heartbeats(&mut self) {
        for side in Side::BOTH {
            let Some(rhythm) = self.rhythm(side) else {
                continue;
            };
            let peer = &mut self.peers[side];
            if peer
                .heartbeat
                .deadline(rhythm)
                .is_none_or(|deadline| self.clock < deadline)
            {
                continue;
            }
            if peer.heartbeat.elapsed(peer.is_stalled(), self.clock) == Pulse::Dead {
                self.begin_own(match side {
                    Side::Client => EndReason::PingTimeout,
                    Side::Backend => EndReason::BackendPingTimeout,
                });
            }
        }
    }

    /// How that side is pinged; `None` also while it is not read, when its silence is ours.
    fn rhythm(&self, side: Side) -> Option<Rhythm> {
        let pinged = side == Side::Client || self.settings.ping_backend;
        let interval = self
            .settings
            .ping_interval
            .filter(|_| pinged && !self.holds_back(side))?;
        Some(Rhythm {
            interval,
            timeout: self.settings.ping_timeout,
        })
    }

    fn idles_at(&self) -> Option<Instant> {
        self.settings
            .idle_timeout
            .and_then(|timeout| self.active.checked_add(timeout))
    }
}
