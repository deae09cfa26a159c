//! WebSocket frames by hand: whatever a test wants on the wire, right or wrong.

/// One frame, RFC 6455 section 5.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Final fragment.
    pub fin: bool,
    /// RSV1 to RSV3 as the three low bits.
    pub rsv: u8,
    /// 0 to 15.
    pub opcode: u8,
    /// The masking key, where there is one.
    pub mask: Option<[u8; 4]>,
    /// Unmasked.
    pub payload: Vec<u8>,
}

/// A continuation.
pub const CONTINUATION: u8 = 0;
/// A text message's first frame.
pub const TEXT: u8 = 1;
/// A binary message's first frame.
pub const BINARY: u8 = 2;
/// A Close.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;

impl Frame {
    /// A whole frame as a client sends it, masked.
    pub fn client(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self {
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            ..Self::server(opcode, payload)
        }
    }

    /// A whole frame as a server sends it, unmasked.
    pub fn server(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self {
            fin: true,
            rsv: 0,
            opcode,
            mask: None,
            payload: payload.as_ref().to_vec(),
        }
    }

    /// The payload of a Close.
    pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
        [&code.to_be_bytes(), reason.as_bytes()].concat()
    }

    /// The same frame, with more to follow.
    pub fn unfinished(self) -> Self {
        Self { fin: false, ..self }
    }

    /// The code of a Close, where it carries one.
    pub fn close_code(&self) -> Option<u16> {
        let code = self
            .payload
            .first_chunk()
            .filter(|_| self.opcode == CLOSE)?;
        Some(u16::from_be_bytes(*code))
    }

    /// The payload as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The frame on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let mut wire = vec![u8::from(self.fin) << 7 | self.rsv << 4 | self.opcode];
        match self.payload.len() {
            short @ 0..=125 => wire.push(masked | u8::try_from(short).unwrap()),
            medium @ 126..=0xffff => {
                wire.push(masked | 126);
                wire.extend(u16::try_from(medium).unwrap().to_be_bytes());
            }
            long => {
                wire.push(masked | 127);
                wire.extend(u64::try_from(long).unwrap().to_be_bytes());
            }
        }
        wire.extend(self.mask.iter().flatten());
        let start = wire.len();
        wire.extend(&self.payload);
        apply(self.mask, &mut wire[start..]);
        wire
    }

    /// The first whole frame of `bytes` and its length on the wire; `None` while there is none.
    pub fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let header = Header::of(bytes)?;
        let total = header.length + header.payload_length;
        let mut payload = bytes.get(header.length..total)?.to_vec();
        apply(header.mask, &mut payload);
        let frame = Self {
            fin: bytes[0] & 0x80 != 0,
            rsv: bytes[0] >> 4 & 7,
            opcode: bytes[0] & 15,
            mask: header.mask,
            payload,
        };
        Some((frame, total))
    }

    /// How long the first frame of `bytes` is on the wire; `None` while its header is not whole.
    pub fn measure(bytes: &[u8]) -> Option<usize> {
        Header::of(bytes).map(|header| header.length + header.payload_length)
    }
}

/// What the beginning of a frame says of the rest.
struct Header {
    length: usize,
    payload_length: usize,
    mask: Option<[u8; 4]>,
}

impl Header {
    fn of(bytes: &[u8]) -> Option<Self> {
        let (&[_, second], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match second & 0x7f {
            126 => rest
                .split_first_chunk()
                .map(|(n, r)| (u64::from(u16::from_be_bytes(*n)), r))?,
            127 => rest
                .split_first_chunk()
                .map(|(n, r)| (u64::from_be_bytes(*n), r))?,
            short => (u64::from(short), rest),
        };
        let (mask, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => rest
                .split_first_chunk()
                .map(|(key, rest)| (Some(*key), rest))?,
        };
        Some(Self {
            length: bytes.len() - rest.len(),
            payload_length: usize::try_from(length).unwrap(),
            mask,
        })
    }
}

fn apply(mask: Option<[u8; 4]>, payload: &mut [u8]) {
    let Some(key) = mask else { return };
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[test]
fn frames_come_back_as_they_were_written() {
    for length in [0, 1, 125, 126, 65_535, 65_536] {
        for frame in [
            Frame::client(BINARY, vec![7; length]),
            Frame::server(TEXT, vec![b'x'; length]).unfinished(),
        ] {
            let wire = frame.encode();
            assert_eq!(Frame::decode(&wire), Some((frame, wire.len())));
            assert_eq!(Frame::decode(&wire[..wire.len() - 1]), None);
        }
    }
}
