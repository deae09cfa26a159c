//! One pick out of so many servers, per algorithm: what every new connection pays.

use std::hint::black_box;
use std::num::NonZeroU16;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::logic::balance::{Candidate, Chooser, Kind, ServerView, SlowStart, server_id};

fn picks(c: &mut Criterion) {
    let mut group = c.benchmark_group("balance");
    for kind in [Kind::RoundRobin, Kind::LeastConn, Kind::IpHash] {
        for count in [2, 16, 256] {
            let servers = servers(count);
            let mut chooser = Chooser::new(kind);
            group.bench_function(BenchmarkId::new(format!("{kind:?}"), count), |b| {
                b.iter(|| chooser.choose(black_box(&servers).iter().copied(), &[192, 0, 2, 1]));
            });
        }
    }
    group.finish();
}

fn servers(count: u16) -> Vec<ServerView> {
    (1..=count)
        .map(|n| ServerView {
            candidate: Candidate {
                id: server_id(&format!("10.0.0.{n}:8080")),
                weight: NonZeroU16::MIN.saturating_add(n % 5),
                slow_start: SlowStart::FULL,
                load: u32::from(n),
            },
            backup: false,
            up: true,
            ejected: false,
            full: false,
            busy: false,
            tried: false,
        })
        .collect()
}

criterion_group!(benches, picks);
criterion_main!(benches);
