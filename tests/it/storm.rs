//! Everybody at once: handshakes per server, the queue before them, and servers that start slowly
//! (CONTRACT section 2: `max_handshakes`, `queue_length`, `queue_timeout`, `slow_start`).

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::crowd::Crowd;
use crate::support::process::allow_descriptors;
use crate::support::request::Request;
use crate::support::wait::{stays_true, wait_until};
use crate::support::websocket::WebSocket;
use crate::support::{Connection, Echo, Setup, Tidegate};

fn behind(echo: &Echo, lines: &str) -> Tidegate {
    let setup = Setup::to(&[echo])
        .with("log", "level = \"info\"")
        .with("upstream.echo", lines);
    Tidegate::start(&setup)
}

/// Asks for a WebSocket at this path and does not wait for the answer.
fn ask(proxy: &Tidegate, path: &str) -> Connection {
    let mut connection = proxy.connect();
    connection.send(Request::upgrade().target(path).bytes());
    connection
}

#[track_caller]
fn wait_for_queue(proxy: &Tidegate, length: u32) {
    let upstream = [("upstream", "echo")];
    proxy.wait_for_metric("tidegate_queue_length", &upstream, f64::from(length));
}

/// The paths of the requests that reached the server, in order.
fn paths(echo: &Echo) -> Vec<String> {
    let path = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
    echo.heads().iter().map(path).collect()
}

#[track_caller]
fn assert_unavailable(connection: &mut Connection, cause: &str) {
    let answer = connection.answer();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.body.contains(cause), "{answer:?}");
}

#[test]
fn requests_are_served_in_the_order_they_came_over_two_workers() {
    let echo = Echo::holding();
    let proxy = behind(&echo, "max_handshakes = 1\nqueue_timeout = \"60s\"");
    let mut clients = Vec::new();
    for number in 0..9 {
        clients.push(ask(&proxy, &format!("/{number}")));
        if number == 0 {
            wait_until("the first to be in hand", || echo.shaking() == 1);
        } else {
            wait_for_queue(&proxy, number);
        }
    }
    for client in &mut clients {
        echo.let_in(1);
        assert_eq!(client.answer().status, 101);
    }
    assert_eq!(echo.most_shaking(), 1);
    let expected: Vec<String> = (0..9).map(|number| format!("/{number}")).collect();
    assert_eq!(paths(&echo), expected);
    wait_for_queue(&proxy, 0);
}

#[test]
fn the_limit_holds_for_each_server() {
    let servers = [Echo::holding(), Echo::holding()];
    let setup = Setup::to(&servers.each_ref()).with("upstream.echo", "max_handshakes = 2");
    let proxy = Tidegate::start(&setup);
    let _clients: Vec<_> = (0..6).map(|_| ask(&proxy, "/")).collect();
    wait_for_queue(&proxy, 2);
    for echo in &servers {
        wait_until("two in hand", || echo.shaking() == 2);
        stays_true(Duration::from_millis(50), "two in hand", || {
            echo.shaking() == 2
        });
    }
}

#[test]
fn a_client_that_waits_too_long_gets_503_with_retry_after() {
    let echo = Echo::holding();
    let proxy = behind(&echo, "max_handshakes = 1\nqueue_timeout = \"300ms\"");
    let mut first = ask(&proxy, "/first");
    wait_until("the first to be in hand", || echo.shaking() == 1);
    let start = Instant::now();
    let mut second = ask(&proxy, "/second");
    assert_unavailable(&mut second, "waited too long");
    assert!(start.elapsed() >= Duration::from_millis(300));
    wait_for_queue(&proxy, 0);
    echo.let_in(1);
    assert_eq!(first.answer().status, 101);
    assert_eq!(paths(&echo), ["/first"]);
}

