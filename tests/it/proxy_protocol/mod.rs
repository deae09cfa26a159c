//! The PROXY protocol, in and out: from HAProxy, from curl, byte by byte, from liars (CONTRACT 2).

mod haproxy;
mod incoming;
mod outgoing;

use crate::support::certificates::Authority;
use crate::support::{Answer, Backend, Connection, Request, Setup, Tidegate};

const NO: &str = "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n";
const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 8443\r\n";
const TRUSTED: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 9];
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// What [`LINE`] says.
const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x20, 0xfb];

/// A header of version 2.
fn binary(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, content].concat()
}

/// A server that answers request after request.
fn willing() -> Backend {
    Backend::script(|mut visit| {
        while visit.connection.read_head().is_some() {
            visit
                .connection
                .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    })
}

/// Takes headers from 127.0.0.1.
fn setup(servers: &[&Backend], how: &str) -> Setup {
    let lines = format!("proxy_protocol = \"{how}\"\ntrusted_proxies = \"127.0.0.1\"");
    Setup::to(servers).with("listener.public", &lines)
}

fn over_tls(setup: Setup, authority: &Authority) -> Setup {
    let certificate = authority.issue(&["localhost"]).toml();
    setup.with(
        "listener.public.tls",
        &format!("certificates = [{certificate}]"),
    )
}

/// An upgrade request behind a preamble.
fn upgrade(preamble: impl AsRef<[u8]>) -> Vec<u8> {
    [preamble.as_ref(), &Request::upgrade().bytes()].concat()
}

/// What is answered to bytes from an address.
#[track_caller]
fn ask_from(source: [u8; 4], proxy: &Tidegate, bytes: impl AsRef<[u8]>) -> Answer {
    let mut connection = Connection::open_from(source, proxy.address());
    connection.send(bytes);
    connection.answer()
}

#[track_caller]
fn assert_names_192_0_2_7(head: &str) {
    for field in [
        "X-Forwarded-For: 192.0.2.7\r\n",
        "X-Real-IP: 192.0.2.7\r\n",
        "X-Forwarded-Port: 8443\r\n",
    ] {
        assert!(head.contains(field), "{field}{head}");
    }
}
