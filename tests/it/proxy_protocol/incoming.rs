//! Headers that clients of ours send.

use crate::support::certificates::Authority;
use crate::support::peers::curl;
use crate::support::proxy::Reload;
use crate::support::wait::wait_until;
use crate::support::{Backend, Connection, Echo, Request, Setup, Tidegate};

use super::{
    ADDRESSES, LINE, NO, SIGNATURE, STRANGER, TRUSTED, ask_from, assert_names_192_0_2_7, binary,
    over_tls, setup, upgrade, willing,
};

#[test]
fn a_header_of_either_version_names_the_client_in_one_piece_and_in_single_bytes() {
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&setup(&[&backend], "accept"));
    let with_tlvs = [&ADDRESSES[..], b"\x02\0\x01a\x04\0\x10", &[0; 16]].concat();
    let headers = [
        LINE.as_bytes().to_vec(),
        binary(0x21, 0x11, &ADDRESSES),
        binary(0x21, 0x11, &with_tlvs),
    ];
    for (number, header) in headers.iter().enumerate() {
        assert_eq!(proxy.send(upgrade(header)).status, 403);
        assert_names_192_0_2_7(&backend.received(2 * number));
        let mut connection = proxy.connect();
        connection.dribble(upgrade(header));
        assert_eq!(connection.answer().status, 403);
        assert_names_192_0_2_7(&backend.received(2 * number + 1));
    }
}

#[test]
fn a_header_stands_before_tls_in_one_piece_and_in_single_bytes() {
    let authority = Authority::new();
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&over_tls(setup(&[&backend], "require"), &authority));
    for (number, header) in [LINE.as_bytes().to_vec(), binary(0x21, 0x11, &ADDRESSES)]
        .iter()
        .enumerate()
    {
        let mut connection = proxy.connect();
        connection.send(header);
        let mut connection = connection.secured("localhost", authority.client());
        connection.send(Request::upgrade().bytes());
        assert_eq!(connection.answer().status, 403);
        assert_names_192_0_2_7(&backend.received(2 * number));

        let mut connection = proxy.connect();
        connection.dribble(header);
        let mut connection = connection.secured("localhost", authority.client());
        connection.dribble_handshake();
        connection.send(Request::upgrade().bytes());
        assert_eq!(connection.answer().status, 403);
        assert_names_192_0_2_7(&backend.received(2 * number + 1));
    }
}

#[test]
fn a_header_and_the_client_hello_in_one_segment_lose_no_byte() {
    let authority = Authority::new();
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&over_tls(setup(&[&backend], "require"), &authority));
    let mut connection = proxy.connect().secured("localhost", authority.client());
    connection.send_before_handshake(LINE.as_bytes());
    connection.send(Request::upgrade().bytes());
    assert_eq!(connection.answer().status, 403);
    assert_names_192_0_2_7(&backend.received(0));
}

#[test]
fn who_speaks_for_itself_keeps_its_own_address() {
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&setup(&[&backend], "require"));
    let port = format!("X-Forwarded-Port: {}\r\n", proxy.address().port());
    let headers = [
        b"PROXY UNKNOWN\r\n".to_vec(),
        b"PROXY UNKNOWN 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
        binary(0x20, 0x00, b""),
        binary(0x20, 0x11, &ADDRESSES),
        binary(0x21, 0x00, b""),
        binary(0x21, 0x31, &[0; 216]),
        binary(0x21, 0x12, &ADDRESSES),
    ];
    for (number, header) in headers.iter().enumerate() {
        assert_eq!(proxy.send(upgrade(header)).status, 403);
        let head = backend.received(number);
        assert!(head.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{head}");
        assert!(head.contains(&port), "{head}");
    }
}

