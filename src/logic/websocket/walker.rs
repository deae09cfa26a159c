//! Follows one direction's frames from border to border: headers are read, payloads only counted.
//! Bytes come as contiguous slices; a header or control frame that a slice cuts is asked for again.

use thiserror::Error;

use super::frame::{Expected, Header, MAX_CONTROL_PAYLOAD, Opcode, Violation, apply_mask};
use super::frame_observer::FrameObserver;
use super::tally::Carried;
use crate::logic::reason::CloseCode;

/// Where one direction of a session stands.
#[derive(Clone, Debug)]
pub struct Walker {
    /// Payload bytes of the data frame under way that are still to come.
    remaining: u64,
    /// Payload bytes announced so far by the message under way.
    message_len: u64,
    /// The message under way, from its first header to its last byte.
    message: Option<Kind>,
    /// The frame under way is the last of its message.
    fin: bool,
    masked: bool,
    rsv1: bool,
}

/// What a data message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// UTF-8.
    Text,
    /// Anything.
    Binary,
}

/// What the next data frame may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload of a frame, in bytes.
    pub frame: u64,
    /// Largest payload of a message over its frames, in bytes; compressed where it is compressed.
    pub message: u64,
    /// Whether another message may begin.
    pub another: bool,
}

impl Limits {
    /// For bytes that go nowhere.
    pub const NONE: Self = Self {
        frame: u64::MAX,
        message: u64::MAX,
        another: true,
    };
}

/// One step over the bytes at hand; `len` is how far it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Some of a data frame, or all.
    Data(Piece),
    /// A whole valid Close.
    Close {
        /// Its size.
        len: usize,
        /// What it says.
        code: Option<CloseCode>,
    },
    /// A whole ping.
    Ping {
        /// Its size.
        len: usize,
    },
    /// A whole pong.
    Pong {
        /// Its size.
        len: usize,
        /// What it says, where that is as long as what the proxy's own pings say.
        payload: Option<[u8; 8]>,
    },
    /// The bytes end inside a header or a control frame: come again with these and more.
    Incomplete,
}

/// Some of a data frame, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its size, header included where that is part of it.
    pub len: usize,
    /// Payload bytes in it.
    pub payload: usize,
    /// A message begins with it.
    pub opens: bool,
    /// A message ends with it.
    pub ends: Option<Kind>,
}

/// Why a step is not taken; the walker stays where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The stream cannot be followed any further.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// The next frame is larger than the limits allow; without them it can be stepped over.
    #[error("a frame of {frame} bytes makes a message of {message}")]
    TooBig {
        /// Payload of the frame.
        frame: u64,
        /// Payload of its message with it.
        message: u64,
    },
    /// The next frame begins a message that may not begin; without limits it can be stepped over.
    #[error("one message too many")]
    TooMany,
}

impl Walker {
    /// A walker over what a client (`masked`) or a backend sends.
    pub const fn new(masked: bool, rsv1: bool) -> Self {
        Self {
            remaining: 0,
            message_len: 0,
            message: None,
            fin: false,
            masked,
            rsv1,
        }
    }

    /// Whether the bytes so far end on a frame border.
    pub const fn between_frames(&self) -> bool {
        self.remaining == 0
    }

    /// Whether the bytes so far end on a message border.
    pub const fn between_messages(&self) -> bool {
        self.message.is_none()
    }

    /// For somebody who follows from here on.
    pub const fn observer(&self) -> FrameObserver {
        let expected = Expected {
            masked: self.masked,
            rsv1: self.rsv1,
            in_message: match self.message {
                Some(_) if self.remaining > 0 => !self.fin,
                message => message.is_some(),
            },
        };
        FrameObserver::new(self.remaining, expected)
    }

