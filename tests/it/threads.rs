//! Which worker gets a connection (DESIGN section 2).

use crate::support::swarm::Swarm;
use crate::support::{Echo, Setup, Tidegate};

fn with_workers(echo: &Echo, workers: usize) -> Tidegate {
    let setup = Setup::to(&[echo])
        .with("server", &format!("workers = {workers}"))
        .with("log", "level = \"info\"");
    Tidegate::start(&setup)
}

fn shares(proxy: &Tidegate, workers: usize) -> Vec<f64> {
    let metrics = proxy.metrics();
    (0..workers)
        .map(|worker| {
            metrics.sum(
                "tidegate_worker_connections",
                &[("worker", &worker.to_string())],
            )
        })
        .collect()
}

#[test]
fn a_thousand_connections_on_two_workers_end_up_500_and_500() {
    let echo = Echo::start();
    let proxy = with_workers(&echo, 2);
    let swarm = Swarm::open(proxy.address(), 1_000, None);
    assert_eq!(shares(&proxy, 2), [500.0, 500.0]);
    swarm.finish().assert_flawless();
    proxy.wait_for_metric("tidegate_worker_connections", &[], 0.0);
}

#[test]
fn a_worker_that_lost_its_connections_gets_the_next_ones() {
    let echo = Echo::start();
    let proxy = with_workers(&echo, 2);
    let mut sockets: Vec<_> = (0..20).map(|_| proxy.websocket("/")).collect();
    assert_eq!(shares(&proxy, 2), [10.0, 10.0]);
    // Accepted in turn, every other one sits on the same worker.
    let leave: Vec<_> = (0..10).rev().map(|n| sockets.remove(2 * n)).collect();
    leave
        .into_iter()
        .for_each(crate::support::websocket::WebSocket::close);
    proxy.wait_for_metric("tidegate_worker_connections", &[], 10.0);
    let _more: Vec<_> = (0..10).map(|_| proxy.websocket("/")).collect();
    assert_eq!(shares(&proxy, 2), [10.0, 10.0]);
}

#[test]
fn there_are_as_many_workers_as_the_configuration_says() {
    let echo = Echo::start();
    let few = with_workers(&echo, 1);
    let many = with_workers(&echo, 4);
    assert_eq!(shares(&few, 4).len(), 4);
    assert!((few.metrics().sum("tidegate_workers", &[]) - 1.0).abs() < 0.5);
    assert!((many.metrics().sum("tidegate_workers", &[]) - 4.0).abs() < 0.5);
    assert_eq!(few.process().workers(), 1);
    assert_eq!(many.process().workers(), 4);
}

#[test]
fn connections_cost_no_thread() {
    let echo = Echo::start();
    let proxy = with_workers(&echo, 2);
    proxy.websocket("/").close();
    let before = proxy.process().threads();
    let swarm = Swarm::open(proxy.address(), 200, None);
    assert_eq!(proxy.process().threads(), before);
    swarm.finish().assert_flawless();
}