/// Headers that no proxy sends.
fn lies() -> Vec<Vec<u8>> {
    let mut lies: Vec<Vec<u8>> = [
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 8443\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 84430\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 4711 8443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 4711 8443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 4711 8443\r\n",
        "PROXY  TCP4 192.0.2.7 198.51.100.1 4711 8443\r\n",
        "PROXY TCP4 192.0.2.7, 192.0.2.8 198.51.100.1 4711 8443\r\n",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec();
    lies.push(format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)).into_bytes());
    lies.push("PROXY ".bytes().chain([b'x'; 1000]).collect());
    for (command, family) in [
        (0x11, 0x11),
        (0x31, 0x11),
        (0x22, 0x11),
        (0x21, 0x13),
        (0x21, 0x41),
    ] {
        lies.push(binary(command, family, &ADDRESSES));
    }
    lies.push(binary(0x21, 0x11, &ADDRESSES[..11]));
    lies.push(binary(0x21, 0x21, &ADDRESSES));
    lies.push(binary(0x21, 0x31, &ADDRESSES));
    lies.push(binary(
        0x21,
        0x11,
        &[&ADDRESSES[..], b"\x04\xff\xff"].concat(),
    ));
    lies.push([SIGNATURE, b"\x21\x11\xff\xff"].concat());
    lies
}

#[test]
fn a_header_that_is_none_is_a_bad_request_and_reaches_nobody() {
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&setup(&[&backend], "accept"));
    let lies = lies();
    for lie in &lies {
        let mut connection = proxy.connect();
        connection.send(upgrade(lie));
        let answer = connection.answer();
        assert_eq!(answer.status, 400, "{}", lie.escape_ascii());
        assert!(answer.closes());
        assert_eq!(answer.body.trim(), "bad request: PROXY header refused");
        connection.expect_end();
    }
    assert_eq!(backend.visits(), 0);
    let labels = [("reason", "proxy_header")];
    let refused = proxy
        .metrics()
        .sum("tidegate_connections_refused_total", &labels);
    assert!((refused - lies.len() as f64).abs() < 0.5, "{refused}");
}

#[test]
fn on_a_tls_listener_a_bad_header_is_answered_by_silence() {
    let authority = Authority::new();
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&over_tls(setup(&[&backend], "require"), &authority));
    for lie in lies() {
        let mut connection = proxy.connect();
        connection.send(&lie);
        connection.expect_end();
    }
    let mut stranger = Connection::open_from(STRANGER, proxy.address());
    stranger.send(LINE);
    stranger.expect_end();
    let mut mute = proxy.connect().secured("localhost", authority.client());
    assert!(mute.try_tls().is_err(), "without a header");
    assert_eq!(backend.visits(), 0);
}

#[test]
fn a_stranger_is_served_as_itself_and_gets_400_for_a_header() {
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&setup(&[&backend], "accept"));
    for header in [LINE.as_bytes().to_vec(), binary(0x21, 0x11, &ADDRESSES)] {
        let answer = ask_from(STRANGER, &proxy, upgrade(&header));
        assert_eq!(answer.status, 400);
        assert!(answer.closes());
    }
    assert_eq!(backend.visits(), 0);
    let claim = Request::upgrade().with("X-Forwarded-For: 192.0.2.7");
    assert_eq!(ask_from(STRANGER, &proxy, claim.bytes()).status, 403);
    let head = backend.received(0);
    assert!(head.contains("X-Forwarded-For: 127.0.0.9\r\n"), "{head}");
}

#[test]
fn a_trusted_peer_may_come_without_a_header_where_none_is_required() {
    let backend = willing();
    let proxy = Tidegate::start(&setup(&[&backend], "accept"));
    for opening in ["", "\r\n", "\r\n\r\n"] {
        let mut connection = proxy.connect();
        connection.dribble(upgrade(opening));
        assert_eq!(connection.answer().status, 200, "{opening:?}");
    }
    // These begin as a header does.
    for method in ["POST", "PUT", "PROPFIND"] {
        let mut connection = proxy.connect();
        let line = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        connection.dribble(line);
        assert_eq!(connection.answer().status, 200, "{method}");
    }
}

