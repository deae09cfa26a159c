//! Bodies as they pass: piece by piece, both ways at once, in bounded memory (ATTACKS B19, G).

use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::support::ends::{fill, post};
use crate::support::site::answer;
use crate::support::{Connection, Ends, Request, Setup, Site, Tidegate};

/// ATTACKS B19.
#[test]
fn each_event_passes_before_the_next_one_is_sent() {
    let ends = Ends::with("");
    for framing in ["Transfer-Encoding: chunked\r\n", ""] {
        let (mut client, mut server, _) = ends.sent(Request::get("/events").bytes());
        server.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{framing}\r\n"
        ));
        let head = client.read_head().unwrap().to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        for number in 0..20 {
            let event = format!("data: {number:4}\n\n");
            if framing.is_empty() {
                server.send(&event);
            } else {
                server.send(format!("{:x}\r\n{event}\r\n", event.len()));
            }
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            let came = client.read_exactly(chunk.len());
            assert_eq!(String::from_utf8_lossy(&came), chunk);
        }
    }
}

/// ATTACKS B19.
#[test]
fn slow_bytes_are_no_silence() {
    let ends = Ends::with("body_timeout = \"400ms\"\nsend_timeout = \"400ms\"");
    let (mut client, mut server, _) = ends.sent(post("Content-Length: 10", ""));
    for _ in 0..10 {
        assert!(client.is_silent_for(Duration::from_millis(100)));
        client.send("x");
        server.read_exactly(1);
    }
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n");
    client.read_head().unwrap();
    for _ in 0..10 {
        assert!(client.is_silent_for(Duration::from_millis(100)));
        server.send("y");
        client.read_exactly(1);
    }
}

#[test]
fn each_piece_of_a_request_passes_before_the_next_one_is_sent() {
    let ends = Ends::with("");
    let (mut client, mut server, _) = ends.sent(post("Transfer-Encoding: chunked", ""));
    for piece in ["one", "two", "three"] {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        client.send(&chunk);
        let came = server.read_exactly(chunk.len());
        assert_eq!(String::from_utf8_lossy(&came).to_ascii_lowercase(), chunk);
    }
    client.send("0\r\n\r\n");
    server.read_exactly(5);
    server.send(answer("", "whole"));
    assert_eq!(client.answer().body, "whole");
}

#[test]
fn request_and_answer_flow_at_the_same_time() {
    const BYTES: usize = 64 << 20;
    // Answers all but a byte while it reads, as an echo does, to a client that writes all the while.
    let ends = Ends::with("max_body = \"off\"");
    let (mut client, mut server, _) = ends.sent(post(&format!("Content-Length: {BYTES}"), ""));
    server.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    client.read_head().unwrap();
    let mut sink = Connection::over(server.tcp().try_clone().unwrap());
    let reading = thread::spawn(move || sink.read_exactly(BYTES).len());
    let mut source = Connection::over(client.tcp().try_clone().unwrap());
    let sending = thread::spawn(move || source.try_send(vec![b'q'; BYTES]));
    let answering = thread::spawn(move || {
        server.try_send(vec![b'a'; BYTES - 1]).unwrap();
        server
    });
    assert_eq!(client.read_exactly(BYTES - 1).len(), BYTES - 1);
    sending.join().unwrap().unwrap();
    assert_eq!(reading.join().unwrap(), BYTES);
    answering.join().unwrap().send("a");
    client.read_exactly(1);
}

#[test]
fn large_bodies_pass_in_bounded_memory() {
    const BYTES: usize = 256 << 20;
    let ends = Ends::with("max_body = \"off\"");
    let before = ends.proxy.process().memory_kib();
    let (mut client, mut server, _) = ends.sent(post(&format!("Content-Length: {BYTES}"), ""));
    let sending = thread::spawn(move || {
        for _ in 0..BYTES >> 20 {
            client.try_send(vec![b'q'; 1 << 20]).unwrap();
        }
        client
    });
    let taken = std::io::copy(&mut (&mut server).take(BYTES as u64), &mut std::io::sink());
    assert_eq!(taken.unwrap(), BYTES as u64);
    let mut client = sending.join().unwrap();
    server.send(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n"
    ));
    let answering = thread::spawn(move || {
        for _ in 0..BYTES >> 20 {
            server.try_send(vec![b'a'; 1 << 20]).unwrap();
        }
    });
    client.read_head().unwrap();
    let taken = std::io::copy(&mut (&mut client).take(BYTES as u64), &mut std::io::sink());
    assert_eq!(taken.unwrap(), BYTES as u64);
    answering.join().unwrap();
    let grown = ends.proxy.process().memory_kib().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn a_server_that_takes_nothing_stalls_the_client() {
    let ends = Ends::with("max_body = \"off\"");
    let (client, _server, _) = ends.sent(post("Content-Length: 1000000000", ""));
    let before = ends.proxy.process().memory_kib();
    fill(&client);
    let grown = ends.proxy.process().memory_kib().saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
}

