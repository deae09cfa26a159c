//! Frame headers (RFC 6455 section 5.2), read and written; payloads are somebody else's.

use std::ops::Deref;

use thiserror::Error;

use crate::logic::reason::CloseCode;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    /// More of the message under way.
    Continuation,
    /// The first frame of a text message.
    Text,
    /// The first frame of a binary message.
    Binary,
    /// The end of what this peer says.
    Close,
    /// A question for life.
    Ping,
    /// Its answer.
    Pong,
}

impl Opcode {
    /// Whether its frames stand between others' fragments (RFC 6455 section 5.5).
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }

    /// Its name in RFC 6455 section 11.8.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }
}

/// How a peer broke RFC 6455.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Section 5.2: opcodes 3-7 and b-f are reserved.
    #[error("opcode {0:#x} is reserved")]
    ReservedOpcode(u8),
    /// Section 5.2: RSV bits belong to negotiated extensions.
    #[error("reserved bits {0:#05b} mean nothing here")]
    ReservedBits(u8),
    /// Section 5.5: control frames are whole.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5: control frames carry 125 bytes at most.
    #[error("a control frame carries more than 125 bytes")]
    OversizedControl,
    /// Section 5.4: a continuation continues something.
    #[error("a continuation frame without a message")]
    NothingToContinue,
    /// Section 5.4: messages do not interleave.
    #[error("a message begins inside another")]
    InterleavedMessage,
    /// Section 5.1: clients mask.
    #[error("a client's frame is not masked")]
    Unmasked,
    /// Section 5.1: servers do not.
    #[error("a server's frame is masked")]
    Masked,
    /// Section 5.2: lengths take the shortest form.
    #[error("payload length {0} is not in its shortest form")]
    WastefulLength(u64),
    /// Section 5.2: a 64-bit length's highest bit is 0.
    #[error("payload length has its highest bit set")]
    LengthOverflow,
    /// Section 5.5.1: a Close's body begins with two bytes of code.
    #[error("a Close with half a code")]
    HalfCloseCode,
    /// Section 7.4: this code may not stand in a frame.
    #[error("close code {0} may not be sent")]
    BadCloseCode(u16),
    /// Section 5.5.1: a Close's reason is UTF-8.
    #[error("a Close whose reason is not UTF-8")]
    BadCloseReason,
}

/// What a header must fit: who sent it, what was negotiated, what came before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Frames come from a client.
    pub masked: bool,
    /// The first frame of a message may carry RSV1 (permessage-deflate, RFC 7692 section 6).
    pub rsv1: bool,
    /// A fragmented message is under way.
    pub in_message: bool,
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The message is compressed.
    pub rsv1: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// The masking key of a client's frame.
    pub mask: Option<[u8; 4]>,
    /// Bytes of payload that follow.
    pub payload_len: u64,
}

impl Header {
    /// Longest header: a 64-bit length and a masking key.
    pub const MAX_LEN: usize = 14;