#[test]
fn those_who_wait_hear_503_at_once_when_the_process_stops() {
    let echo = Echo::holding();
    let proxy = behind(&echo, "max_handshakes = 1\nqueue_timeout = \"60s\"");
    let _first = ask(&proxy, "/first");
    wait_until("the first to be in hand", || echo.shaking() == 1);
    let mut second = ask(&proxy, "/second");
    wait_for_queue(&proxy, 1);
    proxy.signal(Signal::TERM);
    assert_unavailable(&mut second, "shutting down");
}

#[test]
fn a_full_queue_turns_away_at_once() {
    let echo = Echo::holding();
    let proxy = behind(
        &echo,
        "max_handshakes = 1\nqueue_length = 2\nqueue_timeout = \"60s\"",
    );
    let mut clients: Vec<_> = (0..3).map(|_| ask(&proxy, "/")).collect();
    wait_for_queue(&proxy, 2);
    assert_unavailable(&mut ask(&proxy, "/"), "too many requests wait");
    echo.let_in(3);
    for client in &mut clients {
        assert_eq!(client.answer().status, 101);
    }
}

#[test]
fn a_client_that_leaves_gives_up_its_place_at_once() {
    let echo = Echo::holding();
    let proxy = behind(&echo, "max_handshakes = 1\nqueue_timeout = \"60s\"");
    let first = ask(&proxy, "/first");
    wait_until("the first to be in hand", || echo.shaking() == 1);
    let leaves = ask(&proxy, "/leaves");
    wait_for_queue(&proxy, 1);
    let mut stays = ask(&proxy, "/stays");
    wait_for_queue(&proxy, 2);
    leaves.reset();
    wait_for_queue(&proxy, 1);
    // The one in the middle of its handshake leaves too: its place goes to who waits.
    first.reset();
    wait_until("the next to be in hand alone", || {
        paths(&echo).len() == 2 && echo.shaking() == 1
    });
    echo.let_in(1);
    assert_eq!(stays.answer().status, 101);
    assert_eq!(paths(&echo), ["/first", "/stays"]);
}

#[test]
fn who_finds_every_server_at_its_max_connections_waits_for_one_that_closes() {
    let echo = Echo::start();
    let setup = Setup::to(&["unused"])
        .with(
            "upstream.echo",
            &format!("servers = [{{ address = \"{echo}\", max_connections = 1 }}]"),
        )
        .with("upstream.echo", "queue_timeout = \"60s\"");
    let proxy = Tidegate::start(&setup);
    let only = proxy.websocket("/");
    let mut waits = ask(&proxy, "/");
    wait_for_queue(&proxy, 1);
    only.close();
    assert_eq!(waits.answer().status, 101);
}

#[test]
fn a_reload_keeps_the_queue_and_its_new_server_takes_from_it() {
    let old = Echo::holding();
    let new = Echo::start();
    let lines = "max_handshakes = 1\nqueue_timeout = \"60s\"";
    let before = Setup::to(&[&old]).with("upstream.echo", lines);
    let proxy = Tidegate::start(&before);
    let mut first = ask(&proxy, "/first");
    wait_until("the first to be in hand", || old.shaking() == 1);
    let mut waits = ask(&proxy, "/waits");
    wait_for_queue(&proxy, 1);

    proxy.reload_with(&before.with("listener.public", "max_headers = 50"));
    wait_for_queue(&proxy, 1);
    assert_eq!(old.shaking(), 1, "the handshake under way still counts");

    proxy.reload_with(&Setup::to(&[&old, &new]).with("upstream.echo", lines));
    assert_eq!(waits.answer().status, 101);
    assert_eq!(paths(&new), ["/waits"]);
    old.let_in(1);
    assert_eq!(first.answer().status, 101);
}

