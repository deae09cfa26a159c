//! Clients that come again and again, and count what goes wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::frame::{CLOSE, Frame, TEXT};
use super::request::Request;
use super::wait::{PATIENCE, wait_until};

/// Clients on threads of their own, each of which connects, opens a WebSocket, says something,
/// hears it, closes, and begins again.
pub struct Storm {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    attempts: AtomicUsize,
    faults: Mutex<Vec<io::Error>>,
}

/// What became of a storm's connections.
#[derive(Debug)]
pub struct Tally {
    /// Connections that were tried.
    pub attempts: usize,
    /// Those that nobody took.
    pub refused: usize,
    /// Those that were cut.
    pub reset: usize,
    /// Whatever else went wrong.
    pub other: Vec<io::Error>,
}

impl Storm {
    /// Sends so many clients at a time.
    pub fn against(address: SocketAddr, clients: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let client = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.come_again_and_again(address))
        };
        let clients = (0..clients).map(client).collect();
        Self { shared, clients }
    }

    /// Waits until so many more connections were tried.
    #[track_caller]
    pub fn wait_for_more(&self, count: usize) {
        let attempts = || self.shared.attempts.load(Ordering::Acquire);
        let goal = attempts() + count;
        wait_until("more connections", || attempts() >= goal);
    }

    /// Ends the storm.
    pub fn finish(self) -> Tally {
        self.shared.over.store(true, Ordering::Release);
        for client in self.clients {
            client.join().unwrap();
        }
        let mut tally = Tally {
            attempts: self.shared.attempts.load(Ordering::Acquire),
            refused: 0,
            reset: 0,
            other: Vec::new(),
        };
        for fault in std::mem::take(&mut *self.shared.faults.lock().unwrap()) {
            match fault.kind() {
                io::ErrorKind::ConnectionRefused => tally.refused += 1,
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => tally.reset += 1,
                _ => tally.other.push(fault),
            }
        }
        tally
    }
}

impl Shared {
    fn come_again_and_again(&self, address: SocketAddr) {
        while !self.over.load(Ordering::Acquire) {
            if let Err(fault) = visit(address) {
                self.faults.lock().unwrap().push(fault);
            }
            self.attempts.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// One visit: 101, an echo, and a Close that is answered. The Close of a process that leaves may
/// come first.
fn visit(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    stream.write_all(&Request::upgrade().bytes())?;
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        received.push(byte[0]);
    }
    if !received.starts_with(b"HTTP/1.1 101 ") {
        return Err(io::Error::other(
            String::from_utf8_lossy(&received).into_owned(),
        ));
    }
    stream.write_all(&Frame::client(TEXT, "hello").encode())?;
    let first = frame(&mut stream)?;
    if first == Frame::server(TEXT, "hello") {
        stream.write_all(&Frame::client(CLOSE, Frame::close_payload(1000, "")).encode())?;
        return match frame(&mut stream)?.opcode {
            CLOSE => Ok(()),
            other => Err(io::Error::other(format!("opcode {other} for a Close"))),
        };
    }
    match first.close_code() {
        Some(1001) => Ok(()),
        _ => Err(io::Error::other(format!("{first:?} for an echo"))),
    }
}

fn frame(stream: &mut TcpStream) -> io::Result<Frame> {
    let mut received = Vec::new();
    loop {
        if let Some((frame, _)) = Frame::decode(&received) {
            return Ok(frame);
        }
        let mut chunk = [0; 256];
        let length = stream.read(&mut chunk)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&chunk[..length]);
    }
}
