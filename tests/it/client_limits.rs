//! How much one client may take, and what the process takes as a whole (CONTRACT 2 `[route.limit]`
//! and `[server]`, ATTACKS D07, G02, L11).

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::certificates::Authority;
use crate::support::tokens::Issuer;
use crate::support::wait::{wait_for, wait_until};
use crate::support::{Answer, Backend, Connection, Echo, Request, Setup, Tidegate};

const REFUSED: &str = "tidegate_connections_refused_total";

/// A proxy in front of an echo, with these lines in `[route.limit]`, that believes this machine's
/// X-Forwarded-For.
fn limited(echo: &Echo, lines: &str) -> Setup {
    Setup::to(&[echo])
        .with("route.limit", lines)
        .with("listener.public", "trusted_proxies = \"127.0.0.1\"")
}

fn from(client: &str) -> Request {
    Request::upgrade().with(format!("X-Forwarded-For: {client}"))
}

#[track_caller]
fn knock(proxy: &Tidegate, request: &Request) -> (Connection, Answer) {
    let mut connection = proxy.connect();
    connection.send(request.bytes());
    let answer = connection.answer();
    (connection, answer)
}

#[track_caller]
fn enters(proxy: &Tidegate, client: &str) -> Connection {
    let (connection, answer) = knock(proxy, &from(client));
    assert_eq!(answer.status, 101, "{client}: {answer:?}");
    connection
}

#[track_caller]
fn refused(proxy: &Tidegate, request: &Request) -> u64 {
    let (_, answer) = knock(proxy, request);
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.body, "too many requests from this address\n");
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[test]
fn one_client_has_no_more_connections_than_its_share() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&limited(&echo, "connections_per_ip = 2"));
    let first = enters(&proxy, "1.2.3.4");
    let _second = enters(&proxy, "1.2.3.4");
    assert_eq!(refused(&proxy, &from("1.2.3.4")), 5);
    assert_eq!(echo.accepted(), 2, "a backend heard of the third");
    let _other = enters(&proxy, "1.2.3.5");
    drop(first);
    let _again = wait_for("its place", || {
        let (connection, answer) = knock(&proxy, &from("1.2.3.4"));
        (answer.status == 101).then_some(connection)
    });
    refused(&proxy, &from("1.2.3.4"));
}

/// ATTACKS D07, L11.
#[test]
fn one_client_is_an_address_or_a_64_whatever_it_claims() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&limited(&echo, "connections_per_ip = 1"));
    let _v4 = enters(&proxy, "1.2.3.4");
    refused(&proxy, &from("::ffff:1.2.3.4"));
    let _v6 = enters(&proxy, "2001:db8::1");
    refused(&proxy, &from("2001:db8::ffff:ffff:ffff:ffff"));
    let _neighbour = enters(&proxy, "2001:db8:0:1::1");
    // What stands left of the address that the trusted proxy saw is the client's own word.
    refused(&proxy, &from("9.9.9.9, 1.2.3.4"));

    let setup = Setup::to(&[&echo]).with("route.limit", "connections_per_ip = 1");
    let proxy = Tidegate::start(&setup);
    let _first = enters(&proxy, "1.2.3.4");
    refused(&proxy, &from("1.2.3.5"));
}

#[test]
fn requests_in_flight_count_among_a_clients_connections() {
    let silent = Backend::silent();
    let setup = Setup::to(&[&silent]).with("route.limit", "connections_per_ip = 2");
    let proxy = Tidegate::start(&setup);
    let held: Vec<Connection> = (0..2)
        .map(|_| {
            let mut connection = proxy.connect();
            connection.send(Request::get("/slow").bytes());
            connection
        })
        .collect();
    wait_until("two requests in flight", || silent.visits() == 2);
    refused(&proxy, &Request::get("/slow"));
    refused(&proxy, &Request::upgrade());
    drop(held);
    proxy.wait_for_metric("tidegate_connections", &[("listener", "public")], 0.0);
}

#[test]
fn handshakes_beyond_their_rate_hear_when_to_come_again() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&limited(&echo, "handshakes_per_ip = \"1/s burst 3\""));
    for _ in 0..3 {
        enters(&proxy, "1.2.3.4");
    }
    assert_eq!(refused(&proxy, &from("1.2.3.4")), 1);
    enters(&proxy, "1.2.3.5");
    // They are not handshakes.
    for _ in 0..5 {
        let plain = Request::get("/").with("X-Forwarded-For: 1.2.3.4");
        assert_eq!(proxy.send(plain.bytes()).status, 200);
    }
    wait_until("another token", || {
        knock(&proxy, &from("1.2.3.4")).1.status == 101
    });
}

