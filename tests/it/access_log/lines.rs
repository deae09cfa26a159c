//! What the lines say: one for each request, two for each session.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::ends::post;
use crate::support::frame::{CLOSE, Frame, PING, PONG, TEXT};
use crate::support::wait::wait_until;
use crate::support::websocket::WebSocket;
use crate::support::{Backend, Echo, Request, Setup, Site};

use super::{Logged, lines, refusing_requests};

#[test]
fn a_session_has_a_line_at_its_open_and_one_at_its_close() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let mut socket = WebSocket::open(logged.proxy.connect(), "/ws/room?token=secret");
    let open = logged.wait_for("open");
    let expected = json!({
        "event": "open", "listener": "public", "route": "main", "upstream": "echo",
        "server": echo.to_string(), "client": "127.0.0.1", "user": null,
        "client_subject": null, "client_san": null, "method": "GET",
        "host": "example.test", "path": "/ws/room", "status": 101, "retries": 0,
        "duration_ms": null, "messages_to_backend": null, "messages_to_client": null,
        "bytes_to_backend": null, "bytes_to_client": null, "close_code": null,
        "close_from": null, "reason": null, "ping_rtt_ms": null,
        "ts": open["ts"], "id": open["id"], "handshake_ms": open["handshake_ms"],
    });
    assert_eq!(open, expected);
    assert!(
        open["id"].is_string() && open["handshake_ms"].as_f64() > Some(0.0),
        "{open}"
    );

    socket.echo("hello");
    socket.echo("again!");
    socket.close();
    let close = logged.wait_for("close");
    for (name, value) in open.as_object().unwrap() {
        assert!(
            value.is_null() || ["ts", "event"].contains(&name.as_str()) || close[name] == *value
        );
    }
    let carried = |name: &str| close[name].as_u64();
    assert_eq!(carried("messages_to_backend"), Some(2));
    assert_eq!(carried("messages_to_client"), Some(2));
    assert_eq!(carried("bytes_to_backend"), Some(11));
    assert_eq!(carried("bytes_to_client"), Some(11));
    assert_eq!(carried("close_code"), Some(1000));
    assert_eq!(close["close_from"], "client");
    assert_eq!(close["reason"], "client_close");
    assert!(close["duration_ms"].as_f64() > Some(0.0));
    assert!(close["ts"].as_str() >= open["ts"].as_str());
    assert_eq!(lines(&logged.log).len(), 2);
}

#[test]
fn a_close_line_says_who_closed_and_the_round_trip_of_the_last_ping() {
    let backend = Backend::accepting(|mut visit| {
        visit.connection.frame();
        visit
            .connection
            .send_frame(&Frame::server(CLOSE, Frame::close_payload(4321, "")));
        visit.hold();
    });
    let setup = Setup::to(&[&backend]).with("route.websocket", "ping_interval = \"50ms\"");
    let logged = Logged::start(setup);
    let mut tunnel = logged.proxy.tunnel();
    let ping = tunnel.frame();
    assert_eq!(ping.opcode, PING);
    tunnel.send_frame(&Frame::client(PONG, ping.payload));
    tunnel.send_frame(&Frame::client(TEXT, "close"));
    while tunnel.frame().close_code() != Some(4321) {}
    tunnel.send_frame(&Frame::client(CLOSE, Frame::close_payload(4321, "")));
    let close = logged.wait_for("close");
    assert_eq!(close["close_code"], 4321);
    assert_eq!(close["close_from"], "backend");
    assert_eq!(close["reason"], "backend_close");
    assert!(close["ping_rtt_ms"].as_f64() > Some(0.0), "{close}");
}

#[test]
fn a_session_that_the_end_of_the_process_cuts_has_its_line() {
    let echo = Echo::start();
    let mut logged = Logged::in_front_of(&echo);
    let _held = logged.proxy.tunnel();
    logged.wait_for("open");
    logged.proxy.signal(Signal::INT);
    assert!(logged.proxy.wait_for_exit().success());
    assert_eq!(logged.wait_for("close")["reason"], "shutdown");
}

#[test]
fn a_refused_upgrade_has_a_line_with_status_and_reason() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo])
        .with("[route]", "path = \"/ws\"")
        .with("route.access", "origins = [\"https://app.example\"]");
    for (request, status, reason, route) in [
        (Request::upgrade(), 403, "origin", json!("main")),
        (
            Request::upgrade().target("/other?token=x"),
            404,
            "no_route",
            Value::Null,
        ),
        (
            Request::upgrade().without("Host"),
            400,
            "malformed",
            Value::Null,
        ),
        (
            Request::get("/ws").line("TRACE /ws HTTP/1.1"),
            405,
            "method",
            Value::Null,
        ),
    ] {
        let logged = Logged::start(setup.clone());
        let line = logged.line_of(request.bytes(), status);
        assert_eq!(line["event"], "refused");
        assert_eq!(line["status"], status);
        assert_eq!(line["reason"], reason);
        assert_eq!(line["route"], route);
        assert_eq!(line["id"], Value::Null);
        assert!(line["path"] == "/ws" || line["path"] == "/other", "{line}");
        assert!(line["duration_ms"].is_f64());
    }
}

#[test]
fn a_failed_upgrade_names_the_last_server_and_counts_the_others() {
    let servers = [
        Backend::refusing(),
        Backend::refusing(),
        Backend::refusing(),
    ];
    let logged = Logged::start(Setup::to(&servers).with("upstream.echo", "retries = 1"));
    let line = logged.line_of(Request::upgrade().bytes(), 502);
    assert_eq!(line["event"], "refused");
    assert_eq!(line["reason"], "backend_unreachable");
    assert_eq!(line["upstream"], "echo");
    assert_eq!(line["retries"], 1);
    let tried = servers.map(|server| Value::from(server.to_string()));
    assert!(tried.contains(&line["server"]), "{line}");
}

