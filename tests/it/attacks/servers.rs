//! Servers that lie, flap and drown (ATTACKS C, J).

use std::fmt::Display;
use std::time::Duration;

use super::{Calm, alone};
use crate::support::backend::switching_protocols;
use crate::support::frame::{CLOSE, Frame, TEXT};
use crate::support::stage::last_word;
use crate::support::wait::wait_until;
use crate::support::{Answer, Backend, Connection, Echo, Request, Setup, Tidegate};

fn switching(fields: &'static str) -> Backend {
    Backend::script(move |mut visit| {
        if let Some(head) = visit.connection.read_head() {
            visit.connection.send(switching_protocols(&head, fields));
            visit.hold();
        }
    })
}

/// Asks for compression as browsers do.
fn ask(proxy: &Tidegate, offer: &str) -> (Answer, Connection) {
    let mut connection = proxy.connect();
    let extensions = format!("Sec-WebSocket-Extensions: {offer}");
    connection.send(Request::upgrade().with(extensions).bytes());
    (connection.answer(), connection)
}

#[test]
fn compression_that_was_not_offered_so_is_no_agreement() {
    const BROWSER: &str = "permessage-deflate; client_max_window_bits";
    for (offer, selected, status) in [
        (BROWSER, "permessage-deflate", 101),
        (
            BROWSER,
            "permessage-deflate; server_no_context_takeover",
            101,
        ),
        (
            BROWSER,
            "permessage-deflate; client_max_window_bits=12",
            101,
        ),
        (BROWSER, "permessage-deflate; server_max_window_bits=7", 502),
        (
            BROWSER,
            "permessage-deflate; server_max_window_bits=16",
            502,
        ),
        (
            BROWSER,
            "permessage-deflate; server_max_window_bits=abc",
            502,
        ),
        (BROWSER, "permessage-deflate; server_max_window_bits", 502),
        (
            BROWSER,
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
            502,
        ),
        (BROWSER, "permessage-deflate, permessage-deflate", 502),
        (BROWSER, "permessage-deflate; unheard_of", 502),
        (BROWSER, "x-webkit-deflate-frame", 502),
        (
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits=10",
            502,
        ),
    ] {
        let fields = format!("Sec-WebSocket-Extensions: {selected}\r\n");
        let backend = switching(fields.leak());
        let (proxy, calm) = Calm::before(&Setup::to(&[&backend]));
        let (answer, connection) = ask(&proxy, offer);
        assert_eq!(answer.status, status, "{selected}: {answer:?}");
        connection.reset();
        calm.returns(&proxy);
    }
}

#[test]
fn an_ambiguous_answer_to_an_upgrade_is_a_502_for_the_client_the_log_and_the_metrics() {
    for line in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
    ] {
        let backend = Backend::answering(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\nhello"));
        let (proxy, calm) = Calm::before(&Setup::to(&[&backend]));
        let answer = proxy.send(Request::upgrade().bytes());
        assert_eq!(answer.status, 502, "{line}: {answer:?}");
        calm.returns(&proxy);
    }
}

#[test]
fn a_tunnel_stays_up_when_the_101_comes_before_the_request_is_quite_over() {
    let echo = Echo::start();
    let (proxy, calm) = Calm::before(&Setup::to(&[&echo]));
    let mut connection = proxy.connect();
    connection.dribble(Request::upgrade().with("Content-Length: 0").bytes());
    assert_eq!(connection.answer().status, 101);
    for text in ["one", "two"] {
        connection.send_frame(&Frame::client(TEXT, text));
        assert_eq!(connection.frame(), Frame::server(TEXT, text));
    }
    connection.send_frame(&Frame::client(CLOSE, 1000_u16.to_be_bytes()));
    assert_eq!(last_word(&mut connection), Some(1000));
    calm.returns(&proxy);
}

#[test]
fn a_server_that_resets_right_behind_its_101_is_gone_and_its_client_told() {
    let backend = Backend::accepting(|visit| visit.connection.reset());
    let (proxy, calm) = Calm::before(&Setup::to(&[&backend]));
    for _ in 0..20 {
        let mut connection = proxy.connect();
        connection.send(Request::upgrade().bytes());
        match connection.read_answer().map(|answer| answer.status) {
            Some(101) => assert_eq!(last_word(&mut connection), Some(1014)),
            // The reset overtook the 101 that was on its way.
            other => assert_eq!(other, Some(502)),
        }
    }
    calm.returns(&proxy);
}

