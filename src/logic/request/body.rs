//! Follows a message's body through a stream, so that it can be passed on as it comes.
//! Never buffers: bytes go in, and out comes how many of them go on and how many stay behind.

use thiserror::Error;

use super::Framing;
use super::list::Quoting;

/// Where a message's body stands.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    decoding: bool,
    payload_bytes: u64,
    overhead_bytes: usize,
}

/// What happens to the next bytes of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many go on.
    Forward(usize),
    /// So many stay behind.
    Drop(usize),
    /// So many stay behind, lines of the trailer section.
    Trailer(usize),
}

/// How a body breaks its framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum BodyFault {
    #[error("the stream ended inside the body")]
    Cut,
    #[error("a chunk size is not a hexadecimal number")]
    ChunkSize,
    #[error("a chunk extension is malformed")]
    ChunkExtension,
    #[error("a chunk does not end where it says")]
    ChunkEnd,
    #[error("a trailer field is malformed")]
    Trailer,
    #[error("chunk extensions or trailers are larger than allowed")]
    TooLarge,
}

impl Body {
    /// A body that goes on in the framing it comes in, but for its trailer fields.
    pub const fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Complete,
            Framing::Length(left) => State::Length { left },
            Framing::Chunked => State::Chunked(Chunked::Size { digits: 0, size: 0 }),
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            decoding: false,
            payload_bytes: 0,
            overhead_bytes: 0,
        }
    }

    /// A body whose payload alone goes on, to be framed anew.
    pub const fn decoded(framing: Framing) -> Self {
        Self {
            decoding: true,
            ..Self::new(framing)
        }
    }

    /// Takes bytes off the start of `input`. To be called while the body is not complete and there
    /// is input left; what follows a complete body belongs to the next message.
    ///
    /// # Errors
    /// The first break of the framing; nothing may be said about the stream after it.
    pub fn follow(&mut self, input: &[u8]) -> Result<Step, BodyFault> {
        let fate = input.first().map_or(Fate::Drop, |&byte| self.fate(byte));
        let mut taken = 0;
        while let Some(&next) = input.get(taken)
            && !self.is_complete()
            && self.fate(next) == fate
        {
            taken += self.advance(&input[taken..], next)?;
        }
        Ok(match fate {
            Fate::Forward => Step::Forward(taken),
            Fate::Drop => Step::Drop(taken),
            Fate::Trailer => Step::Trailer(taken),
        })
    }

    /// Whether the whole body has been seen; where the end of the stream delimits it, after that.
    pub const fn is_complete(&self) -> bool {
        matches!(self.state, State::Complete)
    }

    /// The stream ended.
    ///
    /// # Errors
    /// [`BodyFault::Cut`] when the body needed more.
    pub const fn end_of_stream(&mut self) -> Result<(), BodyFault> {
        match self.state {
            State::UntilClose | State::Complete => {
                self.state = State::Complete;
                Ok(())
            }
            State::Length { .. } | State::Chunked(_) => Err(BodyFault::Cut),
        }
    }

    /// Bytes of payload so far: what `max_body` counts.
    pub const fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }
}

/// Most bytes of chunk extensions and trailers in one body; nobody needs them.
pub const MAX_OVERHEAD_BYTES: usize = 16 * 1024;

/// Digits of a chunk size that fit 64 bits.
const MAX_SIZE_DIGITS: u8 = 16;

/// What becomes of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Forward,
    Drop,
    Trailer,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Length { left: u64 },
    UntilClose,
    Chunked(Chunked),
    Complete,
}

/// RFC 9112 section 7.1, byte by byte but for the payload.
#[derive(Clone, Copy, Debug)]
enum Chunked {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        quoting: Quoting,
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a line behind the last chunk.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
}