    /// Reads the header that `bytes` begin with and says how long it is; `None` when they end inside it.
    /// Bytes are checked in wire order, so that a violation is the same wherever they were split.
    ///
    /// # Errors
    /// A [`Violation`] when the header cannot stand here.
    #[inline(always)]
    pub fn read(bytes: &[u8], expected: Expected) -> Result<Option<(Self, usize)>, Violation> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let opcode = read_first(first, expected)?;
        let Some((&second, rest)) = rest.split_first() else {
            return Ok(None);
        };
        check_second(second, opcode, expected)?;
        let Some((payload_len, rest)) = read_length(second & 0x7f, rest)? else {
            return Ok(None);
        };
        let (mask, rest) = if expected.masked {
            let Some((&key, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (Some(key), rest)
        } else {
            (None, rest)
        };
        let header = Self {
            fin: first & FIN != 0,
            rsv1: first & RSV1 != 0,
            opcode,
            mask,
            payload_len,
        };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// Writes the header in its shortest form and says how long it is.
    pub fn write(&self, to: &mut [u8; Self::MAX_LEN]) -> usize {
        let mask_bit = if self.mask.is_some() { MASKED } else { 0 };
        to[0] = u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode.bits();
        let mut len = match (
            u8::try_from(self.payload_len),
            u16::try_from(self.payload_len),
        ) {
            (Ok(len @ ..126), _) => {
                to[1] = mask_bit | len;
                2
            }
            (_, Ok(len)) => {
                to[1] = mask_bit | 126;
                to[2..4].copy_from_slice(&len.to_be_bytes());
                4
            }
            _ => {
                to[1] = mask_bit | 127;
                to[2..10].copy_from_slice(&self.payload_len.to_be_bytes());
                10
            }
        };
        if let Some(key) = self.mask {
            to[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        len
    }
}

/// Masks or unmasks a payload that begins at its frame's first payload byte (RFC 6455 section 5.3).
pub fn apply_mask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

/// A whole control frame of the proxy's own.
#[derive(Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl ControlFrame {
    /// Longest control frame: two bytes of header, a masking key, a full payload.
    pub const MAX_LEN: usize = 2 + 4 + MAX_CONTROL_PAYLOAD;

    /// A Close with this code and no reason.
    pub fn close(code: Option<CloseCode>, mask: Option<[u8; 4]>) -> Self {
        match code {
            Some(code) => Self::new(Opcode::Close, &code.get().to_be_bytes(), mask),
            None => Self::new(Opcode::Close, &[], mask),
        }
    }

    /// A control frame with this payload, cut to the 125 bytes that may stand there.
    pub fn new(opcode: Opcode, payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        let payload = &payload[..payload.len().min(MAX_CONTROL_PAYLOAD)];
        let header = Header {
            fin: true,
            rsv1: false,
            opcode,
            mask,
            payload_len: payload.len() as u64,
        };
        let mut head = [0; Header::MAX_LEN];
        let head_len = header.write(&mut head);
        let len = head_len + payload.len();
        let mut bytes = [0; Self::MAX_LEN];
        bytes[..head_len].copy_from_slice(&head[..head_len]);
        bytes[head_len..len].copy_from_slice(payload);
        if let Some(key) = mask {
            apply_mask(&mut bytes[head_len..len], key);
        }
        Self { bytes, len }
    }
}

impl Deref for ControlFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// RFC 6455 section 5.5.
pub(super) const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RSV: u8 = 0x70;
const RSV1: u8 = 0x40;
const MASKED: u8 = 0x80;

#[inline(always)]
fn read_first(first: u8, expected: Expected) -> Result<Opcode, Violation> {
    let bits = first & 0x0f;
    let opcode = Opcode::from_bits(bits).ok_or(Violation::ReservedOpcode(bits))?;
    let starts = matches!(opcode, Opcode::Text | Opcode::Binary);
    match first & RSV {
        0 => {}
        RSV1 if expected.rsv1 && starts => {}
        rsv => return Err(Violation::ReservedBits(rsv >> 4)),
    }
    if opcode.is_control() {
        return if first & FIN != 0 {
            Ok(opcode)
        } else {
            Err(Violation::FragmentedControl)
        };
    }
    match (starts, expected.in_message) {
        (true, true) => Err(Violation::InterleavedMessage),
        (false, false) => Err(Violation::NothingToContinue),
        _ => Ok(opcode),
    }
}

#[inline(always)]
fn check_second(second: u8, opcode: Opcode, expected: Expected) -> Result<(), Violation> {
    let masked = second & MASKED != 0;
    if masked != expected.masked {
        return Err(if masked {
            Violation::Masked
        } else {
            Violation::Unmasked
        });
    }
    match second & 0x7f {
        126.. if opcode.is_control() => Err(Violation::OversizedControl),
        1 if opcode == Opcode::Close => Err(Violation::HalfCloseCode),
        _ => Ok(()),
    }
}

/// The payload length and what follows it; `None` when the bytes end inside it.
#[inline(always)]
fn read_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (len, least, rest) = match short {
        126 => {
            let Some((&field, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from(u16::from_be_bytes(field)), 126, rest)
        }
        127 => {
            let Some((&field, rest)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            (u64::from_be_bytes(field), 1 << 16, rest)
        }
        _ => return Ok(Some((u64::from(short), rest))),
    };
    if len >> 63 != 0 {
        return Err(Violation::LengthOverflow);
    }
    if len < least {
        return Err(Violation::WastefulLength(len));
    }
    Ok(Some((len, rest)))
}
