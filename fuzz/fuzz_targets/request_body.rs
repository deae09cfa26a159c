//! Any bytes from a client behind a head that announces a body: no panic, the same payload and trailers
//! in every cut, never more payload than came, and trailers that may pass and only those.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::logic::request::Framing;
use tidegate::logic::request::body::{Body, BodyFault, MAX_OVERHEAD_BYTES, Step};
use tidegate::logic::request::trailers;

fuzz_target!(|input: (u8, &[u8])| {
    let (length, bytes) = input;
    for framing in [Framing::Chunked, Framing::Length(length.into())] {
        let whole = followed(framing, bytes, bytes.len());
        for piece in [1, 2, 7] {
            let cut = followed(framing, bytes, piece);
            // Where it breaks, what went on before may differ in length, never in its verdict.
            assert_eq!(whole.as_ref().err(), cut.as_ref().err());
            assert!(whole.is_err() || whole == cut);
        }
        if let Ok(seen) = whole {
            check(&seen, bytes);
        }
    }
});

/// What came of a body.
#[derive(Debug, PartialEq)]
struct Seen {
    payload: Vec<u8>,
    section: Vec<u8>,
    complete: bool,
}

fn check(seen: &Seen, bytes: &[u8]) {
    assert!(seen.payload.len() <= bytes.len());
    assert!(seen.section.len() <= MAX_OVERHEAD_BYTES);
    if let (true, Ok(fields)) = (seen.complete, trailers::read(&seen.section)) {
        for field in fields.iter().filter(|field| trailers::may_pass(field.name)) {
            assert!(!field.is("content-length") && !field.is("transfer-encoding"));
            assert!(
                !field
                    .value
                    .iter()
                    .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
            );
        }
    }
}

/// Follows a body that comes in pieces of that size.
fn followed(framing: Framing, input: &[u8], piece: usize) -> Result<Seen, BodyFault> {
    let mut body = Body::decoded(framing);
    let (mut payload, mut section) = (Vec::new(), Vec::new());
    for chunk in input.chunks(piece.max(1)) {
        let mut rest = chunk;
        while !rest.is_empty() && !body.is_complete() {
            let used = match body.follow(rest)? {
                Step::Forward(count) => {
                    payload.extend_from_slice(&rest[..count]);
                    count
                }
                Step::Trailer(count) => {
                    section.extend_from_slice(&rest[..count]);
                    count
                }
                Step::Drop(count) => count,
            };
            assert!(used > 0, "no progress");
            rest = &rest[used..];
        }
    }
    assert_eq!(payload.len() as u64, body.payload_bytes());
    Ok(Seen {
        payload,
        section,
        complete: body.is_complete(),
    })
}
