//! Any bytes from a backend: no panic, a 101 that is passed on is verified by the client too, and a
//! body is followed alike in every cut.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate::logic::request::body::{Body, BodyFault, Step};
use tidegate::logic::request::head::head_end;
use tidegate::logic::request::to_client::{write_response, write_switching};
use tidegate::logic::request::{Framing, Request, RequestHead, ResponseHead};
use tidegate::logic::websocket::handshake::{Offer, Strictness, verify};

const UPGRADE: &[u8] =
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-own\r\n\r\n";

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(end)) = head_end(bytes, 0, 4096) else {
        return;
    };
    let (head, rest) = bytes.split_at(end);
    let Some(head) = parsed(head) else { return };
    check_switching(&head);
    if let Ok(framing) = Framing::of_response(&head, "GET") {
        let mut wire = Vec::new();
        write_response(&head, framing, false, &mut wire);
        let seen = parsed(&wire).expect("a head");
        assert_eq!(Framing::of_response(&seen, "GET"), Ok(framing));
        assert_eq!(
            followed(framing, rest, rest.len()).ok(),
            followed(framing, rest, 1).ok()
        );
    }
});

/// As many fields as 4096 bytes can hold, and ours.
const MAX_FIELDS: usize = 2048;

fn parsed(head: &[u8]) -> Option<ResponseHead> {
    ResponseHead::parse(Bytes::copy_from_slice(head), MAX_FIELDS).ok()
}

fn check_switching(head: &ResponseHead) {
    let request = RequestHead::parse(Bytes::from_static(UPGRADE), 64).expect("a head");
    let offer = Offer::check(&Request::check(request).expect("a request")).expect("an offer");
    let strict = verify(head, &offer, Strictness::Strict);
    let lax = verify(head, &offer, Strictness::Lax);
    assert!(strict.is_err() || strict == lax);
    if let Ok(agreed) = strict {
        let mut wire = Vec::new();
        write_switching(head, &agreed, &mut wire);
        let seen = parsed(&wire).expect("a head");
        assert_eq!(verify(&seen, &offer, Strictness::Strict), Ok(agreed));
    }
}

/// What of a body goes on when it comes in pieces of that size, and whether that was all of it.
fn followed(framing: Framing, input: &[u8], piece: usize) -> Result<(Vec<u8>, bool), BodyFault> {
    let (mut body, mut out) = (Body::new(framing), Vec::new());
    for chunk in input.chunks(piece.max(1)) {
        let mut rest = chunk;
        while !rest.is_empty() && !body.is_complete() {
            let used = match body.follow(rest)? {
                Step::Forward(count) => {
                    out.extend_from_slice(&rest[..count]);
                    count
                }
                Step::Drop(count) | Step::Trailer(count) => count,
            };
            assert!(used > 0, "no progress");
            rest = &rest[used..];
        }
    }
    Ok((out, body.is_complete()))
}