#[test]
fn a_restart_brings_everybody_back_through_few_handshakes_at_a_time_under_load() {
    const CLIENTS: usize = 5_000;
    const HANDSHAKES: usize = 50;
    allow_descriptors(3 * 5_000);
    let echo = Echo::start();
    let proxy = behind(
        &echo,
        &format!("max_handshakes = {HANDSHAKES}\nqueue_timeout = \"60s\""),
    );
    let crowd = Crowd::arrive(proxy.address(), CLIENTS);
    assert_eq!(crowd.statuses(), [(101, CLIENTS)].into());
    assert!(echo.most_shaking() <= HANDSHAKES);

    let address = echo.kill();
    crowd.wait_for_the_end();
    let echo = Echo::slow_at(address, Duration::from_millis(5));
    let crowd = Crowd::arrive(proxy.address(), CLIENTS);
    assert_eq!(crowd.statuses(), [(101, CLIENTS)].into());
    assert!(echo.most_shaking() <= HANDSHAKES, "{}", echo.most_shaking());
    assert!(echo.most_shaking() > 1, "one after the other");
    wait_for_queue(&proxy, 0);
}

#[test]
fn in_a_storm_too_big_everybody_gets_in_or_a_clear_503_under_load() {
    const CLIENTS: usize = 1_500;
    allow_descriptors(3 * 1_500);
    let echo = Echo::slow_at(([127, 0, 0, 1], 0).into(), Duration::from_millis(100));
    let proxy = behind(
        &echo,
        "max_handshakes = 20\nqueue_length = 500\nqueue_timeout = \"1s\"",
    );
    let crowd = Crowd::arrive(proxy.address(), CLIENTS);
    let statuses = crowd.statuses();
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&101, &503]);
    for head in crowd.heads(503) {
        assert!(head.contains("\r\nRetry-After: "), "{head}");
    }
    assert!(echo.most_shaking() <= 20, "{}", echo.most_shaking());
    wait_for_queue(&proxy, 0);
    // Nothing leaked: all twenty places are there again.
    let crowd = Crowd::arrive(proxy.address(), 20);
    assert_eq!(crowd.statuses(), [(101, 20)].into());
}

/// How many of `count` new WebSockets this server gets.
fn share(proxy: &Tidegate, server: &Echo, count: usize) -> (usize, Vec<WebSocket>) {
    let sockets: Vec<_> = (0..count).map(|_| proxy.websocket("/")).collect();
    let name = server.to_string();
    let taken = sockets.iter().filter(|socket| socket.server() == name);
    (taken.count(), sockets)
}

#[test]
fn least_conn_does_not_flood_a_server_that_was_added() {
    let [old, new] = Echo::start_many::<2>();
    let lines = "balance = \"least_conn\"\nslow_start = \"1h\"";
    let proxy = Tidegate::start(&Setup::to(&[&old]).with("upstream.echo", lines));
    let (all, _held) = share(&proxy, &old, 50);
    assert_eq!(all, 50, "one that was there from the start is warm");
    proxy.reload_with(&Setup::to(&[&old, &new]).with("upstream.echo", lines));
    // Two per cent of the weight, for half a hundred on the other: one connection, or two.
    let (few, _more) = share(&proxy, &new, 30);
    assert!((1..=2).contains(&few), "{few} of 30");
}

#[test]
fn a_server_that_recovers_starts_slowly() {
    let [stays, falls] = Echo::start_many::<2>();
    let setup = Setup::to(&[&stays, &falls])
        .with("upstream.echo", "slow_start = \"1h\"")
        .with(
            "upstream.echo.health_check",
            "type = \"tcp\"\ninterval = \"100ms\"\nrise = 1\nfall = 1",
        );
    let proxy = Tidegate::start(&setup);
    assert_eq!(share(&proxy, &falls, 10).0, 5, "warm from the start");
    let server = falls.to_string();
    let address = falls.kill();
    proxy.wait_for_metric("tidegate_server_up", &[("server", &server)], 0.0);
    let back = Echo::at(address);
    proxy.wait_for_metric("tidegate_server_up", &[("server", &server)], 1.0);
    let (few, _sockets) = share(&proxy, &back, 49);
    assert!(few <= 1, "{few} of 49");
}
