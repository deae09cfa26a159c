//! TLS towards clients (CONTRACT 2: `listener.tls`).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion};

use crate::support::certificates::{Authority, Certificate};
use crate::support::proxy::Reload;
use crate::support::websocket::WebSocket;
use crate::support::{Connection, Echo, Request, Setup, Tidegate};

fn with_tls(echo: &Echo, certificates: &[&Certificate], more: &str) -> Setup {
    let list: Vec<String> = certificates
        .iter()
        .map(|certificate| certificate.toml())
        .collect();
    Setup::to(&[echo])
        .with(
            "listener.public.tls",
            &format!("certificates = [{}]", list.join(", ")),
        )
        .with("listener.public.tls", more)
}

/// The certificate that a client asking for `name` is shown; it need not fit.
fn shown(proxy: &Tidegate, name: &str, authority: &Authority) -> Vec<u8> {
    let mut connection = proxy.connect_tls(name, &authority.client_of_any_name());
    connection.tls().peer_certificates().unwrap()[0].to_vec()
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap()
}

#[test]
fn the_server_name_picks_the_certificate() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let first = authority.issue(&["a.example"]);
    let second = authority.issue(&["b.example", "*.c.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&first, &second], ""));
    for (name, certificate) in [
        ("a.example", &first),
        ("b.example", &second),
        ("B.Example", &second),
        ("x.c.example", &second),
        ("unknown.example", &first),
        ("127.0.0.1", &first),
    ] {
        assert!(shown(&proxy, name, &authority) == certificate.der, "{name}");
    }
}

#[test]
fn a_websocket_runs_over_both_versions() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.client_of_version(version);
        let mut connection = proxy.connect_tls("a.example", &config);
        assert_eq!(connection.tls().protocol_version(), Some(version.version));
        let mut socket = WebSocket::open(connection, "/");
        socket.echo("over TLS");
        socket.echo(&"long ".repeat(100_000));
        socket.close();
    }
    let head = echo.last_head();
    assert!(
        head.to_ascii_lowercase()
            .contains("x-forwarded-proto: https\r\n"),
        "{head}"
    );
}

#[test]
fn a_version_below_the_least_is_refused() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], "min_version = \"1.3\""));
    let old = authority.client_of_version(&rustls::version::TLS12);
    let mut connection = proxy.connect_tls("a.example", &old);
    assert!(connection.try_tls().is_err());
    let mut connection = proxy.connect_tls("a.example", &authority.client());
    assert_eq!(
        connection.tls().protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
}

#[test]
fn a_post_quantum_key_exchange_is_offered() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    let mut connection = proxy.connect_tls("a.example", &authority.client());
    let group = connection
        .tls()
        .negotiated_key_exchange_group()
        .unwrap()
        .name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
}

/// Says something so that tickets arrive, and how the handshake went.
fn visit(proxy: &Tidegate, config: &Arc<ClientConfig>) -> HandshakeKind {
    let mut connection = proxy.connect_tls("a.example", config);
    connection.tls();
    let mut socket = WebSocket::open(connection, "/");
    socket.echo("hello");
    let kind = socket.connection().tls().handshake_kind().unwrap();
    socket.close();
    kind
}

#[test]
fn a_session_is_resumed_on_any_worker_and_across_a_reload() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = authority.client_of_version(version);
        assert_ne!(visit(&proxy, &config), HandshakeKind::Resumed);
        for _ in 0..4 {
            assert_eq!(visit(&proxy, &config), HandshakeKind::Resumed);
        }
        assert_eq!(proxy.reload(), Reload::Done);
        assert_eq!(visit(&proxy, &config), HandshakeKind::Resumed);
    }
    assert!(
        proxy
            .metrics()
            .sum("tidegate_tls_handshakes_total", &[("result", "resumed")])
            >= 10.0
    );
}

