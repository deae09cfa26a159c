//! TLS in bad faith (ATTACKS H).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig, ClientConnection, HandshakeKind};

use super::{Calm, alone};
use crate::support::certificates::{Authority, Certificate};
use crate::support::openssl::visit;
use crate::support::proxy::Reload;
use crate::support::websocket::WebSocket;
use crate::support::{Connection, Request, Setup, Tidegate};

/// The listener `secure` beside the plain one.
fn with_tls(certificates: &[&Certificate]) -> Setup {
    let list: Vec<String> = certificates.iter().map(|pair| pair.toml()).collect();
    alone()
        .with("listener.secure", "bind = \"127.0.0.1:0\"")
        .with(
            "listener.secure.tls",
            &format!("certificates = [{}]", list.join(", ")),
        )
}

fn connect(proxy: &Tidegate, config: &Arc<ClientConfig>) -> Connection {
    Connection::open_tls(proxy.listener("secure"), "a.example", Arc::clone(config))
}

/// The bytes that a client begins with.
fn hello(config: &Arc<ClientConfig>) -> Vec<u8> {
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[test]
fn any_server_name_gets_its_certificate_the_first_one_or_an_alert() {
    let authority = Authority::new();
    let first = authority.issue(&["first.example"]);
    let second = authority.issue(&["b.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&first, &second]));
    let address = proxy.listener("secure");
    let long = ["x".repeat(63).as_str(); 4].join(".");
    for (name, shown) in [
        (None, Some("first.example")),
        (Some("b.example"), Some("b.example")),
        (Some("B.eXaMpLe"), Some("b.example")),
        (Some("b.example."), Some("b.example")),
        (Some("unknown.example"), Some("first.example")),
        (Some("127.0.0.1"), Some("first.example")),
        (Some(long.as_str()), None),
        (Some("a b"), None),
        (Some("*.example"), None),
    ] {
        let arguments = match name {
            None => vec!["-noservername"],
            Some(name) => vec!["-servername", name],
        };
        let told = visit(address, &arguments, b"");
        let subject = told.lines().find_map(|line| line.strip_prefix("subject="));
        let subject = subject.map(|name| name.replace(' ', "").replace("CN=", ""));
        assert_eq!(subject.as_deref(), shown, "{name:?}: {told}");
    }
    calm.returns(&proxy);
}

#[test]
fn a_hello_in_many_records_is_understood() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    for size in [1, 7, 100] {
        let mut connection = connect(&proxy, &authority.client());
        connection.fragment_handshake(size);
        WebSocket::open(connection, "/calm").echo("in pieces");
    }
    calm.returns(&proxy);
}

#[test]
fn floods_of_records_that_say_nothing_end_and_cost_nobody() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let setup = with_tls(&[&certificate]).with("listener.secure.tls", "handshake_timeout = \"1s\"");
    let (proxy, calm) = Calm::before(&setup);
    let mut good = proxy.websocket("/calm");
    let hello = hello(&authority.client());
    let record = |kind: u8, body: &[u8]| {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3], &length[..], body].concat()
    };
    let ccs = record(20, &[1]);
    let close_notify = record(21, &[1, 0]);
    let warning = record(21, &[1, 90]);
    let empty_handshake = record(22, &[]);
    let empty_data = record(23, &[]);
    let many = |record: &[u8]| record.repeat(10_000);
    for (what, bytes) in [
        (
            "close_notify behind the hello",
            [&hello[..], &close_notify].concat(),
        ),
        ("close_notify alone", close_notify.clone()),
        (
            "alerts behind the hello",
            [&hello[..], &many(&warning)].concat(),
        ),
        ("alerts alone", many(&warning)),
        ("empty records", many(&empty_handshake)),
        (
            "empty records behind the hello",
            [&hello[..], &many(&empty_data)].concat(),
        ),
        ("change_cipher_spec without end", many(&ccs)),
        (
            "the same behind the hello",
            [&hello[..], &many(&ccs)].concat(),
        ),
        ("the hello again and again", many(&hello)),
        ("half a record", hello[..hello.len() / 2].to_vec()),
        ("a record of a size that none has", record(22, &[0; 0x4fff])),
    ] {
        let mut tcp = TcpStream::connect(proxy.listener("secure")).unwrap();
        // It may hang up in the middle.
        let _ = tcp.write_all(&bytes);
        tcp.set_read_timeout(Some(crate::support::wait::PATIENCE))
            .unwrap();
        let ended = tcp.read_to_end(&mut Vec::new());
        let is_timeout = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(
            !ended.is_err_and(|error| is_timeout(&error)),
            "{what}: not ended"
        );
        good.echo(what);
    }
    good.close();
    calm.returns(&proxy);
}

#[test]
fn a_flood_of_key_changes_ends_or_passes_and_hinders_nobody() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    let mut good = proxy.websocket("/calm");
    let mut connection = connect(&proxy, &authority.client());
    connection.tls();
    // Whoever has enough of it may hang up.
    let _ = connection.change_keys(10_000);
    good.echo("meanwhile");
    drop(connection);
    good.close();
    calm.returns(&proxy);
}

