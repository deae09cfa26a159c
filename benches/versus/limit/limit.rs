//! A relay that looks at nothing, as far down as any proxy on epoll can get: one wait for many, one
//! read and one write for each message. No frames, no limits, no timeouts, no figures.
//!
//!     limit PORT THREADS BACKEND_PORT..

use std::env;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::{self, AddressFamily, SocketType, sockopt};

const EVENTS_AT_ONCE: usize = 512;
const BUFFER_BYTES: usize = 256 * 1024;
const BACKLOG: i32 = 4096;
const LISTENER: u64 = u64::MAX;
/// Readiness is told once, when it comes about; for writing only after a write fell short.
const READING: EventFlags = EventFlags::IN
    .union(EventFlags::RDHUP)
    .union(EventFlags::ET);

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<u16> = env::args()
        .skip(1)
        .map(|word| word.parse())
        .collect::<Result<_, _>>()?;
    let [port, threads, backends @ ..] = numbers.as_slice() else {
        return Err("limit PORT THREADS BACKEND_PORT..".into());
    };
    let listeners = (0..*threads)
        .map(|_| listen(*port))
        .collect::<io::Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let relays: Vec<_> = (listeners.into_iter())
            .map(|listener| scope.spawn(|| Relay::new(listener, backends)?.run()))
            .collect();
        for relay in relays {
            relay
                .join()
                .map_err(|_| io::Error::other("a thread ended"))??;
        }
        Ok(())
    })
}

/// One of several listeners on the port: the kernel shares the connections out.
fn listen(port: u16) -> io::Result<TcpListener> {
    let socket: OwnedFd = net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    net::listen(&socket, BACKLOG)?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// One thread's connections, in pairs: the ends of pair `n` are told of as `2n` and `2n + 1`.
struct Relay<'a> {
    epoll: OwnedFd,
    listener: TcpListener,
    backends: &'a [u16],
    pairs: Vec<Option<[End; 2]>>,
    free: Vec<usize>,
    accepted: usize,
    buffer: Vec<u8>,
}

/// One socket, and what it has not taken yet.
struct End {
    socket: TcpStream,
    number: usize,
    unsent: Vec<u8>,
}

impl<'a> Relay<'a> {
    fn new(listener: TcpListener, backends: &'a [u16]) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            epoll,
            listener,
            backends,
            pairs: Vec::new(),
            free: Vec::new(),
            accepted: 0,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS_AT_ONCE);
        loop {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)?;
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    number => self.serve(number as usize, event.flags),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((client, _)) = self.listener.accept() {
            let port = self.backends[self.accepted % self.backends.len()];
            self.accepted += 1;
            let backend = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            let number = self.free.pop().unwrap_or(self.pairs.len());
            if number == self.pairs.len() {
                self.pairs.push(None);
            }
            self.pairs[number] = Some([
                self.admit(client, 2 * number)?,
                self.admit(backend, 2 * number + 1)?,
            ]);
        }
        Ok(())
    }

    fn admit(&self, socket: TcpStream, number: usize) -> io::Result<End> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(&self.epoll, &socket, told_as(number), READING)?;
        Ok(End {
            socket,
            number,
            unsent: Vec::new(),
        })
    }

    fn serve(&mut self, number: usize, ready: EventFlags) {
        // Both ends may be told of in one wait, and the first may have ended the pair.
        let Some(Some([client, backend])) = self.pairs.get_mut(number / 2) else {
            return;
        };
        let (end, peer) = match number % 2 {
            0 => (client, backend),
            _ => (backend, client),
        };
        if carry(end, peer, ready, &self.epoll, &mut self.buffer).is_err() {
            self.pairs[number / 2] = None;
            self.free.push(number / 2);
        }
    }
}

impl End {
    /// Sends what was left, as far as it goes.
    fn flush(&mut self) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = send(&mut self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
        }
        Ok(())
    }
}

/// Does what an end is ready for; the end of a stream is an error.
///
/// It is told of once, and perhaps while nothing could be read for what was unsent: then it is found
/// when there is room again.
fn carry(
    end: &mut End,
    peer: &mut End,
    ready: EventFlags,
    epoll: &OwnedFd,
    buffer: &mut [u8],
) -> io::Result<()> {
    if ready.contains(EventFlags::OUT) {
        end.flush()?;
        if end.unsent.is_empty() {
            epoll::modify(epoll, &end.socket, told_as(end.number), READING)?;
        }
        pump(peer, end, true, epoll, buffer)?;
    }
    let hangup = ready.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
    pump(end, peer, hangup, epoll, buffer)
}

/// Carries what is there from one socket to the other.
fn pump(
    from: &mut End,
    to: &mut End,
    until_end: bool,
    epoll: &OwnedFd,
    buffer: &mut [u8],
) -> io::Result<()> {
    while to.unsent.is_empty() {
        let length = match from.socket.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let sent = send(&mut to.socket, &buffer[..length])?;
        if sent < length {
            to.unsent.extend_from_slice(&buffer[sent..length]);
            let both = READING | EventFlags::OUT;
            epoll::modify(epoll, &to.socket, told_as(to.number), both)?;
        }
        // A read that leaves room has emptied the socket, and what comes next will be told of.
        if length < buffer.len() && !until_end {
            return Ok(());
        }
    }
    Ok(())
}

/// Writes once; a full socket takes nothing.
fn send(socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match socket.write(bytes) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        sent => sent,
    }
}

fn told_as(number: usize) -> EventData {
    EventData::new_u64(number as u64)
}