impl Body {
    /// What happens to the next byte of a body in this state.
    const fn fate(&self, next: u8) -> Fate {
        match self.state {
            State::Length { .. } | State::UntilClose | State::Chunked(Chunked::Data { .. }) => {
                Fate::Forward
            }
            State::Chunked(Chunked::Trailer | Chunked::TrailerLf) => Fate::Trailer,
            State::Chunked(Chunked::TrailerStart) if next != b'\r' => Fate::Trailer,
            State::Chunked(_) if self.decoding => Fate::Drop,
            State::Chunked(_) | State::Complete => Fate::Forward,
        }
    }

    /// Takes at least one byte of `input`, which begins with `next`; says how many.
    fn advance(&mut self, input: &[u8], next: u8) -> Result<usize, BodyFault> {
        match self.state {
            State::Complete => Ok(0),
            State::UntilClose => Ok(self.count(input.len())),
            State::Length { left } => {
                let (taken, left) = take(input, left);
                self.state = if left == 0 {
                    State::Complete
                } else {
                    State::Length { left }
                };
                Ok(self.count(taken))
            }
            State::Chunked(Chunked::Data { left }) => {
                let (taken, left) = take(input, left);
                let next = if left == 0 {
                    Chunked::DataCr
                } else {
                    Chunked::Data { left }
                };
                self.state = State::Chunked(next);
                Ok(self.count(taken))
            }
            State::Chunked(state) => {
                self.charge(state)?;
                self.state = state.after(next)?.map_or(State::Complete, State::Chunked);
                Ok(1)
            }
        }
    }

    fn count(&mut self, payload: usize) -> usize {
        self.payload_bytes = self
            .payload_bytes
            .saturating_add(payload.try_into().unwrap_or(u64::MAX));
        payload
    }

    fn charge(&mut self, state: Chunked) -> Result<(), BodyFault> {
        if matches!(
            state,
            Chunked::Extension { .. } | Chunked::Trailer | Chunked::TrailerStart
        ) {
            self.overhead_bytes += 1;
        }
        if self.overhead_bytes > MAX_OVERHEAD_BYTES {
            Err(BodyFault::TooLarge)
        } else {
            Ok(())
        }
    }
}

impl Chunked {
    /// The state behind one byte of framing; `None` is the end of the body.
    fn after(self, byte: u8) -> Result<Option<Self>, BodyFault> {
        let next = match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeLf { size },
            (Self::Size { digits: 1.., size }, b';') => Self::Extension {
                quoting: Quoting::default(),
                size,
            },
            (Self::Size { digits, size }, byte) => with_digit(digits, size, byte)?,
            (Self::Extension { quoting, size }, b'\r') if !quoting.is_open() => {
                Self::SizeLf { size }
            }
            (Self::Extension { mut quoting, size }, b'\t' | b' '..=b'~') => {
                quoting.covers(byte);
                Self::Extension { quoting, size }
            }
            (Self::Extension { .. }, _) => return Err(BodyFault::ChunkExtension),
            (Self::SizeLf { size: 0 }, b'\n') | (Self::TrailerLf, b'\n') => Self::TrailerStart,
            (Self::SizeLf { size: left }, b'\n') => Self::Data { left },
            (Self::SizeLf { .. }, _) => return Err(BodyFault::ChunkSize),
            (Self::DataCr, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => Self::Size { digits: 0, size: 0 },
            (Self::Data { .. } | Self::DataCr | Self::DataLf, _) => {
                return Err(BodyFault::ChunkEnd);
            }
            (Self::TrailerStart, b'\r') => Self::EndLf,
            (Self::Trailer, b'\r') => Self::TrailerLf,
            (Self::TrailerStart | Self::Trailer, b'\t' | b' '..=b'~' | 0x80..) => Self::Trailer,
            (Self::EndLf, b'\n') => return Ok(None),
            (Self::TrailerStart | Self::Trailer | Self::TrailerLf | Self::EndLf, _) => {
                return Err(BodyFault::Trailer);
            }
        };
        Ok(Some(next))
    }
}

