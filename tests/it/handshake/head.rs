//! The head that they stand in: its host, its target, its limits, its time.

use crate::support::{Echo, Request, Setup, Tidegate};

use super::Gate;

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
