//! The server's end of a WebSocket on which only the server has something to say: what a client
//! sends is answered where RFC 6455 demands it, and dropped.

use super::frame::{ControlFrame, Header, Opcode, apply_mask};
use super::walker::{Fault, Limits, Step, Walker};
use crate::logic::reason::CloseCode;

/// Largest message of a client that is dropped in silence.
const MAX_MESSAGE_BYTES: u64 = 4096;
/// A control frame's header: its length stands in one byte (RFC 6455 section 5.5), its mask in four.
const CONTROL_HEADER_BYTES: usize = 6;

/// A client's frames under way.
#[derive(Debug)]
pub struct SendOnly {
    walker: Walker,
    /// A header or control frame that the last chunk cut; one frame at most.
    held: Vec<u8>,
}

/// What a chunk calls for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The frames to send.
    pub frames: Vec<u8>,
    /// Nothing follows them.
    pub is_last: bool,
}

impl SendOnly {
    /// An open WebSocket.
    pub const fn new() -> Self {
        Self {
            walker: Walker::new(true, false),
            held: Vec::new(),
        }
    }

    /// A client sent this.
    pub fn hear(&mut self, chunk: &[u8]) -> Reply {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        let mut rest = &bytes[..];
        let mut reply = Reply::default();
        while !rest.is_empty() && !reply.is_last {
            let len = match self.walker.step(rest, LIMITS) {
                Ok(Step::Data(piece)) => piece.len,
                Ok(Step::Pong { len, .. }) => len,
                Ok(Step::Ping { len }) => {
                    reply.frames.extend_from_slice(&pong(&rest[..len]));
                    len
                }
                Ok(Step::Close { len, code }) => {
                    reply.end(code);
                    len
                }
                Ok(Step::Incomplete) => {
                    self.held = rest.to_vec();
                    break;
                }
                Err(fault) => {
                    reply.end(Some(code(fault)));
                    break;
                }
            };
            rest = &rest[len..];
        }
        reply
    }

    /// A text message.
    pub fn text(payload: &str) -> Vec<u8> {
        let header = Header {
            fin: true,
            rsv1: false,
            opcode: Opcode::Text,
            mask: None,
            payload_len: payload.len() as u64,
        };
        let mut head = [0; Header::MAX_LEN];
        let len = header.write(&mut head);
        [&head[..len], payload.as_bytes()].concat()
    }

    /// A question for life.
    pub fn ping() -> ControlFrame {
        ControlFrame::new(Opcode::Ping, &[], None)
    }
}

impl Default for SendOnly {
    fn default() -> Self {
        Self::new()
    }
}

impl Reply {
    fn end(&mut self, code: Option<CloseCode>) {
        self.frames
            .extend_from_slice(&ControlFrame::close(code, None));
        self.is_last = true;
    }
}

const LIMITS: Limits = Limits {
    frame: MAX_MESSAGE_BYTES,
    message: MAX_MESSAGE_BYTES,
    another: true,
};

/// RFC 6455 section 5.5.3: with the ping's own payload.
fn pong(ping: &[u8]) -> ControlFrame {
    let (head, masked) = ping.split_at(CONTROL_HEADER_BYTES);
    let mut payload = masked.to_vec();
    apply_mask(&mut payload, [head[2], head[3], head[4], head[5]]);
    ControlFrame::new(Opcode::Pong, &payload, None)
}

const fn code(fault: Fault) -> CloseCode {
    match fault {
        Fault::Violation(_) => CloseCode::PROTOCOL_ERROR,
        Fault::TooBig { .. } | Fault::TooMany => CloseCode::TOO_BIG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 1, 250, 9];
        let header = Header {
            fin: true,
            rsv1: false,
            opcode,
            mask: Some(mask),
            payload_len: payload.len() as u64,
        };
        let mut head = [0; Header::MAX_LEN];
        let len = header.write(&mut head);
        let mut frame = [&head[..len], payload].concat();
        apply_mask(&mut frame[len..], mask);
        frame
    }

    #[test]
    fn a_ping_is_answered_and_data_is_dropped_however_they_are_cut() {
        let stream = [
            client(Opcode::Text, b"whatever"),
            client(Opcode::Ping, b"alive?"),
            client(Opcode::Pong, b""),
        ]
        .concat();
        for cut in 0..stream.len() {
            let mut send_only = SendOnly::new();
            let mut frames = send_only.hear(&stream[..cut]).frames;
            let reply = send_only.hear(&stream[cut..]);
            assert!(!reply.is_last);
            frames.extend(reply.frames);
            assert_eq!(frames, [b"\x8a\x06".as_slice(), b"alive?"].concat());
        }
    }

    #[test]
    fn a_close_is_answered_with_its_code_and_nothing_follows() {
        let close = client(Opcode::Close, &1000u16.to_be_bytes());
        let stream = [close, client(Opcode::Ping, b"")].concat();
        let reply = SendOnly::new().hear(&stream);
        assert_eq!(reply.frames, [0x88, 2, 0x03, 0xe8]);
        assert!(reply.is_last);
    }

    #[test]
    fn what_breaks_the_protocol_or_is_too_big_ends_it() {
        let unmasked = [0x81, 1, b'x'].to_vec();
        let large = client(Opcode::Binary, &[0; 5000]);
        for (stream, code) in [(unmasked, 1002u16), (large, 1009)] {
            let reply = SendOnly::new().hear(&stream);
            let [high, low] = code.to_be_bytes();
            assert_eq!(reply.frames, [0x88, 2, high, low]);
            assert!(reply.is_last);
        }
    }

    #[test]
    fn a_message_is_one_frame_of_its_length() {
        assert_eq!(
            SendOnly::text("hé"),
            [b"\x81\x03".as_slice(), "hé".as_bytes()].concat()
        );
        assert_eq!(SendOnly::text(&"x".repeat(70_000))[..2], [0x81, 127]);
        assert_eq!(SendOnly::ping()[..], [0x89, 0]);
    }
}
