//! Clients that leave or stall, servers that lie, stall or vanish: what becomes of a plain request
//! (CONTRACT sections 2 and 3, ATTACKS B, C, G, J).

use std::time::Duration;

use rustix::process::Signal;

use crate::support::ends::{fill, post};
use crate::support::site::answer;
use crate::support::wait::wait_until;
use crate::support::{Backend, Ends, Request, Setup, Site, Tidegate};

#[test]
fn a_body_that_says_it_is_too_large_is_413_before_a_server_is_asked() {
    let site = Site::echo();
    let proxy = Tidegate::start(&Setup::to(&[&site]).with("route.http", "max_body = 10"));
    let reply = proxy.send(post("Content-Length: 11", "hello"));
    assert_eq!((reply.status, reply.closes()), (413, true));
    assert_eq!(site.visits(), 0);
    let reply = proxy.send(post("Content-Length: 10", "0123456789"));
    assert_eq!((reply.status, reply.body.as_str()), (200, "0123456789"));
}

#[test]
fn a_body_that_grows_too_large_is_413_and_cuts_the_servers_connection() {
    let ends = Ends::with("max_body = 10");
    let (mut client, mut server, _) = ends.sent(post(
        "Transfer-Encoding: chunked",
        "a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n",
    ));
    let reply = client.answer();
    assert_eq!((reply.status, reply.closes()), (413, true));
    let rest = String::from_utf8_lossy(&server.read_to_end()).into_owned();
    assert!(!rest.ends_with("0\r\n\r\n"), "{rest:?}");
    ends.counted("413", 1.0);
}

/// ATTACKS B11.
#[test]
fn silence_inside_a_body_is_408_and_cuts_the_servers_connection() {
    let ends = Ends::with("body_timeout = \"150ms\"");
    for (line, begun) in [
        ("Content-Length: 10", ""),
        ("Content-Length: 10", "half"),
        ("Transfer-Encoding: chunked", "5\r\nhal"),
    ] {
        let (mut client, mut server, _) = ends.sent(post(line, begun));
        let reply = client.answer();
        assert_eq!(
            (reply.status, reply.closes()),
            (408, true),
            "{line} {begun}"
        );
        let rest = String::from_utf8_lossy(&server.read_to_end()).into_owned();
        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
    }
    ends.counted("408", 3.0);
}

#[test]
fn a_client_that_leaves_takes_its_request_with_it() {
    let ends = Ends::with("");
    let leaving: [(Vec<u8>, bool); 5] = [
        (Request::get("/").bytes(), false),
        (Request::get("/").bytes(), true),
        (post("Content-Length: 10", "half"), false),
        (post("Content-Length: 10", "half"), true),
        (post("Transfer-Encoding: chunked", "4\r\nhalf\r\n"), false),
    ];
    for (wire, resets) in leaving {
        let (client, mut server, _) = ends.sent(&wire);
        if resets {
            client.reset();
        } else {
            drop(client);
        }
        let rest = String::from_utf8_lossy(&server.read_to_end()).into_owned();
        assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
    }
    ends.counted("499", 5.0);
}

#[test]
fn a_client_that_leaves_inside_its_answer_ends_the_servers_connection() {
    let ends = Ends::with("");
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    client.read_head().unwrap();
    drop(client);
    server.expect_end();
    ends.counted("200", 1.0);
}

#[test]
fn an_answer_before_the_end_of_the_body_comes_at_once_and_ends_the_connection() {
    let ends = Ends::with("");
    let (mut client, mut server, _) = ends.sent(post("Content-Length: 1000000", "begun"));
    server.send(answer("", "enough"));
    let reply = client.answer();
    assert_eq!((reply.status, reply.body.as_str()), (200, "enough"));
    assert!(reply.closes());
    client.expect_end();
    server.read_to_end();
}

#[test]
fn a_body_that_turns_bad_inside_its_answer_cuts_the_answer() {
    let ends = Ends::with("max_body = 10");
    let (mut client, mut server, _) = ends.sent(post("Transfer-Encoding: chunked", "1\r\nx\r\n"));
    server.read_until("1\r\nx\r\n");
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegun\r\n");
    client.read_until("begun\r\n");
    client.send("a\r\n0123456789\r\n0\r\n\r\n");
    client.expect_end();
    let rest = String::from_utf8_lossy(&server.read_to_end()).into_owned();
    assert!(!rest.contains("0\r\n\r\n"), "{rest:?}");
    ends.counted("200", 1.0);
}

#[test]
fn a_server_that_stops_reading_a_body_holds_no_connection_behind_its_answer() {
    let ends = Ends::with("max_body = \"off\"");
    let idle = ends.proxy.process().descriptors();
    let (mut client, mut server, _) = ends.sent(post("Content-Length: 1000000000", ""));
    fill(&client);
    server.send(answer("", "enough"));
    assert_eq!(client.answer().status, 200);
    drop(client);
    wait_until("both connections are gone", || {
        ends.proxy.process().descriptors() <= idle
    });
}

