//! What counting costs: a session's figures about once a second, the end of a session, a scrape.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tidegate::telemetry::Metrics;
use tidegate::telemetry::expose::Format;
use tidegate::telemetry::traffic::{DIRECTIONS, KINDS};

const WORKERS: usize = 8;

/// What a session adds for its messages and bytes, in both directions.
fn traffic(c: &mut Criterion) {
    let metrics = Metrics::new(WORKERS).expect("good families");
    let stripes = metrics.traffic.route(&Arc::from("chat"));
    c.bench_function("traffic_of_a_session", |b| {
        b.iter(|| {
            for direction in 0..DIRECTIONS.len() {
                stripes[0].add_messages(direction, 1, black_box(17));
                stripes[0].add_bytes(direction, black_box(4096));
            }
        });
    });
}

/// The counters of a session that ends, those by reason and code looked up by their labels.
fn end_of_session(c: &mut Criterion) {
    let metrics = Metrics::new(WORKERS).expect("good families");
    let lives = metrics.session_duration.with_label_values(&["chat"]);
    c.bench_function("end_of_a_session", |b| {
        b.iter(|| {
            let reason = black_box(["chat", "rooms", "client_close"]);
            metrics.websockets_closed.with_label_values(&reason).inc();
            let code = black_box(["chat", "1000", "client"]);
            metrics.close_codes.with_label_values(&code).inc();
            lives.observe(black_box(42.0));
        });
    });
}

/// The whole exposition, with so many routes and servers.
fn scrape(c: &mut Criterion) {
    let mut group = c.benchmark_group("scrape");
    for routes in [1, 100, 1000] {
        let metrics = Metrics::new(WORKERS).expect("good families");
        for number in 0..routes {
            let name: Arc<str> = format!("route-{number}").into();
            for direction in 0..DIRECTIONS.len() {
                for kind in 0..KINDS.len() {
                    metrics.traffic.route(&name)[0].add_messages(direction, kind, 1);
                }
            }
            let server = format!("10.0.0.1:{number}");
            let up = metrics.server_up.with_label_values(&["chat", &server]);
            up.set(1);
        }
        for format in [Format::Prometheus, Format::OpenMetrics] {
            group.bench_function(BenchmarkId::new(format!("{format:?}"), routes), |b| {
                b.iter(|| metrics.scrape(black_box(format)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, traffic, end_of_session, scrape);
criterion_main!(benches);
