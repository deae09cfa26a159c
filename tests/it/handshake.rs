//! What a client has to send before a tunnel opens, and what it hears when it does not
//! (CONTRACT section 3, ATTACKS section A).

use std::time::Duration;

use crate::support::backend::field;
use crate::support::frame::{BINARY, Frame, TEXT};
use crate::support::{Backend, Echo, Request, Setup, Tidegate};

/// A proxy in front of a backend that would say yes to anything.
struct Gate {
    proxy: Tidegate,
    echo: Echo,
}

impl Gate {
    fn new() -> Self {
        let echo = Echo::start();
        Self {
            proxy: Tidegate::in_front_of(&[&echo]),
            echo,
        }
    }

    /// Sends each request on a connection of its own; each must be refused with this status, in
    /// one line, the connection closed, and no backend may hear of it.
    #[track_caller]
    fn refuses(&self, status: u16, rows: &[(&str, Request)]) {
        for (name, request) in rows {
            self.refuses_bytes(status, name, &request.bytes());
        }
        self.still_works();
    }

    #[track_caller]
    fn refuses_bytes(&self, status: u16, name: &str, bytes: &[u8]) {
        let before = self.echo.accepted();
        let mut connection = self.proxy.connect();
        connection.send(bytes);
        let answer = connection.read_answer();
        let answer = answer.unwrap_or_else(|| panic!("{name}: no answer"));
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        assert_eq!(
            answer.body.trim_end().lines().count(),
            1,
            "{name}: {answer:?}"
        );
        assert!(answer.header("server").is_none(), "{name}: {answer:?}");
        if status == 400 {
            assert!(answer.closes(), "{name}: {answer:?}");
            connection.expect_end();
        }
        assert_eq!(
            self.echo.accepted(),
            before,
            "{name}: a backend heard of it"
        );
    }

    /// Sends each request on a connection of its own; each must open a tunnel that echoes.
    #[track_caller]
    fn admits(&self, rows: &[(&str, Request)]) {
        for (name, request) in rows {
            let mut connection = self.proxy.connect();
            connection.send(request.bytes());
            let answer = connection.answer();
            assert_eq!(answer.status, 101, "{name}: {answer:?}");
            connection.send_frame(&Frame::client(TEXT, name));
            assert_eq!(connection.frame().text(), *name);
        }
    }

    #[track_caller]
    fn still_works(&self) {
        self.admits(&[("a good request", Request::upgrade())]);
    }
}

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
fn an_upgrade_that_announces_a_body_is_refused() {
    let up = Request::upgrade;
    Gate::new().refuses(
        400,
        &[
            ("a length", up().with("Content-Length: 35")),
            ("chunked", up().with("Transfer-Encoding: chunked")),
        ],
    );
}

#[test]
fn a_length_that_can_be_read_in_two_ways_is_refused() {
    let gate = Gate::new();
    let post = || Request::get("/").line("POST / HTTP/1.1");
    let length = |value: &str| post().with(format!("Content-Length: {value}"));
    let mut rows = vec![
        (
            "length and encoding",
            length("5").with("Transfer-Encoding: chunked"),
        ),
        (
            "encoding and length",
            post()
                .with("transfer-encoding: chunked")
                .with("content-length: 5"),
        ),
        ("two lengths", length("5").with("Content-Length: 6")),
        (
            "vertical tab",
            post().with("Transfer-Encoding: \x0bchunked"),
        ),
        (
            "no-break space",
            post().with(b"Transfer-Encoding: \xa0chunked"),
        ),
        (
            "space before the colon",
            post().with("Transfer-Encoding : chunked"),
        ),
        (
            "chunked twice",
            post().with("Transfer-Encoding: chunked, chunked"),
        ),
        (
            "not chunked last",
            post().with("Transfer-Encoding: chunked, gzip"),
        ),
        (
            "encoding in 1.0",
            post()
                .line("POST / HTTP/1.0")
                .with("Transfer-Encoding: chunked"),
        ),
    ];
    let bad = [
        "+5",
        "-1",
        "0x5",
        "5 5",
        "1e1",
        "",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999",
    ];
    rows.extend(bad.map(|value| (value, length(value))));
    gate.refuses(400, &rows);
}

#[test]
fn a_host_that_is_missing_doubled_or_malformed_is_refused() {
    let up = Request::upgrade;
    let mut rows = vec![
        ("none", up().without("host")),
        ("twice", up().with("Host: a")),
        ("HTTP/1.0", up().line("GET /ws HTTP/1.0")),
    ];
    let bad = [
        "", "a/b?c", "a,b", "a b", "a:99999", "[::1", "user@a", "a:b", "a\tb",
    ];
    rows.extend(bad.map(|host| (host, up().but(format!("Host: {host}")))));
    Gate::new().refuses(400, &rows);
}

#[test]
fn an_absolute_target_must_name_the_host_that_host_names() {
    let gate = Gate::new();
    gate.refuses(
        400,
        &[("evil", Request::upgrade().target("http://evil/ws"))],
    );
    gate.admits(&[("the same", Request::upgrade().target("http://a/ws"))]);
    assert!(gate.echo.last_head().starts_with("GET /ws HTTP/1.1\r\n"));
}