    /// Takes the next step over `bytes`, which are not empty.
    ///
    /// # Errors
    /// A [`Fault`] when there is none.
    // Inlined, it costs 6 ns a frame in `run`, else 9: `benches/walker.rs`.
    #[inline(always)]
    pub fn step(&mut self, bytes: &[u8], limits: Limits) -> Result<Step, Fault> {
        if self.remaining > 0 {
            return Ok(Step::Data(self.payload(bytes.len(), 0, false)));
        }
        let expected = Expected {
            masked: self.masked,
            rsv1: self.rsv1,
            in_message: self.message.is_some(),
        };
        let Some((header, len)) = Header::read(bytes, expected)? else {
            return Ok(Step::Incomplete);
        };
        let kind = match header.opcode {
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
            Opcode::Continuation => self.message.unwrap_or(Kind::Binary),
            Opcode::Close | Opcode::Ping | Opcode::Pong => return control(header, len, bytes),
        };
        let opens = self.message.is_none();
        self.enter(header, kind, limits)?;
        Ok(Step::Data(self.payload(bytes.len() - len, len, opens)))
    }

    /// Steps over the data frames that `bytes` begin with, counts what they carry, and says how far that went.
    pub(super) fn run(&mut self, bytes: &[u8], limits: Limits, carried: &mut Carried) -> usize {
        // A copy of its own lets the compiler keep the walker in registers.
        let (mut walker, mut counted) = (self.clone(), *carried);
        let mut rest = bytes;
        while !rest.is_empty()
            && let Ok(Step::Data(piece)) = walker.step(rest, limits)
        {
            counted.data(piece.payload, piece.ends);
            rest = &rest[piece.len..];
        }
        (*self, *carried) = (walker, counted);
        bytes.len() - rest.len()
    }

    /// Enters a data frame whose header has been read.
    #[inline(always)]
    fn enter(&mut self, header: Header, kind: Kind, limits: Limits) -> Result<(), Fault> {
        let frame = header.payload_len;
        let before = match self.message {
            Some(_) => self.message_len,
            None if limits.another => 0,
            None => return Err(Fault::TooMany),
        };
        let message = before.saturating_add(frame);
        if frame > limits.frame || message > limits.message {
            return Err(Fault::TooBig { frame, message });
        }
        self.remaining = frame;
        self.message_len = message;
        self.message = Some(kind);
        self.fin = header.fin;
        Ok(())
    }

    /// Counts what of the frame's payload is available.
    #[inline(always)]
    fn payload(&mut self, available: usize, header_len: usize, opens: bool) -> Piece {
        let left = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        if left > available {
            self.remaining -= available as u64;
            return Piece {
                len: header_len + available,
                payload: available,
                opens,
                ends: None,
            };
        }
        self.remaining = 0;
        let ends = if self.fin { self.message.take() } else { None };
        Piece {
            len: header_len + left,
            payload: left,
            opens,
            ends,
        }
    }
}

/// Judges a control frame once it is whole.
fn control(header: Header, header_len: usize, bytes: &[u8]) -> Result<Step, Fault> {
    let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
    let len = header_len.saturating_add(payload_len);
    let Some(payload) = bytes.get(header_len..len) else {
        return Ok(Step::Incomplete);
    };
    Ok(match header.opcode {
        Opcode::Close => Step::Close {
            len,
            code: read_close(payload, header.mask)?,
        },
        Opcode::Pong => Step::Pong {
            len,
            payload: read_nonce(payload, header.mask),
        },
        _ => Step::Ping { len },
    })
}

fn read_close(payload: &[u8], mask: Option<[u8; 4]>) -> Result<Option<CloseCode>, Violation> {
    let mut plain = [0; MAX_CONTROL_PAYLOAD];
    let plain = &mut plain[..payload.len()];
    plain.copy_from_slice(payload);
    apply_mask(plain, mask.unwrap_or_default());
    let Some((&code, reason)) = plain.split_first_chunk() else {
        return Ok(None);
    };
    let number = u16::from_be_bytes(code);
    let code = CloseCode::new(number).ok_or(Violation::BadCloseCode(number))?;
    std::str::from_utf8(reason).map_err(|_| Violation::BadCloseReason)?;
    Ok(Some(code))
}

fn read_nonce(payload: &[u8], mask: Option<[u8; 4]>) -> Option<[u8; 8]> {
    let mut plain = <[u8; 8]>::try_from(payload).ok()?;
    apply_mask(&mut plain, mask.unwrap_or_default());
    Some(plain)
}