#[test]
fn a_server_that_dies_and_returns_again_and_again_leaves_no_count_behind() {
    let mut echo = Echo::start();
    let address = echo.address();
    let setup = Setup::to(&[address.to_string()]).with(
        "upstream.echo",
        "balance = \"least_conn\"\nretries = 0\nconnect_timeout = \"1s\"",
    );
    let (proxy, calm) = Calm::before(&setup);
    for _ in 0..20 {
        let _live: Vec<_> = (0..5).map(|_| proxy.websocket("/")).collect();
        echo.kill();
        let answer = proxy.send(Request::upgrade().bytes());
        assert!([502, 503].contains(&answer.status), "{answer:?}");
        echo = Echo::at(address);
    }
    proxy.websocket("/").echo("for good");
    calm.returns(&proxy);
    let connections = proxy.metrics().sum("tidegate_server_connections", &[]);
    assert!(connections.abs() < f64::EPSILON, "{connections}");
}

fn checked(kind: &str, server: impl Display) -> Setup {
    alone()
        .with("upstream.echo", &format!("servers = [\"{server}\"]"))
        .with(
            "upstream.echo.health_check",
            &format!("type = \"{kind}\"\ninterval = \"100ms\"\ntimeout = \"1s\"\nfall = 1"),
        )
}

#[test]
fn a_check_is_bounded_in_time_and_memory_whatever_it_is_answered() {
    type Script = fn(&mut Connection);
    let endless_head: Script = |connection| {
        let line = format!("X-Filler: {}\r\n", "x".repeat(1000)).repeat(100);
        connection.send("HTTP/1.1 200 OK\r\n");
        while connection.try_send(&line).is_ok() {}
    };
    let byte_by_byte: Script = |connection| {
        for byte in b"HTTP/1.1 200 OK\r\n".iter().cycle() {
            if connection.try_send([*byte]).is_err() || connection.is_silent_for(PAUSE) {
                continue;
            }
            return;
        }
    };
    let endless_frames: Script = |connection| {
        let frame = Frame::server(TEXT, vec![b'x'; 60_000]).encode();
        while connection.try_send(&frame).is_ok() {}
    };
    for (kind, what, upgrades, script) in [
        ("http", "a head without end", false, endless_head),
        ("websocket", "a head without end", false, endless_head),
        ("http", "a byte now and then", false, byte_by_byte),
        (
            "websocket",
            "messages instead of a pong",
            true,
            endless_frames,
        ),
    ] {
        let backend = Backend::script(move |mut visit| {
            let Some(head) = visit.connection.read_head() else {
                return;
            };
            if upgrades {
                visit.connection.send(switching_protocols(&head, ""));
            }
            script(&mut visit.connection);
        });
        let (proxy, calm) = Calm::before(&checked(kind, &backend));
        let labels = [("result", "failed"), ("upstream", "echo")];
        wait_until(what, || {
            proxy.websocket("/calm").echo("meanwhile");
            let failed = proxy.metrics().sum("tidegate_health_checks_total", &labels);
            failed >= 3.0
        });
        let labels = [("upstream", "echo")];
        proxy.wait_for_metric("tidegate_server_up", &labels, 0.0);
        assert_eq!(proxy.send(Request::upgrade().bytes()).status, 503, "{what}");
        // Its checks go on, each with a descriptor of its own.
        let grown = proxy.process().memory_kib().saturating_sub(calm.memory_kib);
        assert!(grown < super::MOST_GROWTH_KIB, "{what}: {grown} KiB");
    }
}

#[test]
fn a_body_without_end_behind_a_good_check_is_left_alone() {
    let backend = Backend::script(|mut visit| {
        visit.connection.read_head();
        let length = 1_u64 << 30;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        visit.connection.send(head);
        let filler = vec![b'x'; 1 << 16];
        while visit.connection.try_send(&filler).is_ok() {}
    });
    let (proxy, calm) = Calm::before(&checked("http", &backend));
    let labels = [("result", "ok"), ("upstream", "echo")];
    wait_until("good checks", || {
        let good = proxy.metrics().sum("tidegate_health_checks_total", &labels);
        good >= 3.0
    });
    let grown = proxy.process().memory_kib().saturating_sub(calm.memory_kib);
    assert!(grown < super::MOST_GROWTH_KIB, "{grown} KiB");
}

/// Between two bytes of a server that takes its time.
const PAUSE: Duration = Duration::from_millis(50);
