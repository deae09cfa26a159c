//! What a backend may answer to an upgrade, and what becomes of the client then
//! (RFC 6455 section 4.1, ATTACKS section C).

use crate::support::backend::{accept_of, switching_protocols};
use crate::support::frame::{CLOSE, Frame, TEXT};
use crate::support::wait::wait_until;
use crate::support::{Answer, Backend, Connection, Ends, Request, Tidegate};

/// Puts a proxy in front of a backend that answers with what `answer` makes of the head.
fn answered(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (Tidegate, Backend) {
    let backend = Backend::script(move |mut visit| {
        if let Some(head) = visit.connection.read_head() {
            visit.connection.send(answer(&head));
            visit.hold();
        }
    });
    (Tidegate::in_front_of(&[&backend]), backend)
}

fn ask(proxy: &Tidegate) -> (Answer, Connection) {
    let mut connection = proxy.connect();
    connection.send(
        Request::upgrade()
            .with("Sec-WebSocket-Protocol: chat, superchat")
            .bytes(),
    );
    (connection.answer(), connection)
}

/// A right 101 with one of its lines replaced.
fn but(head: &str, line: &str, other: &str) -> String {
    let right = switching_protocols(head, "");
    let changed: Vec<&str> = right
        .split("\r\n")
        .map(|have| if have.starts_with(line) { other } else { have })
        .collect();
    changed.join("\r\n")
}

#[test]
fn a_101_that_is_wrong_in_any_part_is_a_502() {
    type Lie = fn(&str) -> String;
    let lies: [(&str, Lie); 13] = [
        ("a wrong Accept", |head| {
            but(
                head,
                "Sec-WebSocket-Accept",
                "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            )
        }),
        ("no Accept", |head| {
            but(head, "Sec-WebSocket-Accept", "X: y")
        }),
        ("two Accepts", |head| {
            switching_protocols(
                head,
                &format!("Sec-WebSocket-Accept: {}\r\n", accept_of(head)),
            )
        }),
        ("the client's key as Accept", |head| {
            but(
                head,
                "Sec-WebSocket-Accept",
                "Sec-WebSocket-Accept: dGhlIHNhbXBsZSBub25jZQ==",
            )
        }),
        ("no Upgrade", |head| but(head, "Upgrade", "X: y")),
        ("another Upgrade", |head| {
            but(head, "Upgrade", "Upgrade: foo")
        }),
        ("a list of Upgrades", |head| {
            but(head, "Upgrade", "Upgrade: websocket, foo")
        }),
        ("no Connection", |head| but(head, "Connection", "X: y")),
        ("another Connection", |head| {
            but(head, "Connection", "Connection: keep-alive")
        }),
        ("a subprotocol nobody offered", |head| {
            switching_protocols(head, "Sec-WebSocket-Protocol: other\r\n")
        }),
        ("two subprotocols", |head| {
            switching_protocols(
                head,
                "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: superchat\r\n",
            )
        }),
        ("an extension nobody offered", |head| {
            switching_protocols(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
        }),
        ("HTTP/1.0", |head| {
            but(head, "HTTP/1.1 101", "HTTP/1.0 101 Switching Protocols")
        }),
    ];
    for (name, lie) in lies {
        let (proxy, backend) = answered(lie);
        let (answer, _connection) = ask(&proxy);
        assert_eq!(answer.status, 502, "{name}: {answer:?}");
        assert!(!answer.body.contains("127.0.0.1"), "{name}: {answer:?}");
        assert_eq!(
            backend.visits(),
            1,
            "{name}: it was asked again after it had answered"
        );
    }
}

#[test]
fn what_is_no_http_is_a_502() {
    for garbage in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "\x15\x03\x01\x00\x02\x02\x28",
        "HTTP/1.1 101\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let backend = Backend::script(move |mut visit| {
            visit.connection.read_head();
            visit.connection.send(garbage);
        });
        let proxy = Tidegate::in_front_of(&[&backend]);
        assert_eq!(ask(&proxy).0.status, 502, "{garbage:?}");
    }
}

#[test]
fn any_other_status_passes_as_it_came_and_opens_no_tunnel() {
    for status in [
        "200 OK",
        "403 Forbidden",
        "426 Upgrade Required",
        "500 Oops",
        "302 Found",
    ] {
        let (proxy, backend) = answered(move |_| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Length: 4\r\nX-Mine: yes\r\nUpgrade: websocket\r\n\
                 Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\r\nbody"
            )
        });
        let (answer, mut connection) = ask(&proxy);
        assert_eq!(answer.status.to_string(), status[..3]);
        assert_eq!(answer.body, "body");
        assert_eq!(answer.header("x-mine"), Some("yes"));
        for hop in ["x-hop", "keep-alive"] {
            assert_eq!(answer.header(hop), None, "{status}: {hop} passed");
        }
        // What follows is no tunnel: bytes of the client's are HTTP again, or nothing.
        connection.send("\x01\x02 not http\r\n\r\n");
        assert!(
            connection
                .read_answer()
                .is_none_or(|answer| answer.status == 400)
        );
        assert!(!backend.received(0).contains("not http"));
    }
}

#[test]
fn a_chunked_refusal_arrives_whole() {
    let (proxy, _backend) = answered(|_| {
        "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nnot \r\n3\r\nyou\r\n0\r\n\r\n"
            .to_owned()
    });
    let (answer, _connection) = ask(&proxy);
    assert_eq!((answer.status, answer.body.as_str()), (403, "not you"));
}

