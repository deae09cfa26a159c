//! Clients and servers that nobody here wrote: every case of `tests/peers/cases.md` through the
//! proxy, for each library on each side, plain and over TLS.

use crate::support::certificates::Authority;
use crate::support::peers::{Library, curl};
use crate::support::{Setup, Tidegate};

use Library::{Node, Python};

#[track_caller]
fn converse(client: Library, server: Library) {
    let server = server.serve(None);
    let proxy = Tidegate::in_front_of(&[&server]);
    client.converse(&format!("ws://{}/", proxy.address()), None);
}

#[track_caller]
fn converse_over_tls(client: Library, server: Library) {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost", "127.0.0.1"]);
    let server = server.serve(None);
    let tls = format!("certificates = [{}]", certificate.toml());
    let proxy = Tidegate::start(&Setup::to(&[&server]).with("listener.public.tls", &tls));
    let url = format!("wss://localhost:{}/", proxy.address().port());
    client.converse(&url, Some(&authority));
}

#[test]
fn python_talks_to_python() {
    converse(Python, Python);
}

#[test]
fn python_talks_to_node() {
    converse(Python, Node);
}

#[test]
fn node_talks_to_python() {
    converse(Node, Python);
}

#[test]
fn node_talks_to_node() {
    converse(Node, Node);
}

#[test]
fn python_talks_to_node_over_tls() {
    converse_over_tls(Python, Node);
}

#[test]
fn node_talks_to_python_over_tls() {
    converse_over_tls(Node, Python);
}

#[test]
fn python_talks_to_python_over_tls() {
    converse_over_tls(Python, Python);
}

#[test]
fn node_talks_to_node_over_tls() {
    converse_over_tls(Node, Node);
}

#[test]
fn curl_opens_a_websocket() {
    let server = Python.serve(None);
    let proxy = Tidegate::in_front_of(&[&server]);
    let url = format!("http://{}/", proxy.address());
    let output = curl(&[
        "-i",
        "--http1.1",
        "-N",
        "--max-time",
        "2",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        &url,
    ]);
    let text = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert!(text.starts_with("http/1.1 101 "), "{text}");
    assert!(
        text.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"),
        "{text}"
    );
}
