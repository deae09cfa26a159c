//! `tidegate demo` and `tidegate echo`: something to see without a file.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::support::Connection;
use crate::support::log::Log;
use crate::support::proxy::BINARY;
use crate::support::websocket::WebSocket;

/// A subcommand that runs until it is killed.
struct Running {
    child: Child,
    output: Log,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = Log::follow(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The first address on the first line that contains `word`.
    #[track_caller]
    fn address(&self, word: &str) -> SocketAddr {
        let line = self
            .output
            .wait_for(0, word, |line| line.text().contains(word));
        line.text()
            .split(|c: char| c.is_whitespace() || c == '/')
            .find_map(|part| part.parse().ok())
            .unwrap_or_else(|| panic!("no address in {}", line.text()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_demo_serves_three_backends_and_prints_where() {
    let demo = Running::start(&["demo"]);
    let proxy = demo.address("ws://");
    let mut sockets: Vec<_> = (0..6)
        .map(|_| WebSocket::open(Connection::open(proxy), "/"))
        .collect();
    for socket in &mut sockets {
        socket.echo("hello");
    }
}

#[test]
fn echo_answers_websockets_and_plain_requests() {
    let echo = Running::start(&["echo", "--listen", "127.0.0.1:0"]);
    let address = echo.address("127.0.0.1");
    WebSocket::open(Connection::open(address), "/").echo("hello");
    let mut connection = Connection::open(address);
    connection.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
}