#[test]
fn a_renewed_certificate_is_shown_after_a_reload_and_live_ones_stay() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let old = authority.issue_as("site", &["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&old], ""));
    let mut live = WebSocket::open(proxy.connect_tls("a.example", &authority.client()), "/");
    let new = authority.issue_as("site", &["a.example"]);
    assert!(shown(&proxy, "a.example", &authority) == old.der);
    assert_eq!(proxy.reload(), Reload::Done);
    assert!(shown(&proxy, "a.example", &authority) == new.der);
    live.echo("still here");
    let line = proxy.log().wait_for(0, "the change", |line| {
        line.text().contains("new content") && line.text().contains("site.crt")
    });
    assert_eq!(line.message(), "changed");
}

#[test]
fn a_certificate_that_cannot_be_used_refuses_the_whole_reload() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let good = authority.issue_as("site", &["a.example"]);
    let other = authority.issue(&["b.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&good], ""));
    let (good_cert, good_key) = (read(&good.cert), read(&good.key));
    let half = &good_cert[..good_cert.len() / 2];
    let key_of_another = read(&other.key);
    for (name, cert, key) in [
        ("half a PEM", Some(half), None),
        ("an empty file", Some(&b""[..]), None),
        ("another's key", None, Some(&key_of_another[..])),
        ("no PEM at all", None, Some(&b"secret"[..])),
    ] {
        fs::write(&good.cert, cert.unwrap_or(&good_cert)).unwrap();
        fs::write(&good.key, key.unwrap_or(&good_key)).unwrap();
        assert_eq!(proxy.reload(), Reload::Refused, "{name}");
        assert!(shown(&proxy, "a.example", &authority) == good.der, "{name}");
        good.write();
    }
    fs::remove_file(&good.key).unwrap();
    assert_eq!(proxy.reload(), Reload::Refused, "a key that is gone");
    let key = key_of_another.split(|&byte| byte == b'\n').nth(1).unwrap();
    assert!(
        !proxy
            .log()
            .text()
            .contains(std::str::from_utf8(key).unwrap()),
        "a key was logged"
    );
}

#[test]
fn a_client_certificate_is_required_checked_or_not_asked_for() {
    let (echo, authority, strangers) = (Echo::start(), Authority::new(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let known = authority.issue(&["client"]);
    let unknown = strangers.issue(&["stranger"]);
    let require = |how: &str| {
        let ca = authority.file();
        let more = format!("client_auth = \"{how}\"\nclient_ca = \"{}\"", ca.display());
        Tidegate::start(&with_tls(&echo, &[&certificate], &more))
    };
    let served = |proxy: &Tidegate, config: &Arc<ClientConfig>| {
        let mut connection = proxy.connect_tls("a.example", config);
        connection.send(Request::upgrade().bytes());
        connection
            .read_answer()
            .is_some_and(|answer| answer.status == 101)
    };
    let proxy = require("require");
    assert!(served(&proxy, &authority.client_with(&known)));
    assert!(!served(&proxy, &authority.client()));
    assert!(!served(&proxy, &authority.client_with(&unknown)));
    let proxy = require("optional");
    assert!(served(&proxy, &authority.client_with(&known)));
    assert!(served(&proxy, &authority.client()));
    assert!(!served(&proxy, &authority.client_with(&unknown)));
    assert_eq!(
        echo.accepted(),
        3,
        "a refused client was let through to a backend"
    );
}

#[test]
fn a_handshake_that_does_not_end_in_time_is_cut_however_it_dribbles() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let setup = with_tls(&echo, &[&certificate], "handshake_timeout = \"400ms\"");
    let proxy = Tidegate::start(&setup);
    let mut silent = proxy.connect();
    let mut slow = proxy.connect();
    slow.send([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    silent.expect_end();
    slow.expect_end();
    let labels = [("listener", "public"), ("result", "timeout")];
    proxy.wait_for_metric("tidegate_tls_handshakes_total", &labels, 2.0);
}

#[test]
fn a_hello_in_single_bytes_is_understood() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    let mut connection = proxy.connect_tls("a.example", &authority.client());
    connection.dribble_handshake();
    WebSocket::open(connection, "/").echo("slowly");
}

#[test]
fn plaintext_on_a_tls_port_is_closed_and_counted() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    let mut connection: Connection = proxy.connect();
    connection.send(Request::upgrade().bytes());
    let rest = connection.read_to_end();
    assert!(!rest.starts_with(b"HTTP/"), "plaintext was answered");
    let labels = [("listener", "public"), ("result", "failed")];
    proxy.wait_for_metric("tidegate_tls_handshakes_total", &labels, 1.0);
    let labels = [("listener", "public"), ("reason", "not_tls")];
    proxy.wait_for_metric("tidegate_connections_refused_total", &labels, 1.0);
    assert_eq!(echo.accepted(), 0);
}

#[test]
fn a_protocol_that_is_not_spoken_is_refused_by_name() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    for (protocol, spoken) in [("http/1.1", true), ("smtp", false)] {
        let mut config = (*authority.client()).clone();
        config.alpn_protocols = vec![protocol.into()];
        let mut connection = proxy.connect_tls("a.example", &Arc::new(config));
        assert_eq!(connection.try_tls().is_ok(), spoken, "{protocol}");
    }
}

#[test]
fn a_client_that_reads_slowly_over_tls_stalls_its_backend() {
    let (echo, authority) = (Echo::start(), Authority::new());
    let certificate = authority.issue(&["a.example"]);
    let proxy = Tidegate::start(&with_tls(&echo, &[&certificate], ""));
    let before = proxy.process().memory_kib();
    let mut socket = WebSocket::open(proxy.connect_tls("a.example", &authority.client()), "/");
    socket
        .connection()
        .tcp()
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let frame = crate::support::frame::Frame::client(2, vec![7; 1 << 20]).encode();
    let sent = (0..64)
        .take_while(|_| socket.connection().try_send(&frame).is_ok())
        .count();
    assert!(
        sent < 64,
        "64 MiB were taken from a client that does not read its echo"
    );
    assert!(proxy.process().memory_kib() < before + 4 * 1024);
}
