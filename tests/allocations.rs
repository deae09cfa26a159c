//! What the proxy allocates: nothing for a message, a bounded number of blocks for a session.
//! The proxy runs in this process, under an allocator that counts all of it; so this stands alone,
//! beside no other test. The backend is a process of its own.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

use std::alloc::System;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tidegate::app;
use tidegate::control::reload::Source;
use tidegate::logic::endpoint::Endpoint;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most allocations of a session without a message, from accept to end; there were 28 when this
/// was written.
const MOST_FOR_A_SESSION: usize = 30;

/// Longest wait for what is to happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_message_allocates_nothing_and_a_session_little() {
    let backend = Backend::start();
    let proxy = start_proxy(backend.address);

    let mut session = open(proxy);
    let messages = least_of_rounds(|| round_trips(&mut session, 200));
    assert_eq!(messages, 0, "for 200 messages there and back");

    let sessions = least_of_rounds(|| (0..20).for_each(|_| end(open(proxy))));
    let most = 20 * MOST_FOR_A_SESSION;
    assert!(sessions <= most, "{sessions} for 20 sessions");
}

/// Allocations of what was done, the least of some times: the control thread has work of its own.
fn least_of_rounds(mut work: impl FnMut()) -> usize {
    let count = |_| {
        let before = allocations();
        work();
        allocations() - before
    };
    (0..10).map(count).min().unwrap()
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

/// `tidegate echo`.
struct Backend {
    process: Child,
    address: SocketAddr,
}

impl Backend {
    fn start() -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["echo", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = process.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
        Self { process, address }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // It may have gone by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start_proxy(backend: SocketAddr) -> SocketAddr {
    let config = format!(
        r#"
        server.workers = 1
        log.level = "error"
        admin.bind = "off"
        listener.a.bind = "127.0.0.1:0"
        route = [{{ upstream = "u" }}]
        upstream.u.servers = ["{backend}"]
        "#
    );
    let (started, addresses) = mpsc::channel();
    thread::spawn(move || {
        let started = |addresses| started.send(addresses).unwrap();
        app::run(Source::Embedded(config), started).unwrap();
    });
    let addresses = addresses.recv_timeout(PATIENCE).unwrap();
    match addresses.listeners[0].1 {
        Endpoint::Tcp(address) => address,
        Endpoint::Unix(_) => unreachable!("it binds TCP"),
    }
}

fn open(proxy: SocketAddr) -> TcpStream {
    const REQUEST: &[u8] = b"GET /ws HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = TcpStream::connect(proxy).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(REQUEST).unwrap();
    let (mut head, mut length) = ([0; 1024], 0);
    while !head[..length].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut head[length..]).unwrap();
        assert!(read > 0, "the head is cut");
        length += read;
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "));
    stream
}

fn round_trips(session: &mut TcpStream, count: usize) {
    // A masked binary frame of 128 bytes, the key all zeros; its echo is not masked.
    let mut frame = [7; 136];
    frame[..8].copy_from_slice(&[0x82, 0xfe, 0, 128, 0, 0, 0, 0]);
    let mut echo = [0; 132];
    for _ in 0..count {
        session.write_all(&frame).unwrap();
        session.read_exact(&mut echo).unwrap();
    }
    assert_eq!(echo[4..], frame[8..]);
}

/// Closes in order and waits until the proxy has let go.
fn end(mut session: TcpStream) {
    let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
    session.write_all(&close).unwrap();
    let mut rest = [0; 64];
    while session.read(&mut rest).unwrap() > 0 {}
}
