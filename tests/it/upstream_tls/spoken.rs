//! TLS with servers that others wrote, for WebSockets and plain requests.

use crate::support::certificates::Authority;
use crate::support::peers::Library;
use crate::support::{Request, Tidegate};

use Library::{Node, Python};

use super::{ca, good_server, over_tls};

#[track_caller]
fn converse(client: Library, server: Library) {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost", "127.0.0.1"]);
    let server = server.serve(Some(&certificate));
    let proxy = Tidegate::start(&over_tls(&server, &ca(&authority)));
    client.converse(&format!("ws://{}/", proxy.address()), None);
}

#[test]
fn a_python_server_is_spoken_to_over_tls() {
    converse(Node, Python);
}

#[test]
fn a_node_server_is_spoken_to_over_tls() {
    converse(Python, Node);
}

#[test]
fn messages_of_every_size_come_back_over_tls_on_both_sides() {
    let authority = Authority::new();
    let (echo, lines) = good_server(&authority);
    let shown = authority.issue(&["a.example"]);
    let certificates = format!("certificates = [{}]", shown.toml());
    let setup = over_tls(&echo, &lines).with("listener.public.tls", &certificates);
    let proxy = Tidegate::start(&setup);
    let connection = proxy.connect_tls("a.example", &authority.client());
    let mut socket = crate::support::websocket::WebSocket::open(connection, "/");
    for size in [0, 1, 125, 126, 16_384, 65_535, 65_536, 1 << 20, 4 << 20] {
        socket.echo(&"x".repeat(size));
    }
    socket.close();
}

#[test]
fn plain_requests_share_a_connection_over_tls() {
    let authority = Authority::new();
    let (echo, lines) = good_server(&authority);
    let setup = over_tls(&echo, &lines).with("server", "workers = 1");
    let proxy = Tidegate::start(&setup);
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.send(Request::get("/").bytes());
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(echo.tls_handshakes().len(), 1);
}

#[test]
fn a_server_that_ends_without_close_notify_ends_its_session_like_any_other() {
    let authority = Authority::new();
    let (echo, lines) = good_server(&authority);
    let proxy = Tidegate::start(&over_tls(&echo, &lines));
    let mut client = proxy.tunnel();
    drop(echo);
    assert_eq!(crate::support::stage::last_word(&mut client), Some(1014));
    let labels = [("reason", "backend_gone")];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
}
