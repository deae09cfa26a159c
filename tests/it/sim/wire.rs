//! What is on its way to a peer, followed by a reading of RFC 6455 that shares nothing with the proxy's.

use std::collections::VecDeque;

/// Everything written to one peer, and what of it the peer has not taken.
#[derive(Debug, Default)]
pub struct Wire {
    parked: VecDeque<u8>,
    /// What the session was last told of it.
    pub told: usize,
    pub scanner: Scanner,
    cut: bool,
}

/// Follows a stream of good frames byte by byte.
#[derive(Debug, Default)]
pub struct Scanner {
    head: Vec<u8>,
    remaining: u64,
    control: Vec<u8>,
    in_message: bool,
    text: bool,
    closed: bool,
    pub offset: usize,
    pub counts: Counts,
}

/// What a stream has carried, as the proxy should count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub text: u64,
    pub binary: u64,
    pub close: u64,
    pub ping: u64,
    pub pong: u64,
    pub payload_bytes: u64,
}

/// A control frame that a stream carried.
#[derive(Clone, Debug)]
pub struct Control {
    pub opcode: u8,
    pub payload: Vec<u8>,
    /// Where in the stream it ends.
    pub end: usize,
}

impl Wire {
    /// The relay passes on what a peer sent.
    pub fn forward(&mut self, bytes: &[u8]) {
        if !self.cut {
            self.parked.extend(bytes);
            self.scanner.scan(bytes);
        }
    }

    /// The relay writes a frame of the proxy's own, which counts for nobody.
    pub fn inject(&mut self, bytes: &[u8]) {
        let counts = self.scanner.counts;
        self.forward(bytes);
        self.scanner.counts = counts;
    }

    /// The peer takes what it can.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        self.parked.drain(..most.min(self.parked.len())).collect()
    }

    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    pub fn cut(&mut self) {
        self.cut = true;
        self.parked.clear();
    }

    pub const fn is_cut(&self) -> bool {
        self.cut
    }
}

impl Scanner {
    /// Follows more of the stream and says which control frames it completed.
    pub fn scan(&mut self, bytes: &[u8]) -> Vec<Control> {
        let mut controls = Vec::new();
        for &byte in bytes {
            assert!(!self.closed, "a byte behind a Close");
            self.offset += 1;
            if self.remaining > 0 {
                self.payload(byte);
            } else {
                self.head.push(byte);
                self.begin_payload();
            }
            if self.remaining == 0 && self.head_len() == Some(self.head.len()) {
                controls.extend(self.end_frame());
            }
        }
        controls
    }

    pub const fn on_border(&self) -> bool {
        self.head.is_empty()
    }

    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    pub const fn in_message(&self) -> bool {
        self.in_message
    }

    /// The length of the header under way, as soon as two bytes of it are known.
    fn head_len(&self) -> Option<usize> {
        let second = *self.head.get(1)?;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        Some(2 + extended + if second & 0x80 == 0 { 0 } else { 4 })
    }

    fn begin_payload(&mut self) {
        if self.head_len() != Some(self.head.len()) {
            return;
        }
        self.remaining = match self.head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => u64::from_be_bytes(self.head[2..10].try_into().unwrap()),
            short => u64::from(short),
        };
        match self.head[0] & 0x0f {
            opcode @ (1 | 2) => {
                assert!(!self.in_message, "a message inside a message");
                self.in_message = true;
                self.text = opcode == 1;
            }
            0 => assert!(self.in_message, "a continuation of nothing"),
            _ => {}
        }
    }

    fn payload(&mut self, byte: u8) {
        if self.head[0] & 0x08 == 0 {
            self.counts.payload_bytes += 1;
        } else {
            let key = if self.head[1] & 0x80 == 0 {
                0
            } else {
                self.head[2 + self.control.len() % 4]
            };
            self.control.push(byte ^ key);
        }
        self.remaining -= 1;
    }

    fn end_frame(&mut self) -> Option<Control> {
        let first = self.head[0];
        self.head.clear();
        let payload = std::mem::take(&mut self.control);
        match first & 0x0f {
            8 => {
                self.closed = true;
                self.counts.close += 1;
            }
            9 => self.counts.ping += 1,
            10 => self.counts.pong += 1,
            _ => {
                if first & 0x80 != 0 {
                    self.in_message = false;
                    self.counts.text += u64::from(self.text);
                    self.counts.binary += u64::from(!self.text);
                }
                return None;
            }
        }
        Some(Control {
            opcode: first & 0x0f,
            payload,
            end: self.offset,
        })
    }
}
