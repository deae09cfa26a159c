//! Any bytes from a peer, in any reads: no panic, and the same story for every cut.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tidegate::logic::websocket::walker::{Fault, Limits, Step, Walker};

fuzz_target!(|stream: Stream| {
    assert_eq!(walk(&stream, &stream.reads), walk(&stream, &[]));
});

/// What one side sends, and how it arrives.
#[derive(Debug)]
struct Stream {
    masked: bool,
    rsv1: bool,
    limits: Limits,
    reads: Vec<usize>,
    bytes: Vec<u8>,
}

/// What a stream says, whatever reads it came in.
#[derive(Debug, Default, PartialEq)]
struct Story {
    /// How far the stream could be followed.
    followed: usize,
    payload: usize,
    steps: Vec<Step>,
    fault: Option<Fault>,
}

fn walk(stream: &Stream, reads: &[usize]) -> Story {
    let mut walker = Walker::new(stream.masked, stream.rsv1);
    let mut story = Story::default();
    let mut arrived = 0;
    for read in reads.iter().copied().chain([stream.bytes.len()]) {
        arrived = (arrived + read).min(stream.bytes.len());
        while story.followed < arrived {
            let (len, told) = match walker
                .step(&stream.bytes[story.followed..arrived], stream.limits)
            {
                Ok(Step::Incomplete) => break,
                Ok(Step::Data(piece)) => {
                    assert!(piece.payload <= piece.len);
                    story.payload += piece.payload;
                    (piece.len, None)
                }
                Ok(
                    step @ (Step::Close { len, .. } | Step::Ping { len } | Step::Pong { len, .. }),
                ) => (len, Some(step)),
                Err(fault) => {
                    story.fault = Some(fault);
                    return story;
                }
            };
            assert!(len > 0 && story.followed + len <= arrived);
            story.followed += len;
            story.steps.extend(told);
        }
    }
    story
}

impl<'a> Arbitrary<'a> for Stream {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            masked: u.arbitrary()?,
            rsv1: u.arbitrary()?,
            limits: Limits {
                frame: u.int_in_range(0..=70_000)?,
                message: u.int_in_range(0..=70_000)?,
                another: true,
            },
            reads: u.arbitrary::<[u8; 16]>()?.map(usize::from).to_vec(),
            bytes: u.bytes(u.len())?.to_vec(),
        })
    }
}