#[test]
fn who_comes_without_a_required_header_gets_400() {
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&setup(&[&backend], "require"));
    for (source, opening) in [(TRUSTED, ""), (STRANGER, ""), (STRANGER, LINE)] {
        let answer = ask_from(source, &proxy, upgrade(opening));
        assert_eq!(answer.status, 400, "{source:?} {opening}");
        assert!(answer.closes());
    }
    assert_eq!(backend.visits(), 0);
}

#[test]
fn without_the_option_a_header_is_no_request() {
    let backend = Backend::answering(NO);
    let proxy = Tidegate::start(&setup(&[&backend], "off"));
    assert_eq!(proxy.send(upgrade(LINE)).status, 400);
    assert_eq!(
        proxy.send(upgrade(binary(0x21, 0x11, &ADDRESSES))).status,
        400
    );
    assert_eq!(backend.visits(), 0);
}

#[test]
fn a_header_that_stops_half_way_is_timed_out_with_the_head() {
    let backend = Backend::answering(NO);
    let setup = setup(&[&backend], "accept");
    let plain = setup
        .clone()
        .with("listener.public", "header_timeout = \"300ms\"");
    let proxy = Tidegate::start(&plain);
    for part in [&LINE.as_bytes()[..9], b"P", b"\r\n", &SIGNATURE[..12]] {
        let mut connection = proxy.connect();
        connection.send(part);
        assert_eq!(connection.answer().status, 408, "{}", part.escape_ascii());
        connection.expect_end();
    }
    // The header's time is the head's.
    let mut connection = proxy.connect();
    connection.send(LINE);
    assert_eq!(connection.answer().status, 408);

    let authority = Authority::new();
    let handshake =
        over_tls(setup, &authority).with("listener.public.tls", "handshake_timeout = \"300ms\"");
    let proxy = Tidegate::start(&handshake);
    for part in [&LINE.as_bytes()[..9], LINE.as_bytes()] {
        let mut connection = proxy.connect();
        connection.send(part);
        connection.expect_end();
    }
}

#[test]
fn the_address_of_a_header_is_the_clients_for_rules_balance_and_log() {
    let echo = Echo::start();
    let other = Echo::start();
    let setup = Setup::to(&[&echo, &other])
        .with("listener.public", "proxy_protocol = \"accept\"")
        .with("listener.public", "trusted_proxies = \"127.0.0.1\"")
        .with("route.access", "deny = \"192.0.2.66\"")
        .with("upstream.echo", "balance = \"ip_hash\"");
    let proxy = Tidegate::start(&setup);
    let line = |last: u8| format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 4711 8443\r\n");
    assert_eq!(proxy.send(upgrade(line(66))).status, 403);

    let mut held = Vec::new();
    for last in 1..=16 {
        let mut connection = proxy.connect();
        connection.send(upgrade(line(last)));
        assert_eq!(connection.answer().status, 101);
        held.push(connection);
    }
    wait_until("all to be held", || proxy.held().iter().sum::<u64>() == 16);
    let listed = proxy.api("/api/v1/connections?client=192.0.2.7");
    assert_eq!(listed["connections"].as_array().unwrap().len(), 1);
    let shares = proxy.held();
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
}

#[test]
fn a_required_header_from_nobody_is_a_configuration_error() {
    let setup = Setup::to(&["127.0.0.1:1"]);
    let proxy = Tidegate::start(&setup);
    let closed = setup.with("listener.public", "proxy_protocol = \"require\"");
    proxy.rewrite(&closed.toml());
    assert_eq!(proxy.reload(), Reload::Refused);
    let told = proxy.log().text();
    assert!(
        told.contains("lets nobody in without trusted_proxies"),
        "{told}"
    );
}

#[test]
fn curl_tells_where_it_comes_from() {
    let backend = willing();
    let proxy = Tidegate::start(&setup(&[&backend], "require"));
    let url = format!("http://{}/", proxy.address());
    let output = curl(&["-i", "--haproxy-protocol", &url]);
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = backend.received(0).to_lowercase();
    assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
}