#[test]
fn the_share_is_exact_over_all_workers() {
    let echo = Echo::start();
    let setup = limited(&echo, "connections_per_ip = 10").with("server", "workers = 4");
    let proxy = Tidegate::start(&setup);
    let answers: Vec<(Connection, Answer)> = thread::scope(|scope| {
        let knocking: Vec<_> = (0..60)
            .map(|_| scope.spawn(|| knock(&proxy, &from("1.2.3.4"))))
            .collect();
        let knocking = knocking.into_iter();
        knocking.map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| answers.iter().filter(|(_, it)| it.status == status).count();
    assert_eq!((count(101), count(429)), (10, 50));
}

#[test]
fn a_reload_keeps_what_clients_have_taken() {
    let echo = Echo::start();
    let lines = "connections_per_ip = 1\nhandshakes_per_ip = \"1/s burst 2\"";
    let setup = limited(&echo, lines);
    let proxy = Tidegate::start(&setup);
    let _held = enters(&proxy, "1.2.3.4");
    proxy.reload_with(&setup.clone().with("log", "level = \"trace\""));
    refused(&proxy, &from("1.2.3.4"));
    // That was the second handshake; a connection more would be allowed from now on.
    let slower = "connections_per_ip = 5\nhandshakes_per_ip = \"1/s burst 1\"";
    proxy.reload_with(&setup.clone().with("route.limit", slower));
    refused(&proxy, &from("1.2.3.4"));
    proxy.reload_with(&setup.with(
        "route.limit",
        "connections_per_ip = 2\nhandshakes_per_ip = \"off\"",
    ));
    let _second = enters(&proxy, "1.2.3.4");
    refused(&proxy, &from("1.2.3.4"));
}

#[test]
fn the_token_comes_before_the_limit_and_the_limit_before_the_server() {
    let issuer = Issuer::new();
    let refusing = Backend::refusing();
    let setup = Setup::to(&[&refusing])
        .with("route.limit", "handshakes_per_ip = \"1/s burst 1\"")
        .with("route.auth.jwt", &issuer.toml("\"header\""));
    let proxy = Tidegate::start(&setup);
    let good =
        Request::upgrade().with(format!("Authorization: Bearer {}", issuer.token("ann", 60)));
    for _ in 0..3 {
        assert_eq!(proxy.send(Request::upgrade().bytes()).status, 401);
    }
    assert_eq!(proxy.send(good.bytes()).status, 502);
    refused(&proxy, &good);
}

#[test]
fn beyond_max_connections_new_ones_hear_503_at_once_and_come_in_later() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("server", "max_connections = 2"));
    let held = [proxy.tunnel(), proxy.tunnel()];
    for request in [Request::upgrade().bytes(), Vec::new()] {
        let mut connection = proxy.connect();
        let _ = connection.try_send(request);
        let answer = connection.answer();
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert!(answer.closes());
        connection.expect_end();
    }
    let labels = [("listener", "public"), ("reason", "overloaded")];
    proxy.wait_for_metric(REFUSED, &labels, 2.0);
    drop(held);
    wait_until("room", || {
        let mut connection = proxy.connect();
        connection.send(Request::upgrade().bytes());
        connection
            .read_answer()
            .is_some_and(|answer| answer.status == 101)
    });
}

#[test]
fn beyond_max_connections_tls_is_not_even_begun() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["localhost"]);
    let certificates = format!("certificates = [{}]", certificate.toml());
    let setup = Setup::to(&[&echo])
        .with("server", "max_connections = 1")
        .with("listener.public.tls", &certificates);
    let proxy = Tidegate::start(&setup);
    let mut held = proxy.connect_tls("localhost", &authority.client());
    held.send(Request::upgrade().bytes());
    assert_eq!(held.answer().status, 101);
    let mut connection = proxy.connect();
    connection.expect_end();
    let labels = [("listener", "public"), ("reason", "overloaded")];
    proxy.wait_for_metric(REFUSED, &labels, 1.0);
}

/// ATTACKS G02.
#[test]
fn stuck_tls_handshakes_keep_others_out_for_a_second_at_most() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["localhost"]);
    let certificates = format!("certificates = [{}]", certificate.toml());
    let setup = Setup::to(&[&echo])
        .with("server", "max_tls_handshakes = 4")
        .with("listener.public.tls", &certificates);
    let proxy = Tidegate::start(&setup);
    let begun = Instant::now();
    let _stuck: Vec<Connection> = (0..5).map(|_| proxy.connect()).collect();
    let busy = [("listener", "public"), ("reason", "tls_busy")];
    wait_until("one too many", || {
        proxy.metrics().sum(REFUSED, &busy) >= 1.0
    });
    let mut good = wait_for("a handshake", || {
        let mut connection = proxy.connect_tls("localhost", &authority.client());
        connection.try_tls().is_ok().then_some(connection)
    });
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "only the timeout helped"
    );
    good.send(Request::upgrade().bytes());
    assert_eq!(good.answer().status, 101);
    let displaced = [("listener", "public"), ("result", "displaced")];
    wait_until("one gave way", || {
        proxy
            .metrics()
            .sum("tidegate_tls_handshakes_total", &displaced)
            >= 1.0
    });
}

/// Issue: `/healthz` answers while connections are refused as fast as they come.
#[test]
fn a_full_process_that_is_flooded_stays_responsive() {
    const FLOOD: Duration = Duration::from_secs(2);
    let echo = Echo::start();
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("server", "max_connections = 1"));
    let mut live = proxy.websocket("/");
    let (address, over, knocks) = (proxy.address(), AtomicBool::new(false), AtomicUsize::new(0));
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    if TcpStream::connect(address).is_ok() {
                        knocks.fetch_add(1, Relaxed);
                    }
                }
            });
        }
        let begun = Instant::now();
        while begun.elapsed() < FLOOD {
            let asked = Instant::now();
            assert_eq!(proxy.admin("GET /healthz").status, 200);
            live.echo("still there");
            slowest = slowest.max(asked.elapsed());
        }
        over.store(true, Relaxed);
    });
    let refused = proxy.metrics().sum(REFUSED, &[("reason", "overloaded")]);
    eprintln!(
        "{} knocks, {refused} refused in {FLOOD:?}; slowest answer {slowest:?}",
        knocks.load(Relaxed)
    );
    assert!(refused > 100.0, "{refused}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