#[test]
fn a_server_that_does_not_answer_in_time_is_a_504() {
    let ends = Ends::of(|setup| {
        setup
            .with("route.http", "response_timeout = \"200ms\"")
            .with("upstream.echo", "retries = 0")
    });
    for wire in [Request::get("/").bytes(), post("Content-Length: 2", "hi")] {
        let (mut client, mut server, _) = ends.sent(wire);
        assert_eq!(client.answer().status, 504);
        server.read_to_end();
    }
    ends.counted("504", 2.0);
    // The time runs from the end of the request.
    let (mut client, mut server, _) = ends.sent(post("Content-Length: 2", "h"));
    assert!(client.is_silent_for(Duration::from_millis(400)));
    client.send("i");
    server.read_exactly(2);
    server.send(answer("", "in time"));
    assert_eq!(client.answer().body, "in time");
}

/// ATTACKS B16, B17, C05.
#[test]
fn an_answer_that_is_no_http_or_ambiguous_is_a_502_and_not_asked_for_again() {
    let flood = "HTTP/1.1 200 OK\r\n".to_owned() + &"X: y\r\n".repeat(201) + "\r\n";
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(40_000));
    let rows = [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "\x15\x03\x01\x00\x02\x02\x28",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        &flood,
        &large,
    ];
    let other = Site::hello();
    for row in rows {
        let row = row.to_owned();
        let shown = row[..row.len().min(80)].to_owned();
        let liar = Backend::answering(row);
        let setup = Setup::to(&[&liar])
            .with(
                "upstream.echo",
                &format!("servers = [\"{liar}\", {{ address = \"{other}\", backup = true }}]"),
            )
            .with("upstream.echo.passive", "failures = 0");
        let proxy = Tidegate::start(&setup);
        for wire in [Request::get("/").bytes(), post("Content-Length: 2", "hi")] {
            let reply = proxy.send(wire);
            assert_eq!(reply.status, 502, "{shown:?}: {reply:?}");
            assert!(!reply.body.contains("127.0.0.1"), "{shown:?}: {reply:?}");
        }
        assert_eq!(liar.visits(), 2, "{shown:?}: its connection was used again");
    }
    assert_eq!(other.visits(), 0);
}

#[test]
fn a_body_that_breaks_off_never_looks_whole() {
    let rows = [
        ("Content-Length: 10", ""),
        ("Transfer-Encoding: chunked", ""),
        ("Content-Length: 10", "half"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked", "5\r\nhalf"),
        ("Transfer-Encoding: chunked", "4\r\nhalf\r\nnot a size\r\n"),
        ("Transfer-Encoding: chunked", "4\r\nhalfx\r\n0\r\n\r\n"),
    ];
    for version in ["1.0", "1.1"] {
        for (line, body) in rows {
            let site = Site::start(move |_| {
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{line}\r\n\r\n{body}").into()
            });
            let proxy = Tidegate::in_front_of(&[&site]);
            let mut client = proxy.connect();
            let get = Request::get("/").line(format!("GET / HTTP/{version}"));
            client.send(get.bytes());
            let head = client.read_head().unwrap();
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            let mut rest = Vec::new();
            let end = std::io::Read::read_to_end(&mut client, &mut rest);
            let rest = String::from_utf8_lossy(&rest);
            assert!(
                !rest.ends_with("0\r\n\r\n"),
                "{version} {line} {body:?}: {rest:?}"
            );
            let lengthless = !head.to_ascii_lowercase().contains("content-length")
                && !head.to_ascii_lowercase().contains("transfer-encoding");
            assert!(
                !lengthless || end.is_err(),
                "{version} {line} {body:?} ended in order: {rest:?}"
            );
        }
    }
}

#[test]
fn silence_inside_an_answer_cuts_it() {
    let ends = Ends::with("body_timeout = \"200ms\"");
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    server.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    client.read_head().unwrap();
    let rest = client.read_to_end();
    assert_eq!(String::from_utf8_lossy(&rest), "4\r\nhalf\r\n");
    server.read_to_end();
}

/// ATTACKS G04.
#[test]
fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let ends = Ends::with("send_timeout = \"300ms\"");
    let (client, mut server, _) = ends.sent(Request::get("/").bytes());
    server.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
    // Until the proxy hangs up: more than all buffers on the way hold.
    let block = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while server.try_send(&block).is_ok() {
        sent += block.len();
        assert!(
            sent < 500 << 20,
            "it was taken for a client that reads nothing"
        );
    }
    assert!(ends.proxy.process().memory_kib() < 200 << 10);
    drop(client);
}

/// CONTRACT section 2, `retries`.
#[test]
fn a_server_that_can_not_be_reached_is_replaced_whatever_the_method() {
    let site = Site::echo();
    let gone = Backend::refusing();
    let setup = Setup::to(&[&gone.to_string(), &site.to_string()])
        .with("upstream.echo.passive", "failures = 0");
    let proxy = Tidegate::start(&setup);
    for _ in 0..4 {
        let reply = proxy.send(post("Content-Length: 5", "hello"));
        assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
        let reply = proxy.send(post("Transfer-Encoding: chunked", "1\r\nx\r\n0\r\n\r\n"));
        assert_eq!((reply.status, reply.body.as_str()), (200, "x"));
    }
    assert_eq!(site.asked().len(), 8);
}

