//! Active checks: who is asked, what counts as well, what follows (CONTRACT 2: `health_check`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::backend::switching_protocols;
use crate::support::wait::{stays_true, wait_until};
use crate::support::{Backend, Echo, Request, Setup, Tidegate};

fn checked<A: std::fmt::Display>(kind: &str, servers: &[A]) -> Setup {
    Setup::to(servers).with(
        "upstream.echo.health_check",
        &format!(
            "type = \"{kind}\"\npath = \"/health\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\n\
             rise = 2\nfall = 2"
        ),
    )
}

#[track_caller]
fn wait_for_state(proxy: &Tidegate, server: &str, up: bool) {
    let value = if up { 1.0 } else { 0.0 };
    proxy.wait_for_metric("tidegate_server_up", &[("server", server)], value);
}

#[test]
fn a_server_that_dies_gets_nothing_until_it_is_back() {
    for kind in ["tcp", "http", "websocket"] {
        let [dying, staying] = Echo::start_many::<2>();
        let proxy = Tidegate::start(&checked(kind, &[&dying, &staying]));
        let name = dying.to_string();
        wait_for_state(&proxy, &name, true);
        let address = dying.kill();
        wait_for_state(&proxy, &name, false);
        let tried = proxy.metrics().sum("tidegate_retries_total", &[]);
        for _ in 0..6 {
            assert_eq!(proxy.websocket("/").server(), staying.to_string(), "{kind}");
        }
        let retried = proxy.metrics().sum("tidegate_retries_total", &[]);
        assert!(
            (retried - tried).abs() < f64::EPSILON,
            "{kind}: a dead server was tried"
        );
        let _back = Echo::at(address);
        wait_for_state(&proxy, &name, true);
        let servers: Vec<_> = (0..2)
            .map(|_| proxy.websocket("/").server().to_owned())
            .collect();
        assert!(servers.contains(&name), "{kind}: {servers:?}");
    }
}

#[test]
fn with_all_servers_down_a_client_hears_503_at_once() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&checked("tcp", &[&echo]));
    let name = echo.to_string();
    let address = echo.kill();
    wait_for_state(&proxy, &name, false);
    let answer = proxy.send(Request::upgrade().bytes());
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let _back = Echo::at(address);
    wait_for_state(&proxy, &name, true);
    proxy.websocket("/").echo("welcome back");
}

/// Answers probes well or badly, as it is told; the script gets the head.
fn moody(bad: impl Fn(&str) -> String + Send + Sync + 'static) -> (Backend, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let mood = Arc::clone(&well);
    let backend = Backend::script(move |mut visit| {
        let Some(head) = visit.connection.read_head() else {
            return;
        };
        if !mood.load(Ordering::Acquire) {
            visit.connection.send(bad(&head));
            return visit.hold();
        }
        visit.connection.send(switching_protocols(&head, ""));
        while let Some(frame) = visit.connection.read_frame() {
            let opcode = if frame.opcode == 9 { 10 } else { frame.opcode };
            let answer = crate::support::frame::Frame {
                opcode,
                mask: None,
                ..frame
            };
            visit.connection.send_frame(&answer);
            if opcode == 8 {
                return;
            }
        }
    });
    (backend, well)
}

#[test]
fn a_websocket_check_is_a_whole_conversation() {
    type Lie = fn(&str) -> String;
    let lies: [(&str, Lie); 5] = [
        ("no WebSocket", |_| {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()
        }),
        ("a wrong Accept", |head| {
            switching_protocols(head, "").replace("Accept: ", "Accept: A")
        }),
        ("no pong", |head| switching_protocols(head, "")),
        ("garbage", |_| "\0\0\0\0".to_owned()),
        ("silence", |_| String::new()),
    ];
    for (name, lie) in lies {
        let (backend, well) = moody(lie);
        let proxy = Tidegate::start(&checked("websocket", &[&backend]));
        let server = backend.to_string();
        wait_until("two good checks", || {
            proxy
                .metrics()
                .sum("tidegate_health_checks_total", &[("result", "ok")])
                >= 2.0
        });
        assert!(
            backend.received(0).starts_with("GET /health HTTP/1.1\r\n"),
            "{name}"
        );
        well.store(false, Ordering::Release);
        wait_for_state(&proxy, &server, false);
        well.store(true, Ordering::Release);
        wait_for_state(&proxy, &server, true);
    }
}

#[test]
fn an_http_check_expects_a_2xx_or_a_3xx() {
    for (status, up) in [
        (200, true),
        (204, true),
        (302, true),
        (404, false),
        (500, false),
    ] {
        let backend =
            Backend::answering(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        let proxy = Tidegate::start(&checked("http", &[&backend]));
        let result = if up { "ok" } else { "failed" };
        wait_until("three checks", || {
            proxy
                .metrics()
                .sum("tidegate_health_checks_total", &[("result", result)])
                >= 3.0
        });
        wait_for_state(&proxy, &backend.to_string(), up);
    }
}

#[test]
fn live_connections_of_a_server_that_fails_are_kept_unless_told_otherwise() {
    let (backend, well) = moody(|_| String::new());
    let proxy = Tidegate::start(&checked("websocket", &[&backend]));
    let mut socket = proxy.websocket("/");
    well.store(false, Ordering::Release);
    wait_for_state(&proxy, &backend.to_string(), false);
    socket.echo("still here");
    assert_eq!(proxy.send(Request::upgrade().bytes()).status, 503);
}

#[test]
fn checks_leave_no_connection_behind() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&checked("websocket", &[&echo]));
    wait_until("ten checks", || echo.accepted() >= 10);
    stays_true(Duration::from_millis(300), "at most one check open", || {
        echo.open() <= 2
    });
    drop(proxy);
}

#[test]
fn every_address_of_a_name_is_a_server() {
    let echo = Echo::start();
    let port = echo.address().port();
    let proxy = Tidegate::in_front_of(&[format!("localhost:{port}")]);
    let mut socket = proxy.websocket("/");
    socket.echo("by name");
    let metrics = proxy.metrics();
    assert!(metrics.has("tidegate_server_up", &[("upstream", "echo")]));
    assert_eq!(socket.server(), format!("127.0.0.1:{port}"));
}
