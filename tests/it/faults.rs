//! Backends on a bad day: the client hears CONTRACT 3's status within the timeouts, and the next
//! client is served by another server.

use std::time::{Duration, Instant};

use crate::support::backend::switching_protocols;
use crate::support::peers::Library;
use crate::support::{Backend, Echo, Request, Setup, Tidegate};

const TIMEOUTS: &str = "connect_timeout = \"300ms\"\nhandshake_timeout = \"500ms\"";

/// Alone, the bad backend earns `status`; beside a good one, `served` of the clients notice.
#[track_caller]
fn alone(bad: &Backend, status: u16) {
    let setup = Setup::to(&[bad])
        .with("upstream.echo", TIMEOUTS)
        .with("upstream.echo", "retries = 0");
    let proxy = Tidegate::start(&setup);
    let start = Instant::now();
    let answer = proxy.send(Request::upgrade().bytes());
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    assert!(!answer.body.contains("127.0.0.1"), "{answer:?}");
}

/// Beside a good server every client is served by that one, at most `noticed` of them hear of it.
#[track_caller]
fn beside_a_good_one(bad: &Backend, noticed: usize) {
    let echo = Echo::start();
    let setup = Setup::to(&[bad.address(), echo.address()])
        .with("upstream.echo", TIMEOUTS)
        .with("upstream.echo.passive", "failures = 1\neject = \"60s\"");
    let proxy = Tidegate::start(&setup);
    let statuses: Vec<u16> = (0..6)
        .map(|_| proxy.send(Request::upgrade().bytes()).status)
        .collect();
    let bad_ones = statuses.iter().filter(|&&status| status != 101).count();
    assert!(bad_ones <= noticed, "{statuses:?}");
    assert_eq!(statuses[5], 101, "{statuses:?}");
    let failures = proxy.metrics().sum("tidegate_server_failures_total", &[]);
    assert!(failures >= 1.0, "no failure was counted");
}

#[test]
fn a_server_that_refuses_connections() {
    let bad = Backend::refusing();
    alone(&bad, 502);
    beside_a_good_one(&bad, 0);
}

#[test]
fn a_server_that_stalls_at_connect() {
    let bad = Backend::unreachable();
    alone(&bad, 504);
    beside_a_good_one(&bad, 0);
}

#[test]
fn a_server_that_stalls_at_the_handshake() {
    let bad = Backend::silent();
    alone(&bad, 504);
    beside_a_good_one(&bad, 1);
}

#[test]
fn a_server_that_stalls_in_the_middle_of_its_head() {
    let bad = Backend::answering("HTTP/1.1 101 Switching Protocols\r\nUpgrade: webs");
    alone(&bad, 504);
    beside_a_good_one(&bad, 1);
}

#[test]
fn a_server_that_hangs_up_before_it_answers() {
    let bad = Backend::hanging_up();
    alone(&bad, 502);
    beside_a_good_one(&bad, 0);
}

#[test]
fn a_server_that_answers_garbage() {
    let bad = Backend::answering("\0\x01\x02 garbage\r\n\r\n");
    alone(&bad, 502);
    beside_a_good_one(&bad, 1);
}

#[test]
fn a_server_that_answers_a_wrong_accept() {
    let bad = Backend::answering(switching_protocols("Sec-WebSocket-Key: another\r\n", ""));
    alone(&bad, 502);
    beside_a_good_one(&bad, 1);
}

#[test]
fn a_server_that_answers_101_to_nobody() {
    // It speaks before it is asked.
    let bad = Backend::script(|mut visit| {
        visit
            .connection
            .send(switching_protocols("Sec-WebSocket-Key: x\r\n", ""));
        visit.hold();
    });
    alone(&bad, 502);
    beside_a_good_one(&bad, 1);
}

#[test]
fn a_server_that_is_killed_with_live_connections() {
    let [dying, staying] = Echo::start_many::<2>();
    let proxy = Tidegate::in_front_of(&[&dying, &staying]);
    let mut told = proxy.tunnel();
    let mut kept = proxy.websocket("/");
    assert_eq!(
        kept.server(),
        staying.to_string(),
        "round robin takes turns"
    );
    dying.kill();
    assert_eq!(told.frame().close_code(), Some(1014));
    kept.echo("not concerned");
    for _ in 0..4 {
        assert_eq!(proxy.websocket("/").server(), staying.to_string());
    }
}

#[test]
fn a_foreign_server_whose_process_is_killed() {
    let echo = Echo::start();
    let server = Library::Python.serve(None);
    let proxy = Tidegate::in_front_of(&[server.to_string(), echo.to_string()]);
    let mut told = proxy.tunnel();
    drop(server);
    assert_eq!(told.frame().close_code(), Some(1014));
    for _ in 0..4 {
        proxy.websocket("/").echo("served by the other");
    }
}

#[test]
fn a_client_that_leaves_during_the_handshake_leaves_nothing_behind() {
    let bad = Backend::silent();
    let setup = Setup::to(&[&bad]).with("upstream.echo", "handshake_timeout = \"60s\"");
    let proxy = Tidegate::start(&setup);
    let mut connection = proxy.connect();
    connection.send(Request::upgrade().bytes());
    crate::support::wait::wait_until("the request to be under way", || bad.visits() == 1);
    connection.reset();
    proxy.wait_for_metric("tidegate_connections", &[("listener", "public")], 0.0);
    proxy.wait_for_metric("tidegate_server_connections", &[], 0.0);
}