#[test]
fn a_target_that_is_not_a_clean_path_is_refused() {
    let rows: [(&str, &[u8]); 16] = [
        ("fragment", b"/ws#x"),
        ("control", b"/w\x01s"),
        ("high byte", b"/w\xc3\xa4"),
        ("star", b"*"),
        ("no slash", b"ws"),
        ("dot segments", b"/a/../ws"),
        ("one dot", b"/./ws"),
        ("encoded dots", b"/a/%2e%2e/ws"),
        ("dots and a semicolon", b"/a/..;/ws"),
        ("double slash", b"//ws"),
        ("backslash", b"/a\\ws"),
        ("encoded slash", b"/a%2fws"),
        ("encoded backslash", b"/a%5cws"),
        ("encoded NUL", b"/ws%00"),
        ("half an escape", b"/ws%4"),
        ("space", b"/w s"),
    ];
    let rows = rows.map(|(name, target)| (name, Request::upgrade().target(target)));
    Gate::new().refuses(400, &rows);
}

#[test]
fn an_escaped_unreserved_character_is_the_character() {
    let gate = Gate::new();
    gate.admits(&[("escaped", Request::upgrade().target("/%77s?q=%77"))]);
    let head = gate.echo.last_head();
    assert!(head.starts_with("GET /ws?q="), "{head}");
}

#[test]
fn what_is_no_http_is_refused_within_the_limits() {
    let gate = Gate::new();
    let rows: [(&str, Vec<u8>); 5] = [
        (
            "lower-case method",
            b"get / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ),
        ("h2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (
            "a TLS hello",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n".to_vec(),
        ),
        (
            "a folded field",
            b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n".to_vec(),
        ),
        (
            "white space first",
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ),
    ];
    for (name, bytes) in rows {
        gate.refuses_bytes(400, name, &bytes);
    }
    gate.still_works();
}

#[test]
fn a_head_beyond_its_limits_hears_431() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with(
        "listener.public",
        "max_header_bytes = \"4KiB\"\nmax_headers = 20",
    );
    let gate = Gate {
        proxy: Tidegate::start(&setup),
        echo,
    };
    let many = (0..20).fold(Request::upgrade(), |up, n| up.with(format!("X-{n}: y")));
    gate.refuses(
        431,
        &[
            (
                "a long field",
                Request::upgrade().with(format!("X: {}", "x".repeat(5_000))),
            ),
            ("many fields", many),
            (
                "a long target",
                Request::upgrade().target(format!("/{}", "x".repeat(5_000))),
            ),
            (
                "a very long target",
                Request::upgrade().target(format!("/{}", "x".repeat(400_000))),
            ),
        ],
    );
    gate.refuses_bytes(431, "no line end", &[b'x'; 100 * 1024]);
}

#[test]
fn a_head_within_its_limits_passes_in_any_segments() {
    let gate = Gate::new();
    let mut connection = gate.proxy.connect();
    connection.dribble(Request::upgrade().bytes());
    assert_eq!(connection.answer().status, 101);
}

#[test]
fn ten_thousand_subprotocols_pass_unchanged_or_not_at_all() {
    let gate = Gate::new();
    let list = (0..10_000)
        .map(|n| format!("p{n}"))
        .collect::<Vec<_>>()
        .join(",");
    let request = Request::upgrade().with(format!("Sec-WebSocket-Protocol: {list}"));
    let answer = gate.proxy.send(request.bytes());
    assert!([400, 431].contains(&answer.status), "{answer:?}");
    let rows = ["a,a", "a,,b", ",", "a b", "a=b", ""].map(|list| {
        (
            list,
            Request::upgrade().with(format!("Sec-WebSocket-Protocol: {list}")),
        )
    });
    for (list, request) in rows {
        let answer = gate.proxy.send(request.bytes());
        assert!([101, 400].contains(&answer.status), "{list}: {answer:?}");
    }
    gate.still_works();
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
fn no_route_is_404() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("[route]", "path = \"/ws\"\nhost = [\"a\"]");
    let proxy = Tidegate::start(&setup);
    for request in [
        Request::upgrade().target("/wsx"),
        Request::upgrade().target("/"),
        Request::upgrade().but("Host: b"),
    ] {
        assert_eq!(proxy.send(request.bytes()).status, 404);
    }
    for request in [
        Request::upgrade(),
        Request::upgrade().target("/ws/x").but("Host: A:1234"),
    ] {
        assert_eq!(proxy.send(request.bytes()).status, 101);
    }
}

#[test]
fn a_head_that_does_not_end_in_time_hears_408() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("listener.public", "header_timeout = \"300ms\"");
    let proxy = Tidegate::start(&setup);
    let mut silent = proxy.connect();
    let mut slow = proxy.connect();
    slow.send("GET / HTTP/1.1\r\nHost:");
    assert_eq!(slow.answer().status, 408);
    slow.expect_end();
    // One that never said a word may be closed without one.
    assert!(
        silent
            .read_answer()
            .is_none_or(|answer| answer.status == 408)
    );
    proxy.websocket("/").echo("others are served");
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