fn with_digit(digits: u8, size: u64, byte: u8) -> Result<Chunked, BodyFault> {
    let digit = char::from(byte).to_digit(16).ok_or(BodyFault::ChunkSize)?;
    // A size beyond a signed 64-bit number is an attack on somebody's.
    let fits = digits < MAX_SIZE_DIGITS && size < 1 << 59;
    if !fits {
        return Err(BodyFault::ChunkSize);
    }
    Ok(Chunked::Size {
        digits: digits + 1,
        size: size * 16 + u64::from(digit),
    })
}

/// How much of `input` lies within `left` bytes, and how many are left then.
fn take(input: &[u8], left: u64) -> (usize, u64) {
    let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
    let taken_bytes = u64::try_from(taken).unwrap_or(left);
    (taken, left.saturating_sub(taken_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `input` in pieces of `piece` bytes: what went on, and how many bytes were taken.
    fn run(
        mut body: Body,
        input: &[u8],
        piece: usize,
    ) -> Result<(Vec<u8>, usize, Body), BodyFault> {
        let (mut out, mut taken) = (Vec::new(), 0);
        for chunk in input.chunks(piece.max(1)) {
            let mut rest = chunk;
            while !rest.is_empty() && !body.is_complete() {
                let used = match body.follow(rest)? {
                    Step::Forward(n) => {
                        out.extend_from_slice(&rest[..n]);
                        n
                    }
                    Step::Drop(n) | Step::Trailer(n) => n,
                };
                assert!(used > 0, "no progress");
                rest = &rest[used..];
                taken += used;
            }
        }
        Ok((out, taken, body))
    }

    fn forwarded(body: &Body, input: &[u8]) -> Result<Vec<u8>, BodyFault> {
        let whole = run(body.clone(), input, input.len());
        let single = run(body.clone(), input, 1);
        let facts = |run: &Result<(Vec<u8>, usize, Body), BodyFault>| {
            run.as_ref()
                .map(|(out, taken, body)| {
                    (
                        out.clone(),
                        *taken,
                        body.is_complete(),
                        body.payload_bytes(),
                    )
                })
                .map_err(|fault| *fault)
        };
        assert_eq!(facts(&whole), facts(&single), "a split changed the result");
        whole.map(|(out, ..)| out)
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        let (out, taken, body) = run(Body::new(Framing::Length(5)), b"helloGET /", 3).unwrap();
        assert_eq!(
            (&*out, taken, body.is_complete(), body.payload_bytes()),
            (&b"hello"[..], 5, true, 5)
        );
        assert!(Body::new(Framing::Length(0)).is_complete());
        assert!(Body::new(Framing::None).is_complete());
    }

    #[test]
    fn a_chunked_body_goes_on_as_it_is_but_for_its_trailers() {
        let rows: [(&[u8], &[u8]); 6] = [
            (b"0\r\n\r\nX", b"0\r\n\r\n"),
            (b"5\r\nhello\r\n0\r\n\r\nX", b"5\r\nhello\r\n0\r\n\r\n"),
            (
                b"00A;x=\"a;\\\"b\"\r\n0123456789\r\n000\r\n\r\n",
                b"00A;x=\"a;\\\"b\"\r\n0123456789\r\n000\r\n\r\n",
            ),
            (
                b"1\r\na\r\n0\r\nContent-Length: 5\r\nHost: evil\r\n\r\n",
                b"1\r\na\r\n0\r\n\r\n",
            ),
            (b"1;\r\na\r\n0;last\r\n\r\n", b"1;\r\na\r\n0;last\r\n\r\n"),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"2\r\n\r\n\r\n0\r\n\r\n"),
        ];
        for (input, expected) in rows {
            let out = forwarded(&Body::new(Framing::Chunked), input);
            assert_eq!(out.as_deref(), Ok(expected), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_decoded_body_is_its_payload() {
        let input = b"5;x\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n";
        assert_eq!(
            forwarded(&Body::decoded(Framing::Chunked), input).as_deref(),
            Ok(&b"hello!"[..])
        );
    }

    #[test]
    fn chunks_that_two_parsers_could_read_differently_are_refused() {
        use BodyFault as F;
        let rows: [(&[u8], F); 22] = [
            (b"5\n", F::ChunkSize),
            (b"\r\n", F::ChunkSize),
            (b" 5\r\n", F::ChunkSize),
            (b"5 \r\n", F::ChunkSize),
            (b"+5\r\n", F::ChunkSize),
            (b"-1\r\n", F::ChunkSize),
            (b"0x5\r\n", F::ChunkSize),
            (b"5\rX", F::ChunkSize),
            (b"fffffffffffffffff\r\n", F::ChunkSize),
            (b"8000000000000000\r\n", F::ChunkSize),
            (b"00000000000000005\r\n", F::ChunkSize),
            (b"5;\nhello", F::ChunkExtension),
            (b"5;a=\"\r\n\"\r\nhello", F::ChunkExtension),
            (b"5;a\0b\r\n", F::ChunkExtension),
            (b"5;a\rb\r\n", F::ChunkSize),
            (b"5\r\nhelloXX\r\n", F::ChunkEnd),
            (b"5\r\nhello\n0\r\n", F::ChunkEnd),
            (b"5\r\nhello0\r\n\r\n", F::ChunkEnd),
            (b"0\r\n\n", F::Trailer),
            (b"0\r\nA: b\n\r\n", F::Trailer),
            (b"0\r\nA: b\0\r\n\r\n", F::Trailer),
            (b"0\r\n\rX", F::Trailer),
        ];
        for (input, expected) in rows {
            let out = forwarded(&Body::new(Framing::Chunked), input);
            assert_eq!(out, Err(expected), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn extensions_and_trailers_have_a_limit() {
        let extension = [
            b"1;",
            "x".repeat(MAX_OVERHEAD_BYTES + 1).as_bytes(),
            b"\r\na\r\n",
        ]
        .concat();
        let tiny_chunks = b"1;ab\r\nx\r\n".repeat(MAX_OVERHEAD_BYTES);
        let trailers = [b"0\r\n".as_slice(), &b"A: b\r\n".repeat(10_000)].concat();
        for input in [extension, tiny_chunks, trailers] {
            let result = run(Body::new(Framing::Chunked), &input, 4096);
            assert_eq!(result.map(|(out, ..)| out), Err(BodyFault::TooLarge));
        }
    }

    #[test]
    fn the_end_of_the_stream_ends_only_what_it_delimits() {
        let mut until_close = Body::new(Framing::UntilClose);
        assert_eq!(until_close.follow(b"abc"), Ok(Step::Forward(3)));
        assert_eq!(until_close.end_of_stream(), Ok(()));
        assert!(until_close.is_complete());
        assert_eq!(
            Body::new(Framing::Length(1)).end_of_stream(),
            Err(BodyFault::Cut)
        );
        assert_eq!(
            Body::new(Framing::Chunked).end_of_stream(),
            Err(BodyFault::Cut)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_split_give_the_same_result(
            input in prop::collection::vec(prop_oneof![
                5 => prop::sample::select(b"0123af;\"\r\n\\ :".to_vec()),
                1 => any::<u8>(),
            ], 0..60),
        ) {
            let _ = forwarded(&Body::new(Framing::Chunked), &input);
            let _ = forwarded(&Body::decoded(Framing::Chunked), &input);
        }

        #[test]
        fn a_good_chunked_body_is_read_to_its_end(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
            piece in 1usize..20,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let next = [&*wire, b"GET"].concat();
            let (out, taken, body) = run(Body::new(Framing::Chunked), &next, piece).unwrap();
            prop_assert!(body.is_complete());
            prop_assert_eq!((&out, taken), (&wire, wire.len()));
            let (out, ..) = run(Body::decoded(Framing::Chunked), &next, piece).unwrap();
            prop_assert_eq!(out, chunks.concat());
        }
    }
}