/// ATTACKS J08.
#[test]
fn what_a_server_may_have_seen_is_sent_again_only_for_get_and_head() {
    for (method, again) in [
        ("GET", true),
        ("HEAD", true),
        ("POST", false),
        ("PUT", false),
        ("DELETE", false),
        ("OPTIONS", false),
    ] {
        let site = Site::start(|_| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
        let leaving = Backend::hanging_up();
        let setup = Setup::to(&[&leaving.to_string(), &site.to_string()])
            .with("upstream.echo.passive", "failures = 0");
        let proxy = Tidegate::start(&setup);
        let request = Request::get("/").line(format!("{method} / HTTP/1.1"));
        let mut client = proxy.connect();
        client.send(request.bytes());
        let head = client.read_head().unwrap();
        let status = if again { " 204 " } else { " 502 " };
        assert!(head.contains(status), "{method}: {head}");
        let asked = (leaving.visits(), site.asked().len());
        assert_eq!(asked, (1, usize::from(again)), "{method}");
    }
}

#[test]
fn a_kept_connection_that_died_is_replaced_and_nobody_is_blamed() {
    let site = Site::start(|_| answer("Connection: close\r\n", "hello"));
    let proxy = Tidegate::in_front_of(&[&site]);
    for _ in 0..10 {
        assert_eq!(proxy.send(Request::get("/").bytes()).body, "hello");
        assert_eq!(proxy.send(post("Content-Length: 2", "hi")).body, "hello");
    }
    assert!(proxy.metrics().sum("tidegate_server_failures_total", &[]) < 0.5);
    assert!(proxy.metrics().sum("tidegate_retries_total", &[]) < 0.5);

    // One that ends without saying so, after its answer.
    let ends = Ends::with("");
    let wires = [Request::get("/").bytes(), post("Content-Length: 2", "hi")];
    for wire in wires.iter().cycle().take(20) {
        let (mut client, mut server, _) = ends.sent(wire);
        server.send(answer("", "once"));
        assert_eq!(client.answer().body, "once");
        drop(server);
    }
    assert!(
        ends.proxy
            .metrics()
            .sum("tidegate_server_failures_total", &[])
            < 0.5
    );
}

/// ATTACKS C14: bytes that come unasked on an idle connection are nobody's answer.
#[test]
fn what_an_idle_connection_says_is_nobodys_answer() {
    let ends = Ends::with("");
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    server.send([answer("", "mine"), answer("", "poison")].concat());
    assert_eq!(client.answer().body, "mine");
    let (mut other, mut fresh, _) = ends.sent(Request::get("/").bytes());
    fresh.send(answer("", "yours"));
    assert_eq!(other.answer().body, "yours");
    server.read_to_end();
}

#[test]
fn idle_connections_to_a_server_that_leaves_are_closed() {
    let ends = Ends::with("");
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    server.send(answer("", "once"));
    assert_eq!(client.answer().body, "once");
    let other = Site::hello();
    ends.proxy
        .reload_with(&Setup::to(&[&other]).with("server", "workers = 1"));
    server.expect_end();
}

#[test]
fn a_stopping_process_finishes_its_requests_and_ends_its_connections() {
    let mut ends = Ends::of(|setup| setup.with("server", "shutdown_grace = \"20s\"\nworkers = 1"));
    let mut idle = ends.proxy.connect();
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    ends.proxy.signal(Signal::TERM);
    wait_until("readyz to turn", || {
        ends.proxy.admin("GET /readyz").status == 503
    });
    server.send(answer("", "finished"));
    let reply = client.answer();
    assert_eq!((reply.body.as_str(), reply.closes()), ("finished", true));
    client.expect_end();
    idle.send(Request::get("/").bytes());
    assert_eq!(idle.answer().status, 503);
    assert!(ends.proxy.wait_for_exit().success());
}

#[test]
fn a_full_route_and_a_full_server_count_requests() {
    let ends = Ends::of(|setup| setup.with("route.limit", "max_connections = 1"));
    let (mut client, mut server, _) = ends.sent(Request::get("/").bytes());
    let reply = ends.proxy.send(Request::get("/").bytes());
    assert_eq!(reply.status, 503);
    assert!(reply.header("retry-after").is_some());
    server.send(answer("", "done"));
    assert_eq!(client.answer().body, "done");

    let site = Backend::silent();
    let setup = Setup::to(&[&site]).with(
        "upstream.echo",
        &format!("servers = [{{ address = \"{site}\", max_connections = 1 }}]\nqueue_length = 0"),
    );
    let proxy = Tidegate::start(&setup);
    let mut first = proxy.connect();
    first.send(Request::get("/").bytes());
    proxy.wait_for_metric("tidegate_server_connections", &[], 1.0);
    assert_eq!(proxy.send(Request::get("/").bytes()).status, 503);
    assert_eq!(proxy.send(Request::upgrade().bytes()).status, 503);
}
