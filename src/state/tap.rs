//! What somebody who watches one session gets to see: headers of its frames, as many as a bounded
//! channel and a rate let through, and how many they did not.

use std::num::NonZeroU64;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::logic::limit::{Bucket, Rate};
use crate::logic::reason::{CloseCode, EndReason};
use crate::logic::websocket::frame::{Header, Opcode, apply_mask};
use crate::logic::websocket::{End, Side};

/// Sights that may wait for who watches.
const WAITING: usize = 1024;
/// Frames a second that are shown; of faster sessions the rest is only counted.
const SHOWN: Rate = Rate {
    per_second: NonZeroU64::new(200).expect("not zero"),
    burst: NonZeroU64::new(400).expect("not zero"),
};
/// Most of a payload that is shown.
const START_BYTES: usize = 64;

/// Something that is seen of a session.
#[derive(Clone, Debug)]
pub struct Sight {
    /// When.
    pub at: SystemTime,
    /// How many frames before it were not shown.
    pub missed: u64,
    /// What.
    pub what: What,
}

/// What is seen.
#[derive(Clone, Debug)]
pub enum What {
    /// Everything from here on is seen.
    Begin,
    /// A frame passed.
    Frame(Frame),
    /// The session ended.
    End(EndReason, Option<CloseCode>),
    /// Somebody else watches it from now on.
    Replaced,
}

/// A frame's header, and the start of its payload where that was asked for.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the words say it")]
pub struct Frame {
    pub to: Side,
    pub is_ours: bool,
    pub opcode: Opcode,
    pub fin: bool,
    pub compressed: bool,
    pub payload_bytes: u64,
    pub start: Option<Box<[u8]>>,
}

/// The session's end of it.
#[derive(Debug)]
pub struct Tap {
    shown: mpsc::Sender<Sight>,
    with_payload: bool,
    bucket: Bucket,
    missed: u64,
}

impl Tap {
    /// A tap, and where its sights come out.
    pub fn new(with_payload: bool, now: Instant) -> (Self, mpsc::Receiver<Sight>) {
        let (shown, sights) = mpsc::channel(WAITING);
        let tap = Self {
            shown,
            with_payload,
            bucket: Bucket::new(SHOWN, now),
            missed: 0,
        };
        (tap, sights)
    }

    /// The session has got it.
    pub fn began(&mut self) {
        self.show(What::Begin);
    }

    /// Whether nobody watches any more.
    pub fn is_left(&self) -> bool {
        self.shown.is_closed()
    }

    /// A frame goes to that side; `payload` is what of it is there.
    pub fn frame(
        &mut self,
        to: Side,
        is_ours: bool,
        header: &Header,
        payload: &[u8],
        now: Instant,
    ) {
        if !self.bucket.take(1, now) {
            self.missed += 1;
            return;
        }
        let start = self.with_payload.then(|| start_of(payload, header.mask));
        self.show(What::Frame(Frame {
            to,
            is_ours,
            opcode: header.opcode,
            fin: header.fin,
            compressed: header.rsv1,
            payload_bytes: header.payload_len,
            start,
        }));
    }

    /// The session ended.
    pub fn ended(mut self, end: &End) {
        self.show(What::End(end.reason, end.close_code));
    }

    /// Somebody else watches from now on.
    pub fn replaced(mut self) {
        self.show(What::Replaced);
    }

    fn show(&mut self, what: What) {
        let sight = Sight {
            at: SystemTime::now(),
            missed: self.missed,
            what,
        };
        self.missed = match self.shown.try_send(sight) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.missed + 1,
        };
    }
}

fn start_of(payload: &[u8], mask: Option<[u8; 4]>) -> Box<[u8]> {
    let mut start: Box<[u8]> = payload[..payload.len().min(START_BYTES)].into();
    apply_mask(&mut start, mask.unwrap_or_default());
    start
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(payload: &[u8]) -> Header {
        Header {
            fin: true,
            rsv1: false,
            opcode: Opcode::Text,
            mask: Some([1, 2, 3, 4]),
            payload_len: payload.len() as u64,
        }
    }

    #[test]
    fn too_many_frames_are_counted_and_the_count_is_told() {
        let now = Instant::now();
        let (mut tap, mut sights) = Tap::new(false, now);
        let frames = SHOWN.burst.get() + 50;
        for _ in 0..frames {
            tap.frame(Side::Client, false, &text(b""), b"", now);
        }
        tap.frame(
            Side::Client,
            false,
            &text(b""),
            b"",
            now + Duration::from_secs(1),
        );
        let all: Vec<u64> = std::iter::from_fn(|| sights.try_recv().ok())
            .map(|sight| sight.missed)
            .collect();
        assert_eq!(all.len() as u64, SHOWN.burst.get() + 1);
        assert_eq!(all.last(), Some(&50));
    }

    #[test]
    fn who_does_not_listen_holds_no_more_than_the_channel() {
        let mut now = Instant::now();
        let (mut tap, mut sights) = Tap::new(false, now);
        for _ in 0..WAITING + 10 {
            now += Duration::from_secs(1);
            tap.frame(Side::Client, false, &text(b""), b"", now);
        }
        assert_eq!(
            std::iter::from_fn(|| sights.try_recv().ok()).count(),
            WAITING
        );
        tap.frame(
            Side::Client,
            false,
            &text(b""),
            b"",
            now + Duration::from_secs(1),
        );
        assert_eq!(sights.try_recv().unwrap().missed, 10);
        drop(sights);
        assert!(tap.is_left());
    }

    #[test]
    fn the_payloads_start_is_shown_unmasked_and_only_when_asked_for() {
        let now = Instant::now();
        let mut masked = [b'x'; 100];
        apply_mask(&mut masked, [1, 2, 3, 4]);
        for with_payload in [true, false] {
            let (mut tap, mut sights) = Tap::new(with_payload, now);
            tap.frame(Side::Backend, false, &text(&masked), &masked, now);
            let What::Frame(frame) = sights.try_recv().unwrap().what else {
                panic!("no frame");
            };
            assert_eq!(frame.payload_bytes, 100);
            let start = with_payload.then(|| vec![b'x'; START_BYTES].into_boxed_slice());
            assert_eq!(frame.start, start);
        }
    }
}
