//! How the process stops (CONTRACT section 1: signals, section 4: `shutdown`).

use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::frame::{BINARY, Frame, TEXT};
use crate::support::request::Request;
use crate::support::swarm::Swarm;
use crate::support::wait::wait_until;
use crate::support::{Backend, Echo, Setup, Tidegate};

fn with_grace(echo: &Echo, grace: &str) -> Tidegate {
    Tidegate::start(&Setup::to(&[echo]).with("server", &format!("shutdown_grace = \"{grace}\"")))
}

#[test]
fn sigterm_says_1001_to_every_session_and_the_process_ends_well() {
    for signal in [Signal::TERM, Signal::QUIT] {
        let echo = Echo::start();
        let mut proxy = with_grace(&echo, "3s");
        let mut sockets: Vec<_> = (0..20).map(|_| proxy.websocket("/")).collect();
        proxy.signal(signal);
        for socket in &mut sockets {
            assert_eq!(socket.close_code(), 1001);
        }
        assert!(proxy.wait_for_exit().success());
    }
}

#[test]
fn an_idle_process_stops_at_once() {
    let echo = Echo::start();
    let mut proxy = with_grace(&echo, "60s");
    proxy.websocket("/").close();
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_stopping_process_accepts_nobody_and_says_that_it_is_not_ready() {
    let echo = Echo::start();
    // A client that never answers a Close keeps the process there for a while.
    let mut proxy = with_grace(&echo, "4s");
    let address = proxy.address();
    let mut held = proxy.tunnel();
    assert_eq!(proxy.admin("GET /readyz").status, 200);
    proxy.signal(Signal::TERM);
    wait_until("readyz to turn", || {
        proxy.admin("GET /readyz").status == 503
    });
    assert_eq!(proxy.admin("GET /healthz").status, 200);
    wait_until("the listener to be closed", || {
        TcpStream::connect(address).is_err()
    });
    assert_eq!(held.frame().close_code(), Some(1001));
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_handshake_that_comes_after_the_order_hears_503_with_retry_after() {
    let echo = Echo::start();
    let proxy = with_grace(&echo, "6s");
    let _held = proxy.tunnel();
    let mut late = proxy.connect();
    proxy.wait_for_metric("tidegate_connections", &[("listener", "public")], 2.0);
    proxy.signal(Signal::TERM);
    wait_until("readyz to turn", || {
        proxy.admin("GET /readyz").status == 503
    });
    late.send(Request::upgrade().bytes());
    let answer = late.answer();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[test]
fn a_message_under_way_is_let_through_first() {
    let backend = Backend::accepting(|mut visit| {
        let wire = Frame::server(BINARY, vec![7; 100_000]).encode();
        visit.connection.send(&wire[..50_000]);
        // The client says when it has seen the first half and the process was told to stop.
        visit.connection.frame();
        visit.connection.send(&wire[50_000..]);
        visit.hold();
    });
    let setup = Setup::to(&[&backend]).with("server", "shutdown_grace = \"7s\"");
    let mut proxy = Tidegate::start(&setup);
    let mut client = proxy.tunnel();
    let mut wire = client.read_exactly(50_000);
    proxy.signal(Signal::TERM);
    proxy.log().wait_for(0, "the stop", |line| {
        line.text().contains("shut") || line.text().contains("stop")
    });
    client.send_frame(&Frame::client(TEXT, "go on"));
    // 10 bytes of header, 100,000 of payload.
    wire.extend(client.read_exactly(50_010));
    assert!(Frame::decode(&wire).expect("a whole frame").0.payload == [7; 100_000]);
    assert_eq!(client.frame().close_code(), Some(1001));
    client.finish();
    drop(client);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn peers_that_do_not_answer_are_cut_when_the_grace_is_over() {
    let backend = Backend::accepting(crate::support::backend::Visit::hold);
    let setup = Setup::to(&[&backend]).with("server", "shutdown_grace = \"1s\"");
    let mut proxy = Tidegate::start(&setup);
    let mut tunnel = proxy.tunnel();
    let start = Instant::now();
    proxy.signal(Signal::TERM);
    assert_eq!(tunnel.frame().close_code(), Some(1001));
    tunnel.expect_end();
    assert!(proxy.wait_for_exit().success());
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_second_signal_stops_now() {
    for second in [Signal::TERM, Signal::INT] {
        let backend = Backend::accepting(crate::support::backend::Visit::hold);
        let setup = Setup::to(&[&backend]).with("server", "shutdown_grace = \"60s\"");
        let mut proxy = Tidegate::start(&setup);
        let _tunnel = proxy.tunnel();
        let address = proxy.address();
        proxy.signal(Signal::TERM);
        wait_until("the first to be heard", || {
            TcpStream::connect(address).is_err()
        });
        proxy.signal(second);
        proxy.wait_for_exit();
    }
}

#[test]
fn sigint_alone_stops_now() {
    let echo = Echo::start();
    let mut proxy = with_grace(&echo, "60s");
    let _socket = proxy.websocket("/");
    proxy.signal(Signal::INT);
    proxy.wait_for_exit();
}

#[test]
fn a_reload_while_stopping_does_no_harm() {
    let backend = Backend::accepting(crate::support::backend::Visit::hold);
    let setup = Setup::to(&[&backend]).with("server", "shutdown_grace = \"2s\"");
    let mut proxy = Tidegate::start(&setup);
    let address = proxy.address();
    let _tunnel = proxy.tunnel();
    proxy.signal(Signal::TERM);
    wait_until("the stop to begin", || TcpStream::connect(address).is_err());
    proxy.signal(Signal::HUP);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_thousand_sessions_are_closed_within_the_grace_under_load() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo])
        .with("server", "shutdown_grace = \"8s\"")
        .with("log", "level = \"info\"");
    let mut proxy = Tidegate::start(&setup);
    let swarm = Swarm::open(proxy.address(), 1_000, None);
    proxy.signal(Signal::TERM);
    let start = Instant::now();
    assert!(proxy.wait_for_exit().success());
    assert!(
        start.elapsed() < Duration::from_secs(12),
        "{:?}",
        start.elapsed()
    );
    let outcome = swarm.finish();
    let told = outcome
        .faults
        .iter()
        .filter(|fault| fault.contains("[3, 233"))
        .count();
    assert_eq!(told, 1_000, "1001 is 0x03e9: {:?}", outcome.faults.first());
}