#[test]
fn a_refusal_that_ends_with_its_connection_arrives_whole() {
    let backend = Backend::script(|mut visit| {
        visit.connection.read_head();
        visit
            .connection
            .send("HTTP/1.1 403 Forbidden\r\n\r\nnot you");
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    let (answer, _connection) = ask(&proxy);
    assert_eq!((answer.status, answer.body.as_str()), (403, "not you"));
}

#[test]
fn a_connection_whose_upgrade_was_refused_is_never_used_again() {
    let (proxy, backend) =
        answered(|_| "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_owned());
    for visits in 1..=3 {
        assert_eq!(ask(&proxy).0.status, 403);
        assert_eq!(backend.visits(), visits);
    }
}

#[test]
fn hop_by_hop_fields_of_a_101_stay_behind() {
    let (proxy, _backend) = answered(|head| {
        let fields = "Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nX-Secret: 1\r\n\
                      X-Mine: yes\r\n";
        switching_protocols(head, fields)
            .replace("Connection: Upgrade", "Connection: Upgrade, X-Secret")
    });
    let (answer, _connection) = ask(&proxy);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("x-mine"), Some("yes"));
    assert_eq!(answer.headers("connection"), ["Upgrade"]);
    for hop in ["keep-alive", "proxy-authenticate", "x-secret"] {
        assert_eq!(answer.header(hop), None, "{hop} passed");
    }
}

#[test]
fn a_body_announced_by_a_101_is_not_believed() {
    for field in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let (proxy, _backend) = answered(move |head| switching_protocols(head, field));
        let (answer, _connection) = ask(&proxy);
        assert!([101, 502].contains(&answer.status), "{answer:?}");
        for name in ["content-length", "transfer-encoding"] {
            assert!(
                answer.status == 502 || answer.header(name).is_none(),
                "{answer:?}"
            );
        }
    }
}

#[test]
fn a_subprotocol_that_was_offered_is_selected() {
    let (proxy, _backend) =
        answered(|head| switching_protocols(head, "Sec-WebSocket-Protocol: superchat\r\n"));
    let (answer, _connection) = ask(&proxy);
    assert_eq!(answer.status, 101);
    assert_eq!(answer.header("sec-websocket-protocol"), Some("superchat"));
}

#[test]
fn interim_answers_before_the_101_are_skipped_within_a_bound() {
    let (proxy, _backend) = answered(|head| {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(3);
        format!("{interim}{}", switching_protocols(head, ""))
    });
    let mut connection = proxy.connect();
    connection.send(Request::upgrade().bytes());
    let mut answer = connection.answer();
    while answer.status == 103 {
        answer = connection.answer();
    }
    assert_eq!(answer.status, 101);

    let (proxy, _backend) = answered(|_| "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000));
    assert_eq!(ask(&proxy).0.status, 502);
}

#[test]
fn a_backend_that_leaves_right_after_the_101_is_a_1014() {
    let backend = Backend::accepting(drop);
    let proxy = Tidegate::in_front_of(&[&backend]);
    let mut tunnel = proxy.tunnel();
    assert_eq!(tunnel.frame().close_code(), Some(1014));
    proxy.wait_for_metric(
        "tidegate_websockets_closed_total",
        &[("reason", "backend_gone")],
        1.0,
    );
}

#[test]
fn frames_right_behind_the_101_arrive() {
    let backend = Backend::script(|mut visit| {
        let head = visit.connection.read_head().unwrap();
        let mut bytes = switching_protocols(&head, "").into_bytes();
        bytes.extend(Frame::server(TEXT, "early").encode());
        visit.connection.send(bytes);
        visit.hold();
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    assert_eq!(proxy.tunnel().frame().text(), "early");
}

#[test]
fn a_backend_that_speaks_http_in_the_tunnel_is_told_1002_and_the_client_1014() {
    let backend = Backend::accepting(|mut visit| {
        visit.connection.send("HTTP/1.1 200 OK\r\n\r\n");
        visit.hold();
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    assert_eq!(proxy.tunnel().frame().close_code(), Some(1014));
    wait_until("1002 at the backend", || {
        let received = backend.received(0);
        let (_, tunnel) = received.split_once("\r\n\r\n").unwrap();
        !tunnel.is_empty()
    });
}

#[test]
fn a_tunnel_that_is_over_gives_its_connection_to_nobody() {
    let backend = Backend::accepting(|mut visit| {
        let close = visit.connection.frame();
        visit
            .connection
            .send_frame(&Frame::server(CLOSE, &close.payload));
        visit
            .connection
            .send_frame(&Frame::server(TEXT, "for the next one"));
        visit.hold();
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    for visits in 1..=3 {
        let mut tunnel = proxy.tunnel();
        tunnel.send_frame(&Frame::client(CLOSE, Frame::close_payload(1000, "")));
        assert_eq!(tunnel.frame().close_code(), Some(1000));
        tunnel.expect_end();
        assert_eq!(backend.visits(), visits);
    }
}

#[test]
fn a_refusal_that_breaks_off_never_looks_whole() {
    let ends = Ends::with("");
    let (mut client, mut server, _) = ends.sent(Request::upgrade().bytes());
    server.send("HTTP/1.1 403 Forbidden\r\n\r\nhalf");
    client.read_head().unwrap();
    client.read_exactly(4);
    server.reset();
    let end = std::io::Read::read_to_end(&mut client, &mut Vec::new());
    assert!(end.is_err(), "ended in order");
}
