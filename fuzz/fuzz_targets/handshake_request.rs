//! Any bytes from a client: no panic, the same answer for every cut, and what goes on to a backend
//! is read there as the request that was checked here.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate::logic::request::head::head_end;
use tidegate::logic::request::{
    Client, Framing, Malformed, Outbound, Proof, Request, RequestHead, Scheme,
};
use tidegate::logic::websocket::handshake::Offer;

const MAX_BYTES: usize = 4096;
const MAX_FIELDS: usize = 64;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fuzz_target!(|bytes: &[u8]| {
    let end = head_end(bytes, 0, MAX_BYTES);
    assert_eq!(end.ok(), in_single_bytes(bytes).ok());
    if let Ok(Some(end)) = end
        && let Some(checked) = checked(&bytes[..end])
    {
        check_passage(&checked);
    }
});

fn in_single_bytes(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    for end in 1..=bytes.len() {
        if let Some(found) = head_end(&bytes[..end], end - 1, MAX_BYTES)? {
            return Ok(Some(found));
        }
    }
    if bytes.is_empty() {
        head_end(bytes, 0, MAX_BYTES)
    } else {
        Ok(None)
    }
}

fn checked(head: &[u8]) -> Option<Request> {
    let head = RequestHead::parse(Bytes::copy_from_slice(head), MAX_FIELDS).ok()?;
    Request::check(head).ok()
}

/// What a backend that reads as strictly as we do makes of what we send it.
fn check_passage(request: &Request) {
    let offer = request.is_websocket().then(|| Offer::check(request));
    let Ok(offer) = offer.transpose() else { return };
    let client = Client::of(request.head().fields(), PEER, Scheme::Https, &[]);
    let outbound = Outbound {
        request,
        client: &client,
        port: 443,
        offer: offer.as_ref(),
        path: request.path(),
        query: request.query(),
        proof: &Proof::NotAsked,
        user: None,
        set: &[],
        remove: &[],
    };
    let mut wire = Vec::new();
    outbound.write_to(&mut wire);
    assert_eq!(head_end(&wire, 0, usize::MAX), Ok(Some(wire.len())));
    let seen = checked_by_backend(&wire);
    assert_eq!(seen.method(), request.method());
    assert_eq!(
        (seen.path(), seen.query()),
        (request.path(), request.query())
    );
    assert_eq!(seen.host(), request.host());
    assert_eq!(seen.is_websocket(), request.is_websocket());
    let framing = if request.is_websocket() {
        Framing::None
    } else {
        request.framing()
    };
    assert_eq!(seen.framing(), framing);
    assert_eq!(
        seen.is_websocket()
            .then(|| Offer::check(&seen).expect("as offered")),
        offer
    );
}

fn checked_by_backend(wire: &[u8]) -> Request {
    // Ours come on top of the client's.
    let head = RequestHead::parse(Bytes::copy_from_slice(wire), MAX_FIELDS + 16);
    Request::check(head.expect("a head")).expect("a request")
}
