//! What the messages say: each its own slice of a random block, so that an echo is checked with a
//! comparison and a message is masked with a copy.

use crate::logic::websocket::frame::{Header, Opcode, apply_mask};

/// Messages begin at so many different places.
const VARIETY_BYTES: usize = 64 * 1024;

/// The block of one thread, plain and masked with the thread's key.
pub(super) struct Payload {
    plain: Vec<u8>,
    masked: Vec<u8>,
    key: [u8; 4],
    message_bytes: usize,
}

/// Where in the block a message begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice(usize);

impl Payload {
    /// Random by the seed, for messages of this size.
    pub(super) fn new(message_bytes: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut plain = vec![0; VARIETY_BYTES + message_bytes];
        random.fill(&mut plain);
        let key = random.u32(1..).to_ne_bytes();
        let mut masked = plain.clone();
        apply_mask(&mut masked, key);
        Self {
            plain,
            masked,
            key,
            message_bytes,
        }
    }

    /// The slice of a client's n-th message; a lost or doubled one shows at once.
    pub(super) fn slice(client: u64, number: u64) -> Slice {
        // SplitMix64's increment and multiplier spread neighbours over the block.
        let spread = (client << 32 ^ number)
            .wrapping_add(0x9e37_79b9_7f4a_7c15)
            .wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let place = usize::try_from(spread >> 48).unwrap_or(0);
        // The mask repeats every four bytes, so slices begin where it does.
        Slice((place % VARIETY_BYTES) & !3)
    }

    /// Appends the message as a client's frame.
    pub(super) fn append_frame(&self, Slice(start): Slice, to: &mut Vec<u8>) {
        let header = Header {
            fin: true,
            rsv1: false,
            opcode: Opcode::Binary,
            mask: Some(self.key),
            payload_len: self.message_bytes as u64,
        };
        let mut bytes = [0; Header::MAX_LEN];
        let length = header.write(&mut bytes);
        to.extend_from_slice(&bytes[..length]);
        to.extend_from_slice(&self.masked[start..start + self.message_bytes]);
    }

    /// Whether these bytes stand at this position of the message.
    pub(super) fn matches(&self, Slice(start): Slice, position: usize, bytes: &[u8]) -> bool {
        let message = &self.plain[start..start + self.message_bytes];
        message
            .get(position..position + bytes.len())
            .is_some_and(|part| part == bytes)
    }

    pub(super) fn message_bytes(&self) -> usize {
        self.message_bytes
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::logic::websocket::frame::Expected;

    #[test]
    fn a_frame_unmasks_to_what_is_expected_back() {
        for size in [0, 1, 125, 126, 70_000] {
            let payload = Payload::new(size, 1);
            let slice = Payload::slice(3, 4);
            let mut frame = vec![];
            payload.append_frame(slice, &mut frame);
            let expected = Expected {
                masked: true,
                rsv1: false,
                in_message: false,
            };
            let (header, length) = Header::read(&frame, expected).unwrap().unwrap();
            let mut message = frame.split_off(length);
            apply_mask(&mut message, header.mask.unwrap());
            assert_eq!(message.len(), size);
            assert!(payload.matches(slice, 0, &message));
        }
    }

    #[test]
    fn any_other_byte_is_noticed() {
        let payload = Payload::new(100, 1);
        let slice = Payload::slice(0, 0);
        let mut part = payload.plain[slice.0 + 10..slice.0 + 20].to_vec();
        assert!(payload.matches(slice, 10, &part));
        part[5] ^= 1;
        assert!(!payload.matches(slice, 10, &part));
        assert!(!payload.matches(slice, 95, &payload.plain[slice.0 + 95..slice.0 + 105]));
    }

    #[test]
    fn neighbouring_messages_differ() {
        let slices: HashSet<_> = (0..1000)
            .map(|number| Payload::slice(7, number).0)
            .collect();
        assert!(slices.len() > 900, "{}", slices.len());
    }
}
