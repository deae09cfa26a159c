//! What a schedule is made of: settings, and what each peer sends.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use tidegate::logic::limit::Rate;
use tidegate::logic::reason::EndReason;
use tidegate::logic::websocket::{Extensions, OnExcess, Settings, Side};

/// The fixed part of a schedule.
#[derive(Debug)]
pub struct Plan {
    pub settings: Arc<Settings>,
    pub extensions: Extensions,
    pub events: u32,
    /// Why it is told to end.
    pub order: EndReason,
    /// Longest payload of a frame.
    pub longest: usize,
}

/// A frame as a peer writes it.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Vec<u8>,
    pub kind: FrameKind,
}

/// What a frame means to those who watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    Good,
    /// The answer to a ping of the proxy's.
    Own,
    Close,
    /// Breaks the protocol.
    Bad,
}

impl Plan {
    pub fn new(dice: &mut fastrand::Rng) -> Self {
        let longest = if dice.u32(0..200) == 0 { 70_000 } else { 300 };
        Self {
            settings: Arc::new(settings(dice)),
            extensions: Extensions { rsv1: dice.bool() },
            events: dice.u32(0..120),
            order: dice
                .choice([
                    EndReason::Shutdown,
                    EndReason::Killed,
                    EndReason::Rebalance,
                    EndReason::TokenExpired,
                ])
                .unwrap(),
            longest,
        }
    }

    /// Whether a message of these scripts may be too big.
    pub fn has_small_limits(&self) -> bool {
        self.settings.max_frame_bytes <= 200 || self.settings.max_message_bytes <= 500
    }

    /// What a peer sends of itself, in order.
    pub fn script(&self, from: Side, dice: &mut fastrand::Rng) -> Vec<Frame> {
        let mut frames = Vec::new();
        let bad_at = if dice.u32(0..8) == 0 {
            dice.usize(0..12)
        } else {
            usize::MAX
        };
        for message in 0..dice.usize(0..12) {
            let fragments = if dice.u32(0..3) == 0 {
                dice.usize(2..5)
            } else {
                1
            };
            for fragment in 0..fragments {
                if dice.u32(0..5) == 0 {
                    frames.push(self.control(from, dice));
                }
                if message == bad_at {
                    frames.push(bad(from, fragment > 0, dice));
                    return frames;
                }
                frames.push(self.data(from, fragment, fragments, dice));
            }
        }
        if dice.u32(0..3) == 0 {
            frames.push(close(
                from,
                dice.choice([1000, 1001, 3000, 4999].map(Some)).flatten(),
                dice,
            ));
        }
        frames
    }

    fn data(
        &self,
        from: Side,
        fragment: usize,
        fragments: usize,
        dice: &mut fastrand::Rng,
    ) -> Frame {
        let fin = if fragment + 1 == fragments { 0x80 } else { 0 };
        let compressed = if self.extensions.rsv1 && fragment == 0 && dice.bool() {
            0x40
        } else {
            0
        };
        let opcode = if fragment > 0 { 0 } else { dice.u8(1..=2) };
        let edges = [0, 1, 125, 126, 127];
        let len = if dice.bool() {
            dice.choice(edges).unwrap()
        } else {
            dice.usize(0..self.longest)
        };
        good(from, fin | compressed | opcode, &vec![0x5a; len], dice)
    }

    fn control(&self, from: Side, dice: &mut fastrand::Rng) -> Frame {
        let first = if dice.bool() { 0x89 } else { 0x8a };
        let len = dice.choice([0, 1, 8, 8, 125]).unwrap();
        good(from, first, &vec![dice.u8(..); len], dice)
    }
}

/// A frame that stands where it may.
pub fn good(from: Side, first: u8, payload: &[u8], dice: &mut fastrand::Rng) -> Frame {
    Frame {
        bytes: encode(first, payload, from == Side::Client, dice),
        kind: FrameKind::Good,
    }
}

/// A Close, of this code or of none.
pub fn close(from: Side, code: Option<u16>, dice: &mut fastrand::Rng) -> Frame {
    let payload = code.map_or(Vec::new(), |code| {
        [&code.to_be_bytes()[..], b"bye"].concat()
    });
    Frame {
        kind: FrameKind::Close,
        ..good(from, 0x88, &payload, dice)
    }
}

/// A frame that may stand nowhere, or not here.
fn bad(from: Side, in_message: bool, dice: &mut fastrand::Rng) -> Frame {
    let masked = from == Side::Client;
    let bytes = match dice.u32(0..8) {
        0 => encode(0x82, b"wrongly masked", !masked, dice),
        1 => encode(0x83, b"reserved opcode", masked, dice),
        2 => encode(0xa2, b"reserved bit", masked, dice),
        3 => encode(0x09, b"fragmented ping", masked, dice),
        4 => encode(0x88, &1005_u16.to_be_bytes(), masked, dice),
        5 => encode(0x8a, &[0; 126], masked, dice),
        6 => vec![0x89, if masked { 0xfe } else { 0x7e }, 0, 5, 0, 0, 0, 0],
        _ => encode(
            if in_message { 0x81 } else { 0x80 },
            b"out of order",
            masked,
            dice,
        ),
    };
    Frame {
        bytes,
        kind: FrameKind::Bad,
    }
}

fn encode(first: u8, payload: &[u8], masked: bool, dice: &mut fastrand::Rng) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(mask_bit | u8::try_from(len).unwrap()),
        len @ 126..65_536 => {
            bytes.push(mask_bit | 126);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            bytes.push(mask_bit | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let key = if masked {
        dice.u32(..).to_be_bytes()
    } else {
        [0; 4]
    };
    if masked {
        bytes.extend(key);
    }
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn settings(dice: &mut fastrand::Rng) -> Settings {
    let seconds = |dice: &mut fastrand::Rng, most: u64| {
        (dice.u32(0..3) == 0).then(|| Duration::from_millis(dice.u64(500..most * 1000)))
    };
    let rate = |dice: &mut fastrand::Rng, most: u64| {
        (dice.u32(0..6) == 0).then(|| Rate {
            per_second: NonZeroU64::new(dice.u64(1..most)).unwrap(),
            burst: NonZeroU64::new(dice.u64(1..most)).unwrap(),
        })
    };
    Settings {
        idle_timeout: seconds(dice, 60),
        max_lifetime: seconds(dice, 200),
        ping_interval: seconds(dice, 20),
        ping_timeout: Duration::from_millis(dice.u64(500..15_000)),
        ping_backend: dice.bool(),
        max_frame_bytes: if dice.u32(0..8) == 0 { 200 } else { 1 << 20 },
        max_message_bytes: if dice.u32(0..8) == 0 { 500 } else { 1 << 20 },
        client_messages: rate(dice, 20),
        client_bytes: rate(dice, 2000),
        on_excess: if dice.bool() {
            OnExcess::Close
        } else {
            OnExcess::Throttle
        },
    }
}
