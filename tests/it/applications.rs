//! What web applications speak: socket.io over each of its transports, SockJS over each of its, and
//! GraphQL over WebSockets; libraries that nobody here wrote on both sides.

use crate::support::peers::Library::Node;
use crate::support::peers::Server;
use crate::support::program::Program;
use crate::support::wait::wait_until;
use crate::support::{Setup, Tidegate};

/// Two socket.io servers, called `a` and `b`.
fn socketio_servers() -> [Server; 2] {
    ["a", "b"].map(|name| Node.server("socketio_server", &[name]))
}

/// In front of two servers, between which a client's address decides.
fn by_address(servers: &[Server]) -> Setup {
    Setup::to(servers)
        .with("upstream.echo", "balance = \"ip_hash\"\ndrain = \"0s\"")
        .with("listener.public", "trusted_proxies = [\"127.0.0.0/8\"]")
}

#[track_caller]
fn socketio(transports: &str) {
    let servers = socketio_servers();
    let proxy = Tidegate::start(&by_address(&servers));
    let url = format!("http://{}", proxy.address());
    Node.runs("socketio_client", &[&url, transports]);
}

#[test]
fn socketio_runs_over_websockets_only() {
    socketio("websocket");
}

#[test]
fn socketio_runs_over_polling_only() {
    socketio("polling");
}

#[test]
fn socketio_runs_over_polling_upgraded_to_a_websocket() {
    socketio("polling,websocket");
}

/// A socket.io client that claims to come from `address`.
fn socketio_puppet(proxy: &Tidegate, transports: &str, address: &str) -> Program {
    let url = format!("http://{}", proxy.address());
    Node.start("socketio_puppet", &[&url, transports, address])
}

/// Polling takes many requests, and all must find the server that knows the session.
#[test]
fn clients_of_many_addresses_stay_each_with_the_server_of_its_address() {
    let servers = socketio_servers();
    let proxy = Tidegate::start(&by_address(&servers));
    let addresses: Vec<String> = (1..=12).map(|last| format!("192.0.2.{last}")).collect();
    let clients: Vec<Program> = addresses
        .iter()
        .map(|address| socketio_puppet(&proxy, "polling,websocket", address))
        .collect();
    for client in &clients {
        client.tells(0, "upgrade");
    }
    let upgraded = || {
        servers
            .each_ref()
            .map(|server| server.program.count("upgrade"))
    };
    // The servers tell of it too, on pipes of their own.
    wait_until("every client to be upgraded", || {
        upgraded().iter().sum::<usize>() == clients.len()
    });
    let counts = upgraded();
    assert_eq!(
        servers
            .each_ref()
            .map(|server| server.program.count("connection")),
        counts
    );
    assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
}

#[track_caller]
fn moves_when_drained(transports: &str, reason: &str) {
    let servers = socketio_servers();
    let proxy = Tidegate::start(&by_address(&servers));
    let mut client = socketio_puppet(&proxy, transports, "192.0.2.1");
    let first = client.tells(0, "welcome");
    if transports.ends_with(",websocket") {
        client.tells(0, "upgrade");
    }
    let [a, b] = &servers;
    let (from, to, name) = match first.str("server") {
        Some("a") => (a, b, "b"),
        _ => (b, a, "a"),
    };
    assert_eq!(to.program.count("connection"), 0);
    let mark = client.told().mark();
    proxy.told(&["server", &format!("echo/{from}"), "drain"]);
    // A socket is closed; a poll under way is answered first, and the next request goes elsewhere.
    client.does("anyone there?");
    let end = client.tells(mark, "disconnect");
    assert_eq!(end.str("reason"), Some(reason), "{}", end.text());
    let second = client.tells(mark, "welcome");
    assert_eq!(second.str("server"), Some(name));
    assert_eq!(second.str("echo"), Some("hello"));
    assert_eq!(to.program.count("connection"), 1);
}

#[test]
fn a_socketio_client_moves_to_the_other_server_when_its_own_is_drained() {
    moves_when_drained("websocket", "transport close");
}

#[test]
fn an_upgraded_socketio_client_moves_to_the_other_server_when_its_own_is_drained() {
    moves_when_drained("polling,websocket", "transport close");
}

#[test]
fn a_polling_socketio_client_moves_to_the_other_server_when_its_own_is_drained() {
    moves_when_drained("polling", "transport error");
}

#[track_caller]
fn sockjs(transport: &str) {
    let server = Node.server("sockjs_server", &[]);
    let proxy = Tidegate::in_front_of(&[&server]);
    let url = format!("http://{}", proxy.address());
    Node.runs("sockjs_client", &[&url, transport]);
}

#[test]
fn sockjs_runs_over_websockets() {
    sockjs("websocket");
}

#[test]
fn sockjs_runs_over_xhr_streaming() {
    sockjs("xhr-streaming");
}

#[test]
fn sockjs_runs_over_xhr_polling() {
    sockjs("xhr-polling");
}

#[test]
fn sockjs_runs_over_eventsource() {
    sockjs("eventsource");
}

#[test]
fn graphql_subscribes_completes_and_passes_its_close_codes() {
    let server = Node.server("graphql_server", &[]);
    let proxy = Tidegate::in_front_of(&[&server]);
    let url = format!("ws://{}", proxy.address());
    Node.runs("graphql_client", &[&url]);
}
