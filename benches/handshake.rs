//! What every new WebSocket pays before its tunnel, the network aside: the client's head is found,
//! parsed, checked and written to the backend, the backend's 101 verified and written to the client.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tidegate::logic::request::head::head_end;
use tidegate::logic::request::to_client::write_switching;
use tidegate::logic::request::{
    Client, Outbound, Proof, Request, RequestHead, ResponseHead, Scheme,
};
use tidegate::logic::websocket::handshake::{Offer, Strictness, verify};

/// What a browser sends.
const UPGRADE: &[u8] = b"GET /chat?room=1 HTTP/1.1\r\n\
    Host: ws.example.com\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0\r\n\
    Upgrade: websocket\r\n\
    Origin: https://app.example.com\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";

/// What a backend answers.
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
    Sec-WebSocket-Extensions: permessage-deflate\r\n\
    Date: Fri, 20 Nov 2026 07:00:00 GMT\r\n\
    Server: backend\r\n\r\n";

fn handshakes(c: &mut Criterion) {
    let mut group = c.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    group.bench_function("request", |b| b.iter(|| to_backend(black_box(UPGRADE))));
    let offer = Offer::check(&checked(UPGRADE)).expect("an offer");
    group.bench_function("response", |b| {
        b.iter(|| to_client(black_box(SWITCHING), &offer))
    });
    group.bench_function("head_end_in_single_bytes", |b| {
        b.iter(|| {
            for end in 1..=UPGRADE.len() {
                let _ = black_box(head_end(&UPGRADE[..end], end - 1, 16 * 1024));
            }
        });
    });
    group.finish();
}

fn checked(bytes: &'static [u8]) -> Request {
    let end = head_end(bytes, 0, 16 * 1024)
        .expect("good bytes")
        .expect("a whole head");
    let head = RequestHead::parse(Bytes::from_static(&bytes[..end]), 100).expect("a head");
    Request::check(head).expect("a request")
}

fn to_backend(bytes: &'static [u8]) -> Vec<u8> {
    let request = checked(bytes);
    let offer = Offer::check(&request).expect("an offer");
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let client = Client::of(request.head().fields(), peer, Scheme::Https, &[]);
    let mut wire = Vec::with_capacity(1024);
    Outbound {
        request: &request,
        client: &client,
        port: 443,
        offer: Some(&offer),
        path: request.path(),
        query: request.query(),
        proof: &Proof::NotAsked,
        user: None,
        set: &[],
        remove: &[],
    }
    .write_to(&mut wire);
    wire
}

fn to_client(bytes: &'static [u8], offer: &Offer) -> Vec<u8> {
    let head = ResponseHead::parse(Bytes::from_static(bytes), 100).expect("a head");
    let agreed = verify(&head, offer, Strictness::Strict).expect("a good answer");
    let mut wire = Vec::with_capacity(512);
    write_switching(&head, &agreed, &mut wire);
    wire
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
