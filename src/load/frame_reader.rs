//! Reads a server's frames wherever the stream is cut; data passes through, nothing is kept.

use crate::logic::websocket::frame::{Expected, Header, Opcode, Violation};

/// What the server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Received<'a> {
    /// More of the message under way.
    Data(&'a [u8]),
    /// The message is whole.
    MessageEnd,
    Ping(&'a [u8]),
    Pong,
    /// With its code, where there is one.
    Close(Option<u16>),
}

/// Where in the stream of frames a connection stands.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// The beginning of a header that the last read cut.
    held: [u8; Header::MAX_LEN],
    held_bytes: usize,
    frame: Option<Header>,
    left: u64,
    in_message: bool,
    /// The payload of the control frame under way.
    control: Vec<u8>,
}

impl FrameReader {
    /// Tells what these bytes bring.
    pub(super) fn read(
        &mut self,
        mut bytes: &[u8],
        mut tell: impl FnMut(Received<'_>),
    ) -> Result<(), Violation> {
        loop {
            let Some(frame) = self.frame else {
                let Some(header) = self.read_header(&mut bytes)? else {
                    return Ok(());
                };
                self.left = header.payload_len;
                self.frame = Some(header);
                continue;
            };
            let part = self.take_payload(&mut bytes);
            if frame.opcode.is_control() {
                self.control.extend_from_slice(part);
            } else if !part.is_empty() {
                tell(Received::Data(part));
            }
            if self.left > 0 {
                return Ok(());
            }
            self.frame = None;
            self.end_frame(frame, &mut tell);
        }
    }

    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<Option<Header>, Violation> {
        let expected = Expected {
            masked: false,
            rsv1: false,
            in_message: self.in_message,
        };
        if self.held_bytes == 0
            && let Some((header, length)) = Header::read(bytes, expected)?
        {
            *bytes = &bytes[length..];
            return Ok(Some(header));
        }
        let free = &mut self.held[self.held_bytes..];
        let more = free.len().min(bytes.len());
        free[..more].copy_from_slice(&bytes[..more]);
        let held = &self.held[..self.held_bytes + more];
        let Some((header, length)) = Header::read(held, expected)? else {
            self.held_bytes += more;
            *bytes = &[];
            return Ok(None);
        };
        *bytes = &bytes[length - self.held_bytes..];
        self.held_bytes = 0;
        Ok(Some(header))
    }

    fn take_payload<'a>(&mut self, bytes: &mut &'a [u8]) -> &'a [u8] {
        let take = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let (part, rest) = bytes.split_at(take);
        self.left -= part.len() as u64;
        *bytes = rest;
        part
    }

    fn end_frame(&mut self, frame: Header, tell: &mut impl FnMut(Received<'_>)) {
        match frame.opcode {
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                self.in_message = !frame.fin;
                if frame.fin {
                    tell(Received::MessageEnd);
                }
                return;
            }
            Opcode::Ping => tell(Received::Ping(&self.control)),
            Opcode::Pong => tell(Received::Pong),
            Opcode::Close => {
                let code = self
                    .control
                    .first_chunk()
                    .map(|code| u16::from_be_bytes(*code));
                tell(Received::Close(code));
            }
        }
        self.control = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told of the stream, data joined over cuts.
    fn story(chunks: &[&[u8]]) -> Result<Vec<String>, Violation> {
        let mut frame_reader = FrameReader::default();
        let mut story: Vec<String> = vec![];
        let mut data = vec![];
        for chunk in chunks {
            frame_reader.read(chunk, |received| match received {
                Received::Data(part) => data.extend_from_slice(part),
                Received::MessageEnd => story.push(format!("{:?}", std::mem::take(&mut data))),
                other => story.push(format!("{other:?}")),
            })?;
        }
        Ok(story)
    }

    const STREAM: &[u8] = b"\x82\x03abc\x82\x00\x02\x01d\x89\x02hi\x80\x01e\x8a\x00\
        \x82\x7e\x00\x80................................................................\
        ................................................................\x88\x02\x03\xe8";

    #[test]
    fn messages_fragments_and_control_frames_are_told_apart() {
        let dots = format!("{:?}", [b'.'; 128]);
        let expected = [
            "[97, 98, 99]",
            "[]",
            "Ping([104, 105])",
            "[100, 101]",
            "Pong",
            &dots,
            "Close(Some(1000))",
        ];
        assert_eq!(story(&[STREAM]).unwrap(), expected);
    }

    #[test]
    fn violations_are_found() {
        assert_eq!(story(&[b"\x82\x80\0\0\0\0"]), Err(Violation::Masked));
        assert_eq!(story(&[b"\xc2\x00"]), Err(Violation::ReservedBits(4)));
    }

    proptest! {
        #[test]
        fn every_cut_tells_the_same_story(cuts in prop::collection::vec(0..STREAM.len(), 0..20)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut chunks = vec![];
            let mut start = 0;
            for cut in cuts {
                chunks.push(&STREAM[start..cut]);
                start = cut;
            }
            chunks.push(&STREAM[start..]);
            prop_assert_eq!(story(&chunks), story(&[STREAM]));
        }
    }
}
