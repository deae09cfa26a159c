//! What following frames costs per byte: many small frames in one chunk, one large frame over many chunks,
//! by the walker alone and through a whole session.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::logic::websocket::frame::{Header, Opcode};
use tidegate::logic::websocket::walker::{Limits, Step, Walker};
use tidegate::logic::websocket::{Extensions, OnExcess, Session, Settings, Side};

const CHUNK_BYTES: usize = 64 << 10;

fn small_frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("small_frames_in_64KiB");
    for payload_len in [2, 16, 128, 1024] {
        let chunk = frame(payload_len).repeat(CHUNK_BYTES / frame(payload_len).len());
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        group.bench_function(BenchmarkId::new("walker", payload_len), |b| {
            let mut walker = Walker::new(true, false);
            b.iter(|| walk(&mut walker, black_box(&chunk)));
        });
        group.bench_function(BenchmarkId::new("session", payload_len), |b| {
            let (mut session, now) = session();
            let mut chunk = chunk.clone();
            b.iter(|| session.receive(Side::Client, black_box(&mut chunk), now));
        });
    }
    group.finish();
}

fn large_frame(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame_of_1MiB_in_64KiB_chunks");
    let stream = frame(1 << 20);
    group.throughput(Throughput::Bytes(stream.len() as u64));
    group.bench_function("walker", |b| {
        let mut walker = Walker::new(true, false);
        b.iter(|| {
            stream
                .chunks(CHUNK_BYTES)
                .for_each(|chunk| walk(&mut walker, black_box(chunk)))
        });
    });
    group.bench_function("session", |b| {
        let (mut session, now) = session();
        let mut stream = stream.clone();
        b.iter(|| {
            for chunk in stream.chunks_mut(CHUNK_BYTES) {
                black_box(session.receive(Side::Client, chunk, now));
            }
        });
    });
    group.finish();
}

fn walk(walker: &mut Walker, mut rest: &[u8]) {
    while !rest.is_empty() {
        match walker.step(rest, Limits::NONE) {
            Ok(Step::Data(piece)) => rest = &rest[piece.len..],
            other => unreachable!("{other:?}"),
        }
    }
}

/// A client's frame with an empty payload of this length.
fn frame(payload_len: usize) -> Vec<u8> {
    let header = Header {
        fin: true,
        rsv1: false,
        opcode: Opcode::Binary,
        mask: Some([1, 2, 3, 4]),
        payload_len: payload_len as u64,
    };
    let mut bytes = [0; Header::MAX_LEN];
    let len = header.write(&mut bytes);
    [&bytes[..len], &vec![0; payload_len]].concat()
}

/// A session with the timers that are on by default.
fn session() -> (Session, Instant) {
    let now = Instant::now();
    let settings = Settings {
        idle_timeout: Some(Duration::from_secs(3600)),
        max_lifetime: None,
        ping_interval: Some(Duration::from_secs(30)),
        ping_timeout: Duration::from_secs(15),
        ping_backend: false,
        max_frame_bytes: 16 << 20,
        max_message_bytes: 16 << 20,
        client_messages: None,
        client_bytes: None,
        on_excess: OnExcess::Close,
    };
    (
        Session::new(Arc::new(settings), Extensions::default(), now, 1),
        now,
    )
}

criterion_group!(benches, small_frames, large_frame);
criterion_main!(benches);