#[test]
fn a_client_that_waits_for_100_hears_it_when_its_body_is_wanted() {
    let ends = Ends::with("");
    let wire = post("Content-Length: 5\r\nExpect: 100-continue", "");
    let (mut client, mut server, head) = ends.sent(wire);
    assert!(!head.to_ascii_lowercase().contains("expect"), "{head}");
    assert_eq!(client.read_head().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    assert_eq!(server.read_exactly(5), b"hello");
    server.send(answer("", "thanks"));
    assert_eq!(client.answer().body, "thanks");
}

#[test]
fn a_client_that_waits_for_100_hears_a_refusal_instead() {
    let site = Site::echo();
    let setup = Setup::to(&[&site])
        .with("route.http", "max_body = 10")
        .route_before("path = \"/none\"\nupstream = \"none\"")
        .route_before(
            "path = \"/kept-out\"\nupstream = \"echo\"\n[route.access]\ndeny = [\"127.0.0.1\"]",
        )
        .with("upstream.none", "servers = [\"127.0.0.1:1\"]");
    let proxy = Tidegate::start(&setup);
    for (path, length, status) in [("/", 11, 413), ("/none", 5, 502), ("/kept-out", 5, 403)] {
        let mut client = proxy.connect();
        let request = Request::get("/")
            .line(format!("POST {path} HTTP/1.1"))
            .with(format!("Content-Length: {length}"))
            .with("Expect: 100-continue");
        client.send(request.bytes());
        let reply = client.answer();
        assert_eq!((reply.status, reply.closes()), (status, true), "{path}");
        client.expect_end();
    }
    assert!(site.asked().is_empty());
}

#[test]
fn a_body_that_came_along_needs_no_100_and_http_1_0_hears_none() {
    let site = Site::echo();
    let proxy = Tidegate::in_front_of(&[&site]);
    let reply = proxy.send(post("Content-Length: 5\r\nExpect: 100-continue", "hello"));
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    let mut client = proxy.connect();
    let head = Request::get("/")
        .line("POST / HTTP/1.0")
        .with("Expect: 100-continue")
        .with("Content-Length: 5");
    client.send(head.bytes());
    client.send("hello");
    assert_eq!(client.answer().body, "hello");
}

/// RFC 9110 section 6.5.1, ATTACKS B08.
#[test]
fn trailers_pass_both_ways_but_for_those_that_would_fool_somebody() {
    let ends = Ends::with("");
    let (mut client, mut server, head) = ends.sent(post(
        "Transfer-Encoding: chunked\r\nTrailer: X-Sum, Host, Content-Length",
        "2\r\nhi\r\n0\r\nX-Sum: 9\r\nHost: evil\r\nContent-Length: 3\r\nAuthorization: x\r\n\r\n",
    ));
    assert!(
        head.to_ascii_lowercase().contains("\r\ntrailer: x-sum\r\n"),
        "{head}"
    );
    let rest = server.read_until("\r\n\r\n").to_ascii_lowercase();
    assert_eq!(rest, "2\r\nhi\r\n0\r\nx-sum: 9\r\n\r\n");
    server.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n\
         2\r\nok\r\n0\r\nX-End: 1\r\nSet-Cookie: evil\r\nTransfer-Encoding: x\r\n\r\n",
    );
    client.read_head().unwrap();
    let rest = client.read_until("\r\n\r\n").to_ascii_lowercase();
    assert_eq!(rest, "2\r\nok\r\n0\r\nx-end: 1\r\n\r\n");
}

/// RFC 9110 section 15.2, ATTACKS C11.
#[test]
fn interim_answers_pass_but_for_100_and_to_http_1_0() {
    const HINT: &str = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let ends = Ends::with("");
    for version in ["1.0", "1.1"] {
        let get = Request::get("/").line(format!("GET / HTTP/{version}"));
        let (mut client, mut server, _) = ends.sent(get.bytes());
        server.send(["HTTP/1.1 100 Continue\r\n\r\n", HINT].concat());
        if version == "1.1" {
            let hint = client.read_head().unwrap();
            assert_eq!(hint.to_ascii_lowercase(), HINT.to_ascii_lowercase());
        } else {
            assert!(client.is_silent_for(Duration::from_millis(100)));
        }
        server.send(answer("Connection: close\r\n", "at last"));
        let reply = client.answer();
        assert_eq!((reply.status, reply.body.as_str()), (200, "at last"));
    }
}

/// ATTACKS C11.
#[test]
fn interim_answers_without_end_are_a_502() {
    let ends = Ends::with("");
    let hint = "HTTP/1.1 102 Processing\r\n\r\n";
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    server.send(hint.repeat(1000));
    loop {
        let head = client.read_head().unwrap();
        if !head.starts_with("HTTP/1.1 102 ") {
            assert!(head.starts_with("HTTP/1.1 502 "), "{head}");
            break;
        }
    }
    server.read_to_end();
}
