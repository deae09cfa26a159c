//! Which route takes a request, among one and among many: what every request pays.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::logic::route::{HostPattern, PathPattern, Table};

/// A tenant of its own for each route, by name or by everything below a name.
fn hosts(c: &mut Criterion) {
    for (kind, pattern, asked) in [("exact", "", ""), ("suffix", "*.", "ws.eu.")] {
        let mut group = c.benchmark_group(format!("route_by_{kind}_host"));
        for count in [1, 100, 100_000] {
            let mut table = Table::default();
            for index in 0..count {
                let host = HostPattern::parse(&format!("{pattern}tenant-{index}.example.com"));
                table.add(index, &[host.expect("a host")], &path("/chat"));
            }
            let host = format!("{asked}tenant-{}.example.com", count - 1);
            assert_eq!(table.find(&host, "/chat/room/1"), Some(count - 1));
            group.bench_function(BenchmarkId::from_parameter(count), |b| {
                b.iter(|| table.find(black_box(&host), black_box("/chat/room/1")));
            });
        }
        group.finish();
    }
}

/// One host, a path for each route, asked for some segments below.
fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("route_by_path");
    for count in [1, 100, 100_000] {
        let mut table = Table::default();
        for index in 0..count {
            table.add(index, &[], &path(&format!("/api/service-{index}")));
        }
        let asked = format!("/api/service-{}/v1/rooms/1/messages", count - 1);
        assert_eq!(table.find("example.com", &asked), Some(count - 1));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| table.find(black_box("example.com"), black_box(&asked)));
        });
    }
    group.finish();
}

/// Slashes for as long as a request may have them: no target may cost much more than its bytes.
fn hostile(c: &mut Criterion) {
    let mut table = Table::default();
    table.add(0, &[], &path("/chat"));
    let slashes = "/".repeat(8 * 1024);
    c.bench_function("route_of_8_KiB_of_slashes", |b| {
        b.iter(|| table.find(black_box("example.com"), black_box(&slashes)));
    });
}

fn path(text: &str) -> PathPattern {
    PathPattern::parse(text).expect("a path")
}

criterion_group!(benches, hosts, paths, hostile);
criterion_main!(benches);
