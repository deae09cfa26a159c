//! The walker against itself, cut differently, and against tungstenite.

use std::io::{self, Cursor, Read, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use super::*;
use crate::logic::websocket::frame::Violation;
use crate::logic::websocket::walker::{Fault, Kind, Limits, Step, Walker};

/// What a stream says, whatever reads it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Story {
    told: Vec<Told>,
    /// How far the stream could be followed.
    followed: usize,
    verdict: Option<Verdict>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Message(Kind, usize),
    Ping,
    Pong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Closed(Option<u16>),
    Violation,
    TooBig,
}

/// Walks over a stream in reads of these sizes, and then in one.
fn walk(stream: &[u8], reads: &[usize], masked: bool, limits: Limits) -> Story {
    let mut walker = Walker::new(masked, false);
    let mut story = Story::default();
    let (mut arrived, mut message) = (0, 0);
    for read in reads.iter().copied().chain([stream.len()]) {
        arrived = (arrived + read).min(stream.len());
        while story.followed < arrived {
            let (len, told) = match walker.step(&stream[story.followed..arrived], limits) {
                Ok(Step::Incomplete) => break,
                Ok(Step::Data(piece)) => {
                    message += piece.payload;
                    let told = piece
                        .ends
                        .map(|kind| Told::Message(kind, std::mem::take(&mut message)));
                    (piece.len, told)
                }
                Ok(Step::Ping { len }) => (len, Some(Told::Ping)),
                Ok(Step::Pong { len, .. }) => (len, Some(Told::Pong)),
                Ok(Step::Close { code, .. }) => {
                    story.verdict = Some(Verdict::Closed(code.map(|code| code.get())));
                    return story;
                }
                Err(fault) => {
                    let too_big = matches!(fault, Fault::TooBig { .. });
                    story.verdict = Some(if too_big {
                        Verdict::TooBig
                    } else {
                        Verdict::Violation
                    });
                    return story;
                }
            };
            story.followed += len;
            story.told.extend(told);
        }
    }
    story
}

/// Reads a stream as tungstenite does.
fn read_foreign(stream: &[u8], role: Role) -> Story {
    let mut socket = WebSocket::from_raw_socket(OneWay(Cursor::new(stream)), role, None);
    let mut story = Story::default();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => story.told.push(Told::Message(Kind::Text, text.len())),
            Ok(Message::Binary(bytes)) => story.told.push(Told::Message(Kind::Binary, bytes.len())),
            Ok(Message::Ping(_)) => story.told.push(Told::Ping),
            Ok(Message::Pong(_)) => story.told.push(Told::Pong),
            // What it makes of a code that may not be sent.
            Ok(Message::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                story.verdict = Some(Verdict::Violation);
            }
            Ok(Message::Close(close)) => {
                story.verdict = Some(Verdict::Closed(close.map(|close| close.code.into())));
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => {}
            Err(Error::Protocol(_) | Error::Utf8(_)) => story.verdict = Some(Verdict::Violation),
            Err(error) => panic!("{error}"),
        }
        if story.verdict.is_some() || !socket.can_read() {
            return story;
        }
    }
}

/// A socket whose peer listens to nothing.
struct OneWay<'a>(Cursor<&'a [u8]>);

impl Read for OneWay<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.read(to)
    }
}

impl Write for OneWay<'_> {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame with a first byte and a mask bit that may be wrong.
fn any_frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let side = if masked { Client } else { Backend };
    // Control frames apart, text that is UTF-8: the walker reads none of it and tungstenite all.
    let plain = if first & 0x08 == 0 { 0x7f } else { 0xff };
    let payload: Vec<u8> = payload.iter().map(|byte| byte & plain).collect();
    let mut bytes = frame(side, true, Opcode::Text, &payload);
    bytes[0] = first;
    bytes
}

/// Frames of which most stand where they may.
fn frames() -> impl Strategy<Value = Vec<(u8, bool, Vec<u8>)>> {
    let first = prop_oneof![
        10 => prop::sample::select(vec![0x01, 0x81, 0x02, 0x82, 0x00, 0x80, 0x89, 0x8a]),
        1 => prop::sample::select(vec![0x88, 0x08, 0x09, 0xc1, 0x83, 0x8b]),
        1 => any::<u8>(),
    ];
    // Not 1014, which tungstenite does not know.
    let code = prop::sample::select(vec![1000_u16, 1001, 1005, 1013, 1015, 2999, 3000, 5000]);
    let payload = prop_oneof![
        30 => vec(b'a'..=b'z', 0..20),
        4 => vec(b'a'..=b'z', 120..132),
        1 => vec(b'a'..=b'z', 65_530..65_540),
        8 => (code, vec(b'a'..=b'z', 0..8)).prop_map(|(code, text)| [&code.to_be_bytes()[..], &text].concat()),
    ];
    vec((first, prop::bool::weighted(0.99), payload), 0..20)
}

fn stream_of(frames: &[(u8, bool, Vec<u8>)], role: Role) -> Vec<u8> {
    let masked = |right: bool| right == (role == Role::Server);
    frames
        .iter()
        .flat_map(|(first, right, payload)| any_frame(*first, masked(*right), payload))
        .collect()
}

#[test]
fn a_message_of_a_million_frames_is_walked_without_counting_a_byte_twice() {
    let fragment = frame(Backend, false, Opcode::Continuation, b"x");
    let chunk = fragment.repeat(10_000);
    let mut walker = Walker::new(false, false);
    let limits = Limits {
        message: 1_000_001,
        ..Limits::NONE
    };
    let begin = frame(Backend, false, Opcode::Text, b"x");
    assert!(walker.step(&begin, limits).is_ok());
    let mut walked = 0;
    for _ in 0..100 {
        let mut rest = &chunk[..];
        while let Ok(Step::Data(piece)) = walker.step(rest, limits) {
            walked += piece.payload;
            rest = &rest[piece.len..];
            if rest.is_empty() {
                break;
            }
        }
    }
    assert_eq!(walked, 1_000_000);
    assert!(matches!(
        walker.step(&fragment, limits),
        Err(Fault::TooBig {
            message: 1_000_002,
            ..
        })
    ));
    assert_eq!(
        walker.step(&[0x81, 0], limits),
        Err(Fault::Violation(Violation::InterleavedMessage))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn any_split_of_any_bytes_tells_the_same(
        stream in vec(any::<u8>(), 0..200), reads in vec(0..9_usize, 0..60), masked: bool, frame in 0..100_u64,
    ) {
        let limits = Limits { frame, message: frame * 2, another: true };
        prop_assert_eq!(walk(&stream, &reads, masked, limits), walk(&stream, &[], masked, limits));
    }

    #[test]
    fn any_split_of_nearly_good_frames_tells_the_same(frames in frames(), reads in vec(0..40_usize, 0..60)) {
        let stream = stream_of(&frames, Role::Server);
        let limits = Limits { frame: 1 << 16, message: 1 << 17, another: true };
        prop_assert_eq!(walk(&stream, &reads, true, limits), walk(&stream, &[], true, limits));
    }

    #[test]
    fn tungstenite_tells_the_same(frames in frames(), server: bool) {
        let role = if server { Role::Server } else { Role::Client };
        let stream = stream_of(&frames, role);
        let foreign = read_foreign(&stream, role);
        let ours = walk(&stream, &[], server, Limits::NONE);
        prop_assert_eq!((ours.told, ours.verdict), (foreign.told, foreign.verdict));
    }
}
