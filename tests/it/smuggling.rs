//! Requests that two parsers could read differently: each is a 400 and the end of its connection,
//! and nothing of it reaches a server (ATTACKS B).

use crate::support::wait::wait_until;
use crate::support::{Connection, Ends, Request, Site, Tidegate};

/// A POST whose head has these lines, with bytes behind it that would be a request of their own.
fn smuggler(lines: &[&[u8]], body: &str) -> Vec<u8> {
    let mut head = Request::get("/").line("POST / HTTP/1.1");
    for line in lines {
        head = head.with(line);
    }
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    [head.bytes(), body.into(), hidden.into()].concat()
}

/// Sends `wire` to a proxy of its own and expects 400, the end, and no request at the server.
#[track_caller]
fn refused(proxy: &Tidegate, site: &Site, wire: &[u8]) {
    let shown = wire.escape_ascii();
    let mut client = proxy.connect();
    client.send(wire);
    let reply = client.answer();
    assert_eq!(reply.status, 400, "{shown}");
    assert!(reply.closes(), "{shown}");
    client.expect_end();
    assert!(site.asked().is_empty(), "{shown}: {:?}", site.asked());
}

/// ATTACKS B01, B02, B04, B05.
#[test]
fn a_length_that_is_ambiguous_reaches_no_server() {
    let site = Site::hello();
    let proxy = Tidegate::in_front_of(&[&site]);
    let rows: &[&[&[u8]]] = &[
        &[b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        &[b"Transfer-Encoding: chunked", b"Content-Length: 5"],
        &[b"transfer-encoding: CHUNKED", b"content-length: 0"],
        &[b"Content-Length: 5", b"Content-Length: 6"],
        &[b"Content-Length: 5", b"Content-Length: 5"],
        &[b"Content-Length: 5, 5"],
        &[b"Content-Length: +5"],
        &[b"Content-Length: -1"],
        &[b"Content-Length: 0x5"],
        &[b"Content-Length: 5 5"],
        &[b"Content-Length: 1e1"],
        &[b"Content-Length:"],
        &[b"Content-Length: 9223372036854775808"],
        &[b"Content-Length: 18446744073709551616"],
        &[b"Content-Length: 99999999999999999999"],
        &[b"Content_Length: 5"],
        &[b"Transfer-Encoding: \x0bchunked"],
        &[b"Transfer-Encoding: \xa0chunked"],
        &[b"Transfer-Encoding: chunked, chunked"],
        &[b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        &[
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: identity",
        ],
        &[b"Transfer-Encoding: gzip, chunked"],
        &[b"Transfer-Encoding: identity"],
        &[b"Transfer-Encoding: xchunked"],
        &[b"Transfer-Encoding: \"chunked\""],
        &[b"Transfer-Encoding: chunked;q=1"],
        &[b"Transfer-Encoding:"],
        &[b"Transfer_Encoding: chunked"],
        &[b"Transfer-Encoding : chunked"],
        &[b"X: a\r\n Transfer-Encoding: chunked"],
        &[b"Transfer-Encoding:\r\n chunked"],
        &[b"X: a\nContent-Length: 5"],
        &[b"X: a\rContent-Length: 5"],
        &[b"X: a\0b"],
    ];
    for lines in rows {
        refused(&proxy, &site, &smuggler(lines, "5\r\nhello\r\n0\r\n\r\n"));
    }
    let old = Request::get("/")
        .line("POST / HTTP/1.0")
        .with("Transfer-Encoding: chunked")
        .bytes();
    refused(&proxy, &site, &old);
}

/// ATTACKS B07, B08: the head is in order, so a server may have seen it; never the end of the
/// body, nor what follows.
#[test]
fn a_chunk_that_is_malformed_is_400_and_ends_the_servers_connection() {
    let flood = "1\r\nx\r\n".to_owned() + "5;" + &"x".repeat(17 * 1024);
    let trailers = "0\r\n".to_owned() + &"a: b\r\n".repeat(10_000);
    let many = "0\r\n".to_owned() + &"a: b\r\n".repeat(65) + "\r\n";
    let rows: &[&str] = &[
        "5;\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\0\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhelloxx\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        "5\r\nhello\r\n0\r\n folded: x\r\n\r\n",
        "5\r\nhello\r\n0\r\na: b\nc: d\r\n\r\n",
        &flood,
        &trailers,
        &many,
    ];
    let ends = Ends::with("");
    for body in rows {
        let row = &body[..body.len().min(60)];
        let (mut client, mut server, _) =
            ends.sent(smuggler(&[b"Transfer-Encoding: chunked"], body));
        let reply = client.answer();
        assert_eq!(reply.status, 400, "{row:?}: {reply:?}");
        assert!(reply.closes(), "{row:?}");
        client.expect_end();
        let rest = String::from_utf8_lossy(&server.read_to_end()).into_owned();
        assert!(
            !rest.contains("0\r\n\r\n"),
            "{row:?} was completed: {rest:?}"
        );
        assert!(!rest.contains("hidden"), "{row:?}: {rest:?}");
    }
}

/// ATTACKS B10.
#[test]
fn what_is_no_request_reaches_no_server() {
    let site = Site::hello();
    let proxy = Tidegate::in_front_of(&[&site]);
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for wire in [
        "\r\n".repeat(1_000) + get,
        get.replace("GET", "get"),
        get.replace("GET", &"G".repeat(10_000)),
        get.replace("HTTP/1.1", "HTTP/1.2"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        get.replace("GET /", "GET /a b"),
        get.replace("GET /", "GET /a#b"),
        get.replace("GET /", "GET //evil"),
        get.replace("GET /", "GET /a/../b"),
        get.replace("GET /", "GET /%2e%2e/b"),
        get.replace("GET /", "GET http://evil/"),
        get.replace("Host: a", "Host: a\r\nHost: a"),
        get.replace("Host: a\r\n", ""),
        get.replace("Host: a", "Host: a, b"),
    ] {
        refused(&proxy, &site, wire.as_bytes());
    }
    let mut client = proxy.connect();
    client.send([b'A'; 100 * 1024]);
    assert!(matches!(client.answer().status, 400 | 431));
    assert!(site.asked().is_empty());
}

/// ATTACKS B13.
#[test]
fn connect_and_trace_are_405_and_a_target_without_path_meets_no_route() {
    let site = Site::hello();
    let proxy = Tidegate::in_front_of(&[&site]);
    for (line, status) in [
        ("CONNECT a:80 HTTP/1.1", 405),
        ("TRACE / HTTP/1.1", 405),
        ("OPTIONS * HTTP/1.1", 404),
    ] {
        let reply = proxy.send(Request::get("/").line(line).bytes());
        assert_eq!(reply.status, status, "{line}");
    }
    assert!(site.asked().is_empty());
}

/// ATTACKS A14: what follows a body is a request of its own and meets the rules as one.
#[test]
fn a_request_behind_a_body_meets_the_rules_of_its_own_path() {
    let site = Site::hello();
    let setup =
        crate::support::Setup::to(&[&site]).route_before("path = \"/secret\"\nrespond = 403");
    let proxy = Tidegate::start(&setup);
    let mut client = proxy.connect();
    let mut wire = Request::get("/")
        .line("POST / HTTP/1.1")
        .with("Content-Length: 2")
        .bytes();
    wire.extend(b"hi");
    wire.extend(Request::get("/secret/x").bytes());
    client.send(wire);
    assert_eq!(client.answer().status, 200);
    assert_eq!(client.answer().status, 403);
    assert_eq!(site.asked().len(), 1);
}

/// ATTACKS B14: one byte per segment is the same request.
#[test]
fn a_request_may_come_byte_by_byte() {
    let site = Site::echo();
    let proxy = Tidegate::in_front_of(&[&site]);
    let mut client: Connection = proxy.connect();
    let head = Request::get("/")
        .line("POST / HTTP/1.1")
        .with("Transfer-Encoding: chunked")
        .bytes();
    client.dribble(
        [
            &head[..],
            b"3;x=\"y;\"\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
        ]
        .concat(),
    );
    assert_eq!(client.answer().body, "abcde");
    wait_until("one request", || site.asked().len() == 1);
    assert_eq!(site.asked()[0].body, b"abcde");
}
