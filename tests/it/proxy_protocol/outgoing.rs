//! Headers that we send to servers.

use crate::support::{Backend, Request, Setup, Tidegate};

use super::{ADDRESSES, NO, binary, setup};

/// A server that reads as many bytes before it answers request after request: the signature of
/// version 2 looks like the end of a head.
fn behind_header(bytes: usize) -> Backend {
    Backend::script(move |mut visit| {
        visit.connection.try_read_exactly(bytes);
        while visit.connection.read_head().is_some() {
            visit
                .connection
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    })
}

/// The header that names 192.0.2.x as the client.
fn header(version: &str, last: u8) -> Vec<u8> {
    if version == "v1" {
        return format!("PROXY TCP4 192.0.2.{last} 198.51.100.1 4711 8443\r\n").into_bytes();
    }
    let mut addresses = ADDRESSES;
    addresses[3] = last;
    binary(0x21, 0x11, &addresses)
}

#[test]
fn a_server_hears_of_each_client_on_a_connection_of_its_own() {
    for version in ["v1", "v2"] {
        let headers = [7, 8].map(|last| header(version, last));
        let backend = behind_header(headers[0].len());
        let out = format!("proxy_protocol = \"{version}\"");
        let setup = setup(&[&backend], "accept").with("upstream.echo", &out);
        let proxy = Tidegate::start(&setup);
        for last in [7, 8] {
            let mut connection = proxy.connect();
            connection.send([header("v1", last), Request::get("/").bytes()].concat());
            assert_eq!(connection.answer().status, 200);
        }
        for (number, header) in headers.iter().enumerate() {
            let bytes = backend.received_bytes(number);
            let begins = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert!(bytes.starts_with(&begins), "{}", bytes.escape_ascii());
        }
    }
}

#[test]
fn a_client_behind_further_proxies_is_told_without_a_port() {
    let backend = Backend::answering(NO);
    let setup = setup(&[&backend], "off").with("upstream.echo", "proxy_protocol = \"v1\"");
    let proxy = Tidegate::start(&setup);
    let claim = Request::upgrade().with("X-Forwarded-For: 2001:db8::7");
    proxy.send(claim.bytes());
    let port = proxy.address().port();
    let line = format!("PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 0 {port}\r\n");
    let received = backend.received(0);
    assert!(received.starts_with(&line), "{received}");
}

#[test]
fn checks_speak_for_the_proxy_itself() {
    for (version, expected) in [
        ("v1", b"PROXY UNKNOWN\r\n".to_vec()),
        ("v2", binary(0x20, 0x00, b"")),
    ] {
        let backend = behind_header(expected.len());
        let setup = Setup::to(&[&backend])
            .with("upstream.echo", &format!("proxy_protocol = \"{version}\""))
            .with("upstream.echo.health_check", "type = \"http\"");
        let proxy = Tidegate::start(&setup);
        proxy.wait_for_metric("tidegate_health_checks_total", &[("result", "ok")], 1.0);
        let begins = [&expected[..], b"GET / HTTP/1.1\r\n"].concat();
        let bytes = backend.received_bytes(0);
        assert!(bytes.starts_with(&begins), "{}", bytes.escape_ascii());
    }
}
