//! Anything that a client says of itself: no panic, a stranger's word changes nothing, a trusted
//! proxy's yields an address that it named or its own, and an origin passes by its own rule alone.
//! The first line is a rule for origins, the rest the fields of a request.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tidegate::logic::request::{Client, OriginRule, Request, RequestHead, Scheme, origin};

const MAX_FIELDS: usize = 64;
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

fuzz_target!(|bytes: &[u8]| {
    let Some(at) = bytes.iter().position(|&byte| byte == b'\n') else {
        return;
    };
    let (rule, fields) = (&bytes[..at], &bytes[at + 1..]);
    let head = [b"GET / HTTP/1.1\r\nHost: a.example\r\n", fields, b"\r\n\r\n"].concat();
    let Ok(head) = RequestHead::parse(Bytes::from(head), MAX_FIELDS) else {
        return;
    };
    let Ok(request) = Request::check(head) else { return };
    check_client(&request);
    let rule = str::from_utf8(rule).map(OriginRule::parse);
    if let Ok(Ok(rule)) = rule {
        check_origin(&request, rule);
    }
});

fn check_client(request: &Request) {
    let fields = request.head().fields();
    let stranger = Client::of(fields, PEER, Scheme::Https, &[]);
    assert_eq!((stranger.address, stranger.vouched), (PEER, false));
    assert_eq!(stranger.scheme, Scheme::Https);
    let trusted = ["10.0.0.0/8".parse().expect("a network")];
    let vouched = Client::of(fields, PEER, Scheme::Https, &trusted);
    assert!(vouched.vouched);
    let named = fields.values("x-forwarded-for").count() > 0;
    assert!(named || vouched.address == PEER);
    assert_eq!(vouched.address, vouched.address.to_canonical());
}

fn check_origin(request: &Request, rule: OriginRule) {
    assert!(origin::admits(&[], request, Scheme::Https));
    let rules = [rule];
    if origin::admits(&rules, request, Scheme::Https) {
        let origins = request.head().fields().values("origin").count();
        assert_eq!(origins, usize::from(rules[0] != OriginRule::Absent));
    }
}
