//! Follows what was let through of one direction, frame by frame, for somebody who watches a session.
//! The frames have been judged before, so headers and control frames come whole.

use super::frame::{Expected, Header};

/// Where somebody who watches stands in one direction.
#[derive(Clone, Debug)]
pub struct FrameObserver {
    /// Payload bytes of the frame under way that are still to come.
    remaining: u64,
    expected: Expected,
}

impl FrameObserver {
    pub(super) const fn new(remaining: u64, expected: Expected) -> Self {
        Self {
            remaining,
            expected,
        }
    }

    /// For frames of the proxy's own, which stand alone.
    pub const fn of_ours(masked: bool) -> Self {
        let expected = Expected {
            masked,
            rsv1: false,
            in_message: false,
        };
        Self::new(0, expected)
    }

    /// Shows each header in `bytes`, with what of its payload stands there, as it is on the wire.
    pub fn follow(&mut self, mut bytes: &[u8], mut show: impl FnMut(&Header, &[u8])) {
        loop {
            let skipped =
                usize::try_from(self.remaining).map_or(bytes.len(), |left| left.min(bytes.len()));
            self.remaining -= skipped as u64;
            bytes = &bytes[skipped..];
            let Ok(Some((header, len))) = Header::read(bytes, self.expected) else {
                return;
            };
            bytes = &bytes[len..];
            let there =
                usize::try_from(header.payload_len).map_or(bytes.len(), |all| all.min(bytes.len()));
            show(&header, &bytes[..there]);
            self.remaining = header.payload_len;
            if !header.opcode.is_control() {
                self.expected.in_message = !header.fin;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Opcode;
    use super::*;

    fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let header = Header {
            fin,
            rsv1: false,
            opcode,
            mask: None,
            payload_len: payload.len() as u64,
        };
        let mut head = [0; Header::MAX_LEN];
        let len = header.write(&mut head);
        [&head[..len], payload].concat()
    }

    fn seen(trail: &mut FrameObserver, bytes: &[u8]) -> Vec<(Opcode, bool, u64, usize)> {
        let mut seen = Vec::new();
        trail.follow(bytes, |header, start| {
            seen.push((header.opcode, header.fin, header.payload_len, start.len()));
        });
        seen
    }

    #[test]
    fn every_frame_is_shown_once_with_what_is_there_of_its_payload() {
        let stream = [
            frame(Opcode::Text, false, b"hello"),
            frame(Opcode::Ping, true, b""),
            frame(Opcode::Continuation, true, &[b'x'; 300]),
            frame(Opcode::Close, true, b""),
        ]
        .concat();
        let mut trail = FrameObserver::of_ours(false);
        let (first, rest) = stream.split_at(20);
        let expected = [
            (Opcode::Text, false, 5, 5),
            (Opcode::Ping, true, 0, 0),
            (Opcode::Continuation, true, 300, 7),
        ];
        assert_eq!(seen(&mut trail, first), expected);
        assert_eq!(seen(&mut trail, rest), [(Opcode::Close, true, 0, 0)]);
    }

    #[test]
    fn who_begins_inside_a_frame_waits_for_its_end() {
        let expected = Expected {
            masked: false,
            rsv1: false,
            in_message: true,
        };
        let mut trail = FrameObserver::new(3, expected);
        let stream = [b"end".to_vec(), frame(Opcode::Continuation, true, b"x")].concat();
        assert!(seen(&mut trail, &stream[..2]).is_empty());
        assert_eq!(
            seen(&mut trail, &stream[2..]),
            [(Opcode::Continuation, true, 1, 1)]
        );
    }
}
