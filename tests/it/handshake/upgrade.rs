//! The fields that ask for a WebSocket, and what may come before and after the 101.

use std::time::Duration;

use crate::support::backend::field;
use crate::support::frame::{BINARY, Frame};
use crate::support::{Backend, Request, Setup, Tidegate};

use super::Gate;

#[test]
fn a_key_that_is_not_16_bytes_of_base64_once_is_refused() {
    let up = Request::upgrade;
    let key = |value: &str| up().but(format!("Sec-WebSocket-Key: {value}"));
    Gate::new().refuses(
        400,
        &[
            ("no key", up().without("sec-websocket-key")),
            ("empty", key("")),
            ("15 bytes", key("AAAAAAAAAAAAAAAAAAAA")),
            ("17 bytes", key("AAAAAAAAAAAAAAAAAAAAAAA=")),
            ("not base64", key("!!!!IHNhbXBsZSBub25jZQ==")),
            ("no padding", key("dGhlIHNhbXBsZSBub25jZQ")),
            ("url alphabet", key("_-_-IHNhbXBsZSBub25jZQ==")),
            (
                "twice, equal",
                up().with("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            ),
            (
                "twice, different",
                up().with("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="),
            ),
        ],
    );
}

#[test]
fn white_space_around_a_good_key_does_not_matter() {
    let gate = Gate::new();
    let mut connection = gate.proxy.connect();
    let request = Request::upgrade().but("Sec-WebSocket-Key: \t dGhlIHNhbXBsZSBub25jZQ== \t");
    connection.send(request.bytes());
    let answer = connection.answer();
    assert_eq!(answer.status, 101);
    // The sample of RFC 6455 section 1.3.
    assert_eq!(
        answer.header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
}

#[test]
fn a_version_other_than_13_hears_426_and_13() {
    let gate = Gate::new();
    let rows = [
        "Sec-WebSocket-Version: 1337",
        "Sec-WebSocket-Version: 8",
        "X: no version",
    ];
    for row in rows {
        let request = Request::upgrade()
            .without("sec-websocket-version")
            .with(row);
        let answer = gate.proxy.send(request.bytes());
        assert_eq!(answer.status, 426, "{row}");
        assert_eq!(answer.header("sec-websocket-version"), Some("13"), "{row}");
    }
    assert_eq!(gate.echo.accepted(), 0);
}

#[test]
fn no_request_behind_a_refused_upgrade_reaches_a_backend_unchecked() {
    let gate = Gate::new();
    let mut connection = gate.proxy.connect();
    let mut bytes = Request::upgrade()
        .but("Sec-WebSocket-Version: 1337")
        .bytes();
    bytes.extend(Request::upgrade().without("host").bytes());
    connection.send(bytes);
    assert_eq!(connection.answer().status, 426);
    // What follows is read as a request of its own, or not at all.
    assert!(
        connection
            .read_answer()
            .is_none_or(|answer| answer.status == 400)
    );
    assert_eq!(gate.echo.accepted(), 0);
}

#[test]
fn websocket_asked_for_without_connection_upgrade_is_refused() {
    let up = Request::upgrade;
    Gate::new().refuses(
        400,
        &[
            ("no Connection", up().without("connection")),
            ("keep-alive only", up().but("Connection: keep-alive")),
            ("longer word", up().but("Connection: upgradex")),
            ("quoted", up().but("Connection: \"Upgrade\"")),
        ],
    );
}

#[test]
fn connection_lists_and_spellings_that_are_right_are_admitted() {
    let up = Request::upgrade;
    Gate::new().admits(&[
        ("a list", up().but("Connection: keep-alive, Upgrade")),
        (
            "two lines",
            up().but("Connection: keep-alive")
                .with("Connection: upgrade"),
        ),
        ("upper case", up().but("Connection: UPGRADE")),
        ("odd spelling of websocket", up().but("Upgrade: WebSocket")),
        ("empty list members", up().but("Connection: ,, Upgrade ,")),
        ("an empty body announced", up().with("Content-Length: 0")),
        (
            "HTTP names in any case",
            up().without("host").with("hOsT: a"),
        ),
    ]);
}

#[test]
fn garbage_in_connection_is_no_reason_to_fall_over() {
    let gate = Gate::new();
    let answer = gate.proxy.send(
        Request::upgrade()
            .but(b"Connection: Upgrade, \xff\xfe")
            .bytes(),
    );
    assert!([101, 400].contains(&answer.status), "{answer:?}");
    gate.still_works();
}

#[test]
fn only_websocket_of_an_upgrade_list_goes_on() {
    let gate = Gate::new();
    let request = Request::upgrade()
        .but("Upgrade: h2c, websocket")
        .but("Connection: Upgrade, HTTP2-Settings")
        .with("HTTP2-Settings: AAMAAABkAAQAAP__");
    gate.admits(&[("h2c too", request)]);
    let head = gate.echo.last_head();
    assert_eq!(field(&head, "upgrade"), Some("websocket"));
    assert_eq!(field(&head, "http2-settings"), None);
    assert!(!head.contains("h2c"), "{head}");
}

#[test]
fn any_other_method_hears_405_and_get() {
    let gate = Gate::new();
    for method in ["POST", "PUT", "OPTIONS", "HEAD", "DELETE"] {
        let mut connection = gate.proxy.connect();
        connection.send(
            Request::upgrade()
                .line(format!("{method} /ws HTTP/1.1"))
                .bytes(),
        );
        let head = connection.read_head().unwrap();
        assert!(head.starts_with("HTTP/1.1 405 "), "{method}: {head}");
        assert_eq!(field(&head, "allow"), Some("GET"), "{method}");
    }
    assert_eq!(gate.echo.accepted(), 0);
    gate.still_works();
}

#[test]
fn connect_and_trace_hear_405() {
    let gate = Gate::new();
    for line in ["CONNECT a:80 HTTP/1.1", "TRACE / HTTP/1.1"] {
        let answer = gate.proxy.send(Request::get("/").line(line).bytes());
        assert_eq!(answer.status, 405, "{line}");
    }
    assert_eq!(gate.echo.accepted(), 0);
}

#[test]
fn frames_that_come_before_the_101_wait_for_it() {
    let backend = Backend::script(|mut visit| {
        let head = visit.connection.read_head().unwrap();
        assert!(visit.connection.is_silent_for(Duration::from_millis(300)));
        visit
            .connection
            .send(crate::support::backend::switching_protocols(&head, ""));
        let frame = visit.connection.frame();
        visit
            .connection
            .send_frame(&Frame::server(BINARY, frame.payload));
        visit.hold();
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    let mut connection = proxy.connect();
    let mut bytes = Request::upgrade().bytes();
    bytes.extend(Frame::client(BINARY, "early").encode());
    connection.send(bytes);
    assert_eq!(connection.answer().status, 101);
    assert_eq!(connection.frame().payload, b"early");
}

#[test]
fn a_client_that_sends_megabytes_before_the_101_is_held_back() {
    let backend = Backend::silent();
    let setup = Setup::to(&[&backend]).with("upstream.echo", "handshake_timeout = \"2s\"");
    let proxy = Tidegate::start(&setup);
    let before = proxy.process().memory_kib();
    let mut connection = proxy.connect();
    connection.send(Request::upgrade().bytes());
    let socket = connection.tcp().try_clone().unwrap();
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let flood = vec![0; 64 << 20];
    assert!(connection.try_send(&flood).is_err(), "64 MiB were taken");
    assert!(proxy.process().memory_kib() < before + 4 * 1024);
    assert_eq!(connection.answer().status, 504);
    let received = backend.received(0);
    assert!(
        received.ends_with("\r\n\r\n"),
        "more than the head reached the backend"
    );
}

#[test]
fn expect_is_dropped_on_an_upgrade() {
    let gate = Gate::new();
    gate.admits(&[("expect", Request::upgrade().with("Expect: 100-continue"))]);
    assert_eq!(field(&gate.echo.last_head(), "expect"), None);
}

#[test]
fn a_request_instead_of_a_frame_after_the_101_is_a_protocol_error() {
    let gate = Gate::new();
    let mut tunnel = gate.proxy.tunnel();
    tunnel.send(Request::upgrade().bytes());
    assert_eq!(tunnel.frame().close_code(), Some(1002));
    gate.proxy.wait_for_metric(
        "tidegate_websockets_closed_total",
        &[("reason", "client_protocol_error")],
        1.0,
    );
}

#[test]
fn bad_handshakes_that_are_reset_leave_nothing_behind() {
    let gate = Gate::new();
    gate.still_works();
    let before = gate.proxy.process();
    let (descriptors, memory) = (before.descriptors(), before.memory_kib());
    for _ in 0..1_000 {
        let mut connection = gate.proxy.connect();
        connection.send(Request::upgrade().but("Sec-WebSocket-Key: x").bytes());
        connection.reset();
    }
    crate::support::wait::wait_until("descriptors back to base", || {
        gate.proxy.process().descriptors() <= descriptors
    });
    assert!(gate.proxy.process().memory_kib() < memory + 4 * 1024);
    gate.still_works();
}
