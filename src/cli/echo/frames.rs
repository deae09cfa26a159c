//! Turns a client's frames into the frames that echo them, as the bytes come: data back as it is,
//! a ping as a pong, a Close as its answer.

use crate::logic::websocket::frame::{Expected, Header, Opcode, Violation};

/// One connection's frames under way.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// A header that the last chunk cut.
    head: Vec<u8>,
    frame: Option<Frame>,
    in_message: bool,
}

#[derive(Debug)]
struct Frame {
    key: [u8; 4],
    remaining: u64,
    closes: bool,
}

impl Frames {
    /// Appends to `out` what answers `chunk`. True when a Close was answered: nothing follows.
    pub(super) fn echo(&mut self, mut chunk: &[u8], out: &mut Vec<u8>) -> Result<bool, Violation> {
        loop {
            match &mut self.frame {
                Some(frame) => {
                    frame.payload(&mut chunk, out);
                    if frame.remaining > 0 {
                        return Ok(false);
                    }
                    if self.frame.take().is_some_and(|frame| frame.closes) {
                        return Ok(true);
                    }
                }
                None if chunk.is_empty() => return Ok(false),
                None => self.header(&mut chunk, out)?,
            }
        }
    }

    /// Reads a header, from what was cut before and from the chunk, and answers it.
    fn header(&mut self, chunk: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        let before = self.head.len();
        let wanted = (Header::MAX_LEN - before).min(chunk.len());
        self.head.extend_from_slice(&chunk[..wanted]);
        let expected = Expected {
            masked: true,
            rsv1: false,
            in_message: self.in_message,
        };
        let Some((header, len)) = Header::read(&self.head, expected)? else {
            *chunk = &chunk[wanted..];
            return Ok(());
        };
        *chunk = &chunk[len - before..];
        self.head.clear();
        if !header.opcode.is_control() {
            self.in_message = !header.fin;
        }
        let opcode = if header.opcode == Opcode::Ping {
            Opcode::Pong
        } else {
            header.opcode
        };
        let mut answer = [0; Header::MAX_LEN];
        let len = Header {
            opcode,
            mask: None,
            ..header
        }
        .write(&mut answer);
        out.extend_from_slice(&answer[..len]);
        self.frame = Some(Frame {
            key: header.mask.unwrap_or_default(),
            remaining: header.payload_len,
            closes: header.opcode == Opcode::Close,
        });
        Ok(())
    }
}

impl Frame {
    /// Takes what the chunk has of the payload and appends it unmasked.
    fn payload(&mut self, chunk: &mut &[u8], out: &mut Vec<u8>) {
        let len = usize::try_from(self.remaining).map_or(chunk.len(), |left| left.min(chunk.len()));
        let (payload, rest) = chunk.split_at(len);
        let wide = u32::from_ne_bytes(self.key);
        let mut words = payload.chunks_exact(4);
        for word in &mut words {
            if let Ok(word) = <[u8; 4]>::try_from(word) {
                out.extend_from_slice(&(u32::from_ne_bytes(word) ^ wide).to_ne_bytes());
            }
        }
        let tail = words.remainder();
        out.extend(tail.iter().zip(self.key).map(|(byte, key)| byte ^ key));
        self.key.rotate_left(tail.len());
        self.remaining -= len as u64;
        *chunk = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logic::websocket::frame::apply_mask;

    fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let key = [1, 2, 3, 250];
        let payload_len = payload.len() as u64;
        let header = Header {
            fin: true,
            rsv1: false,
            opcode,
            mask: Some(key),
            payload_len,
        };
        let mut head = [0; Header::MAX_LEN];
        let len = header.write(&mut head);
        let mut frame = head[..len].to_vec();
        frame.extend_from_slice(payload);
        apply_mask(&mut frame[len..], key);
        frame
    }

    proptest! {
        #[test]
        fn an_echo_is_the_same_however_its_bytes_are_cut(
            payload in prop::collection::vec(any::<u8>(), 0..300),
            cut in 0..300usize,
        ) {
            let frame = masked(Opcode::Binary, &payload);
            let (a, b) = frame.split_at(cut.min(frame.len()));
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            prop_assert!(!frames.echo(a, &mut out)?);
            prop_assert!(!frames.echo(b, &mut out)?);
            prop_assert!(out.ends_with(&payload));
            prop_assert_eq!(out.len(), payload.len() + if payload.len() < 126 { 2 } else { 4 });
        }
    }

    #[test]
    fn a_ping_comes_back_as_a_pong_and_a_close_ends_it() {
        let mut out = Vec::new();
        let mut chunk = masked(Opcode::Ping, b"hi");
        chunk.extend(masked(Opcode::Close, &[0x03, 0xe8]));
        assert!(Frames::default().echo(&chunk, &mut out).unwrap());
        assert_eq!(out, [0x8a, 2, b'h', b'i', 0x88, 2, 0x03, 0xe8]);
    }
}
