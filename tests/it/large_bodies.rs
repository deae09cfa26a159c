//! Bodies far larger than any memory the proxy may take for them: every byte arrives, none of them
//! stays.
//!
//! `TIDEGATE_BULK_MIB` says how large they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::support::{Connection, Setup, Tidegate};

const DEFAULT_MIB: u64 = 2048;

/// What the process may grow by at its highest: buffers of both sockets and of both directions, and
/// what the allocator rounds up to.
const GROWTH_KIB: usize = 8 * 1024;

/// A length that divides no buffer, so that a byte out of its place is seen.
const PATTERN_BYTES: usize = 65_521;

/// How a body says where it ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunks,
}

fn size() -> u64 {
    let mib = std::env::var("TIDEGATE_BULK_MIB").ok();
    mib.map_or(DEFAULT_MIB, |mib| mib.parse().unwrap()) << 20
}

fn pattern() -> Vec<u8> {
    (0..PATTERN_BYTES)
        .map(|at| (at % 251).to_le_bytes()[0])
        .collect()
}

impl Framing {
    fn field(self, size: u64) -> String {
        match self {
            Self::Length => format!("Content-Length: {size}"),
            Self::Chunks => "Transfer-Encoding: chunked".to_owned(),
        }
    }

    /// Writes a body of this size.
    fn write(self, mut to: impl Write, size: u64) {
        let pattern = pattern();
        let mut left = size;
        while left > 0 {
            let piece = usize::try_from(left).map_or(PATTERN_BYTES, |left| left.min(PATTERN_BYTES));
            if self == Self::Chunks {
                write!(to, "{piece:x}\r\n").unwrap();
            }
            to.write_all(&pattern[..piece]).unwrap();
            if self == Self::Chunks {
                to.write_all(b"\r\n").unwrap();
            }
            left -= piece as u64;
        }
        if self == Self::Chunks {
            to.write_all(b"0\r\n\r\n").unwrap();
        }
    }
}

/// Reads a body and holds it against the pattern; gives its length.
struct Check {
    pattern: Vec<u8>,
    length: u64,
}

impl Check {
    fn new() -> Self {
        Self {
            pattern: pattern(),
            length: 0,
        }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let at = usize::try_from(self.length % PATTERN_BYTES as u64).unwrap();
            let count = bytes.len().min(PATTERN_BYTES - at);
            assert!(
                bytes[..count] == self.pattern[at..at + count],
                "other bytes from {}",
                self.length
            );
            self.length += count as u64;
            bytes = &bytes[count..];
        }
    }
}

fn read_body(connection: &mut Connection, framing: Framing, size: u64) -> u64 {
    let mut check = Check::new();
    match framing {
        Framing::Length => read_exactly(connection, size, &mut check),
        Framing::Chunks => loop {
            let line = connection.read_line().unwrap();
            let size = u64::from_str_radix(line.trim(), 16).unwrap();
            read_exactly(connection, size, &mut check);
            assert_eq!(connection.read_exactly(2), b"\r\n");
            if size == 0 {
                break;
            }
        },
    }
    check.length
}

fn read_exactly(from: &mut impl Read, size: u64, check: &mut Check) {
    let mut buffer = vec![0; 256 * 1024];
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = from.read(&mut buffer[..wanted]).unwrap();
        assert!(count > 0, "the stream ended {left} bytes too early");
        check.add(&buffer[..count]);
        left -= count as u64;
    }
}

/// Takes one request, with its body where it has one, and answers as `answer` does.
fn serve(answer: impl Fn(Connection) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        answer(Connection::over(stream));
    });
    address
}

fn proxy(address: SocketAddr) -> Tidegate {
    Tidegate::start(&Setup::to(&[address]).with("route.http", "max_body = \"off\""))
}

/// Fails when the process at its highest was much larger than at its start.
#[track_caller]
fn stays_flat(proxy: &Tidegate, act: impl FnOnce(Connection)) {
    let before = proxy.process().memory_kib();
    act(proxy.connect());
    let peak = proxy.process().peak_memory_kib();
    eprintln!(
        "{} MiB: from {before} KiB to {peak} KiB at the highest",
        size() >> 20
    );
    assert!(
        peak < before + GROWTH_KIB,
        "from {before} KiB to {peak} KiB"
    );
}

#[track_caller]
fn uploads(framing: Framing) {
    let size = size();
    let proxy = proxy(serve(move |mut connection| {
        connection.read_head().unwrap();
        let length = read_body(&mut connection, framing, size).to_string();
        connection.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{length}",
            length.len()
        ));
        connection.read_to_end();
    }));
    stays_flat(&proxy, |mut client| {
        let field = framing.field(size);
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"));
        framing.write(&mut client, size);
        let answer = client.answer();
        assert_eq!((answer.status, answer.body), (200, size.to_string()));
    });
}

#[track_caller]
fn downloads(framing: Framing) {
    let size = size();
    let proxy = proxy(serve(move |mut connection| {
        connection.read_head().unwrap();
        let field = framing.field(size);
        connection.send(format!("HTTP/1.1 200 OK\r\n{field}\r\n\r\n"));
        framing.write(&mut connection, size);
        connection.read_to_end();
    }));
    stays_flat(&proxy, |mut client| {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.read_head().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(read_body(&mut client, framing, size), size);
    });
}

#[test]
fn a_body_of_known_length_goes_up_in_constant_memory() {
    uploads(Framing::Length);
}

#[test]
fn a_body_in_chunks_goes_up_in_constant_memory() {
    uploads(Framing::Chunks);
}

#[test]
fn a_body_of_known_length_comes_down_in_constant_memory() {
    downloads(Framing::Length);
}

#[test]
fn a_body_in_chunks_comes_down_in_constant_memory() {
    downloads(Framing::Chunks);
}