#[test]
fn early_data_is_never_taken() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    let address = proxy.listener("secure");
    let folder = tempfile::tempdir().unwrap();
    let [session, early] = ["session", "early"].map(|name| folder.path().join(name));
    let request = Request::upgrade().target("/calm").bytes();
    fs::write(&early, &request).unwrap();
    let [session, early] = [&session, &early].map(|path| path.to_str().unwrap());
    // The answer shows that the tickets, which come before it, are there.
    let keep = ["-tls1_3", "-sess_out", session, "-ign_eof"];
    let closing = Request::get("/nowhere").with("Connection: close").bytes();
    visit(address, &keep, &closing);
    let upgrades = || proxy.metrics().sum("tidegate_handshakes_total", &[]);
    let before = upgrades();
    for _ in 0..20 {
        let told = visit(
            address,
            &["-tls1_3", "-sess_in", session, "-early_data", early],
            b"",
        );
        assert!(told.contains("Early data was not sent"), "{told}");
    }
    assert!((upgrades() - before).abs() < f64::EPSILON);
    calm.returns(&proxy);
}

#[test]
fn protocols_that_are_not_spoken_are_refused_with_their_own_alert() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    for (protocols, spoken) in [
        (&[][..], true),
        (&["http/1.1"], true),
        (&["smtp", "http/1.1"], true),
        (&["smtp"], false),
        (&["http/1.0"], false),
        (&["HTTP/1.1"], false),
    ] {
        let mut config = (*authority.client()).clone();
        config.alpn_protocols = protocols.iter().map(|&name| name.into()).collect();
        let mut connection = connect(&proxy, &Arc::new(config));
        match connection.try_tls() {
            Ok(_) => assert!(spoken, "{protocols:?}"),
            Err(error) => {
                let alert = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
                assert_eq!(error.to_string(), alert.to_string(), "{protocols:?}");
                assert!(!spoken);
            }
        }
    }
    calm.returns(&proxy);
}

#[test]
fn what_comes_to_the_wrong_port_is_closed_in_the_language_of_the_port() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    for (what, bytes) in [
        ("plaintext", Request::upgrade().bytes()),
        (
            "a PROXY line",
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        ),
    ] {
        let mut connection = Connection::open(proxy.listener("secure"));
        connection.send(&bytes);
        let heard = connection.read_to_end();
        assert!(
            !heard.starts_with(b"HTTP/"),
            "{what} was answered in plaintext"
        );
    }
    let mut connection = proxy.connect();
    connection.send(hello(&authority.client()));
    let heard = connection.read_to_end();
    let answers = String::from_utf8_lossy(&heard).matches("HTTP/1.1 ").count();
    assert!(answers <= 1, "{answers} answers to one hello");
    calm.returns(&proxy);
}

#[test]
fn a_storm_of_full_handshakes_loses_nobody_and_live_sessions_go_on() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    let mut good = proxy.websocket("/calm");
    let storm = |_| {
        for _ in 0..50 {
            let mut connection = connect(&proxy, &authority.client());
            assert_ne!(
                connection.tls().handshake_kind(),
                Some(HandshakeKind::Resumed)
            );
        }
    };
    thread::scope(|scope| {
        let visitors = [(); 4].map(|()| scope.spawn(|| storm(())));
        while !visitors.iter().all(thread::ScopedJoinHandle::is_finished) {
            good.echo("meanwhile");
        }
    });
    good.close();
    calm.returns(&proxy);
}

#[test]
fn tickets_outlive_ten_reloads_and_those_of_another_process_are_worth_nothing() {
    let authority = Authority::new();
    let certificate = authority.issue(&["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    let config = authority.client();
    let kind = |proxy: &Tidegate| {
        let mut connection = connect(proxy, &config);
        connection.tls();
        let mut socket = WebSocket::open(connection, "/calm");
        // Tickets come behind the handshake.
        socket.echo("hello");
        let kind = socket.connection().tls().handshake_kind();
        socket.close();
        kind
    };
    assert_eq!(kind(&proxy), Some(HandshakeKind::Full));
    for _ in 0..10 {
        assert_eq!(proxy.reload(), Reload::Done);
        assert_eq!(kind(&proxy), Some(HandshakeKind::Resumed));
    }
    let (other, _calm) = Calm::before(&with_tls(&[&certificate]));
    assert_eq!(kind(&other), Some(HandshakeKind::Full));
    calm.returns(&proxy);
}

#[test]
fn a_handshake_under_way_while_the_certificate_is_renewed_ends_well() {
    let authority = Authority::new();
    let certificate = authority.issue_as("site", &["a.example"]);
    let (proxy, calm) = Calm::before(&with_tls(&[&certificate]));
    let mut connection = connect(&proxy, &authority.client());
    // The server waits for the rest of the hello.
    proxy.wait_for_metric("tidegate_connections", &[("listener", "secure")], 1.0);
    let new = authority.issue_as("site", &["a.example"]);
    assert_eq!(proxy.reload(), Reload::Done);
    connection.tls();
    WebSocket::open(connection, "/calm").echo("well");
    let mut next = connect(&proxy, &authority.client());
    assert!(next.tls().peer_certificates().unwrap()[0].to_vec() == new.der);
    drop(next);
    calm.returns(&proxy);
}