#[test]
fn a_retried_session_says_how_often() {
    let (dead, echo) = (Backend::refusing(), Echo::start());
    let logged = Logged::start(Setup::to(&[dead.to_string(), echo.to_string()]));
    // Round robin begins at one of them: the second session meets the other first.
    logged.proxy.websocket("/").close();
    logged.proxy.websocket("/").close();
    let retried = || {
        let lines = lines(&logged.log);
        lines.into_iter().any(|line| {
            line["event"] == "close" && line["retries"] == 1 && line["server"] == echo.to_string()
        })
    };
    wait_until("a close line with a retry", retried);
}

#[test]
fn an_answer_of_the_backend_to_an_upgrade_is_a_refusal_of_its_own() {
    let backend = Backend::answering("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    let logged = Logged::start(Setup::to(&[&backend]));
    let line = logged.line_of(Request::upgrade().bytes(), 401);
    assert_eq!(line["event"], "refused");
    assert_eq!(line["reason"], "backend_status");
    assert_eq!(line["server"], backend.to_string());
}

#[test]
fn a_client_that_leaves_before_its_answer_has_a_line() {
    let backend = Backend::silent();
    let logged = Logged::start(Setup::to(&[&backend]));
    let mut client = logged.proxy.connect();
    client.send(Request::upgrade().bytes());
    wait_until("the handshake to reach the backend", || {
        backend.visits() == 1
    });
    drop(client);
    let line = logged.wait_for("refused");
    assert_eq!(line["reason"], "client_gone");
    assert_eq!(line["status"], Value::Null);
}

#[test]
fn a_plain_request_has_one_line() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).route_before("path = \"/gone\"\nrespond = 410");
    let logged = Logged::start(setup);
    let line = logged.line_of(Request::get("/gone/away?token=secret").bytes(), 410);
    assert_eq!(line["event"], "request");
    assert_eq!(line["status"], 410);
    assert_eq!(line["path"], "/gone/away");
    assert_eq!(line["reason"], Value::Null);
    assert_eq!(lines(&logged.log).len(), 1);
}

#[test]
fn a_proxied_request_has_one_line_with_its_bytes() {
    let site = Site::echo();
    let logged = Logged::start(Setup::to(&[&site]));
    let line = logged.line_of(
        post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        200,
    );
    assert_eq!(line["event"], "request");
    for (field, value) in [
        ("method", json!("POST")),
        ("status", json!(200)),
        ("bytes_to_backend", json!(5)),
        ("bytes_to_client", json!(5)),
        ("retries", json!(0)),
        ("reason", Value::Null),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(
        line["server"].is_string() && line["duration_ms"].is_number(),
        "{line}"
    );
}

#[test]
fn an_answer_that_breaks_off_has_a_line_with_the_reason() {
    let site = Site::start(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf".to_vec()
    });
    let logged = Logged::start(Setup::to(&[&site]));
    let mut client = logged.proxy.connect();
    client.send(Request::get("/").bytes());
    let line = logged.wait_for("request");
    assert_eq!(line["reason"], "backend_gone");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes_to_client"], 4);
}

#[test]
fn a_head_that_is_no_http_has_a_line_with_what_is_known() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let line = logged.line_of("\x16\x03\x01 nonsense\r\n\r\n", 400);
    assert_eq!(line["event"], "refused");
    assert_eq!(line["reason"], "malformed");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["path"], Value::Null);
}

/// ATTACKS L10, L14.
#[test]
fn whatever_a_client_sends_is_one_valid_line_without_its_token() {
    let hostile: [&[u8]; 6] = [
        b"/\"quote\\back\\\"",
        b"/\xff\xfe\x80bad",
        b"/\xe2\x80\xaegpj.exe",
        b"/<script>alert(1)</script>",
        b"/ws#token=secret",
        b"/ws?token=secret\"\\",
    ];
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    for target in hostile {
        for request in [
            Request::upgrade().target(target),
            Request::upgrade().target(target).but("Host: a\"\\<b>"),
            Request::upgrade()
                .target(target)
                .but([b"Host: ".as_slice(), b"\x80\xff"].concat()),
            Request::upgrade()
                .target(target)
                .with("User-Agent: \"\\x\t{}<script>"),
        ] {
            let before = lines(&logged.log).len();
            logged.proxy.send(request.bytes());
            wait_until("a line more", || lines(&logged.log).len() > before);
        }
    }
    let text = fs::read_to_string(&logged.log).unwrap();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_long_path_is_cut_and_marked() {
    let echo = Echo::start();
    let logged = Logged::start(refusing_requests(&echo));
    let path = format!("/{}", "x".repeat(8_000));
    let line = logged.line_of(Request::get(&path).bytes(), 426);
    assert_eq!(line["path"], format!("{}…", &path[..1024]));
}

#[test]
fn requests_on_one_connection_have_a_line_each() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).route_before("path = \"/gone\"\nrespond = 410");
    let logged = Logged::start(setup);
    let mut client = logged.proxy.connect();
    for _ in 0..3 {
        client.send(Request::get("/gone").bytes());
        assert_eq!(client.answer().status, 410);
    }
    wait_until("three lines", || lines(&logged.log).len() == 3);
}
