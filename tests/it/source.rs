//! Which of our own addresses connections to servers come from (`upstream.source`).

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::support::wait::wait_until;
use crate::support::{Backend, Echo, Request, Setup, Tidegate};

/// Servers' connections, by the address that they came from.
#[derive(Clone, Default)]
struct Guests(Arc<Mutex<Vec<IpAddr>>>);

impl Guests {
    /// A server that accepts upgrades and notes who came.
    fn server(&self) -> Backend {
        let guests = self.clone();
        Backend::script(move |mut visit| {
            let guest = visit.connection.tcp().peer_addr().unwrap().ip();
            guests.0.lock().unwrap().push(guest);
            visit.accept("");
            visit.hold();
        })
    }

    fn of(&self, address: &str) -> usize {
        let guests = self.0.lock().unwrap();
        let address: IpAddr = address.parse().unwrap();
        guests.iter().filter(|guest| **guest == address).count()
    }
}

fn from(servers: &[&Backend], source: &str) -> Setup {
    Setup::to(servers).with("upstream.echo", &format!("source = {source}"))
}

#[test]
fn sessions_with_a_server_come_from_each_address_in_turn() {
    let guests = Guests::default();
    let (one, other) = (guests.server(), guests.server());
    let source = r#"["127.0.0.41", "::1", "127.0.0.42"]"#;
    let proxy = Tidegate::start(&from(&[&one, &other], source));
    let _sessions: Vec<_> = (0..8).map(|_| proxy.tunnel()).collect();
    assert_eq!((one.visits(), other.visits()), (4, 4));
    assert_eq!(guests.of("127.0.0.41"), 4);
    assert_eq!(guests.of("127.0.0.42"), 4);
}

#[test]
fn checks_come_from_where_sessions_do() {
    let guests = Guests::default();
    let server = guests.server();
    let check = "type = \"tcp\"\ninterval = \"10ms\"";
    let setup = from(&[&server], r#""127.0.0.43""#).with("upstream.echo.health_check", check);
    let _proxy = Tidegate::start(&setup);
    wait_until("three checks", || guests.of("127.0.0.43") >= 3);
    assert_eq!(guests.of("127.0.0.1"), 0);
}

#[test]
fn a_reload_changes_it_for_new_sessions() {
    let guests = Guests::default();
    let server = guests.server();
    let proxy = Tidegate::start(&Setup::to(&[&server]));
    let _before = proxy.tunnel();
    proxy.reload_with(&from(&[&server], r#""127.0.0.44""#));
    let _after = proxy.tunnel();
    assert_eq!((guests.of("127.0.0.1"), guests.of("127.0.0.44")), (1, 1));
}

#[test]
fn an_address_of_another_machine_is_answered_with_503_and_named_in_the_log() {
    let server = Guests::default().server();
    let proxy = Tidegate::start(&from(&[&server], r#""192.0.2.1""#));
    let answer = proxy.send(Request::upgrade().bytes());
    assert_eq!(answer.status, 503);
    let line = proxy.log().wait_for(0, "the shortage", |line| {
        line.message() == "no connection from this address"
    });
    assert_eq!(line.str("source"), Some("192.0.2.1"));
    assert_eq!(server.visits(), 0);
}

#[test]
fn checks_that_this_machine_has_no_address_for_take_no_server_out() {
    let echo = Echo::start();
    let check = "type = \"tcp\"\ninterval = \"10ms\"\nfall = 1";
    let lines = |source: &str| format!("on_server_down = \"close\"\nsource = {source}");
    let setup = Setup::to(&[&echo]).with("upstream.echo.health_check", check);
    let proxy = Tidegate::start(&setup.clone().with("upstream.echo", &lines("[]")));
    let checks = |result| {
        let labels = [("result", result)];
        (proxy.metrics()).sum("tidegate_health_checks_total", &labels)
    };
    wait_until("a good check", || checks("ok") >= 1.0);
    let mut live = proxy.websocket("/");
    proxy.reload_with(&setup.with("upstream.echo", &lines("\"192.0.2.1\"")));
    wait_until("three that can't be made", || checks("failed") >= 3.0);
    assert_eq!(proxy.metrics().sum("tidegate_server_up", &[]), 1.0);
    live.echo("still here");
}

#[test]
fn the_next_address_serves_for_one_of_another_machine() {
    let guests = Guests::default();
    let server = guests.server();
    let proxy = Tidegate::start(&from(&[&server], r#"["192.0.2.1", "127.0.0.45"]"#));
    let _sessions: Vec<_> = (0..4).map(|_| proxy.tunnel()).collect();
    assert_eq!(guests.of("127.0.0.45"), 4);
}
