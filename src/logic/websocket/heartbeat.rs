//! Whether one peer still lives: when it is pinged, what counts as an answer, when it counts as dead.

use std::time::{Duration, Instant};

/// The pulse of one peer.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    /// When it last gave a sign of life: any byte, or taking bytes that had been stuck.
    heard: Instant,
    /// When it was last probed, while the probe's pong has not come.
    probed: Option<Instant>,
    /// A ping waits for a frame border.
    wanted: bool,
    /// Probes so far.
    probes: u32,
    rtt_micros: Option<u32>,
    /// Nobody has asked for the last round trip yet.
    rtt_is_news: bool,
}

/// How often a peer is pinged and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rhythm {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
}

impl Heartbeat {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            heard: now,
            probed: None,
            wanted: false,
            probes: 0,
            rtt_micros: None,
            rtt_is_news: false,
        }
    }

    /// A sign of life.
    #[inline]
    pub(super) const fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.wanted = false;
    }

    /// When [`Self::elapsed`] wants to be called; never while a ping waits for its border.
    pub(super) fn deadline(&self, rhythm: Rhythm) -> Option<Instant> {
        match self.unanswered() {
            Some(probed) => probed.checked_add(rhythm.timeout),
            None if self.wanted => None,
            None => self.heard.checked_add(rhythm.interval),
        }
    }

    /// The deadline has passed: asks for a ping, or says that the peer is dead.
    /// A peer with bytes `stuck` on their way to it needs no ping: taking them is its answer.
    pub(super) fn elapsed(&mut self, stuck: bool, now: Instant) -> Pulse {
        if self.unanswered().is_some() {
            return Pulse::Dead;
        }
        self.wanted = true;
        self.stuck(stuck, now);
        Pulse::Alive
    }

    /// Bytes on their way to the peer got stuck: a ping that waits would wait behind them.
    pub(super) fn stuck(&mut self, stuck: bool, now: Instant) {
        if stuck && self.wanted {
            self.probe(now);
        }
    }

    /// Whether a ping waits for a frame border.
    pub(super) const fn wants_ping(&self) -> bool {
        self.wanted
    }

    /// Starts to wait for an answer; the number tells this probe from others.
    pub(super) const fn probe(&mut self, now: Instant) -> u32 {
        self.wanted = false;
        self.probed = Some(now);
        self.probes = self.probes.wrapping_add(1);
        self.probes
    }

    /// The pong of that probe came.
    pub(super) fn answered(&mut self, probe: u32, now: Instant) {
        if probe == self.probes
            && let Some(probed) = self.probed.take()
        {
            let micros = now.saturating_duration_since(probed).as_micros();
            self.rtt_micros = Some(u32::try_from(micros).unwrap_or(u32::MAX));
            self.rtt_is_news = true;
        }
    }

    /// Whether there has been a probe of that number.
    pub(super) const fn knows(&self, probe: u32) -> bool {
        probe.wrapping_sub(1) < self.probes
    }

    /// The last round trip measured.
    pub(super) fn rtt(&self) -> Option<Duration> {
        self.rtt_micros
            .map(|micros| Duration::from_micros(u64::from(micros)))
    }

    /// The same, once for each.
    pub(super) fn take_rtt(&mut self) -> Option<Duration> {
        std::mem::take(&mut self.rtt_is_news)
            .then(|| self.rtt())
            .flatten()
    }

    /// When the probe went out that nothing has been heard since.
    fn unanswered(&self) -> Option<Instant> {
        self.probed.filter(|&probed| probed > self.heard)
    }
}

/// What [`Heartbeat::elapsed`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pulse {
    Alive,
    Dead,
}
