//! An echo server that many connections can lean on: one thread, one task per connection.
//! A WebSocket gets its messages back, a plain request gets its own head as the body. It can take
//! its time over handshakes, and remembers how many it had in hand at once.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio_rustls::TlsAcceptor;

use super::backend::{field, switching_protocols};
use super::frame::{CLOSE, Frame, PING, PONG};

/// The header field in which it names itself.
pub const SERVED_BY: &str = "x-served-by";

/// A running echo server; its connections break when it is dropped.
pub struct Echo {
    address: SocketAddr,
    seen: Arc<Seen>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    open: AtomicUsize,
    shaking: AtomicUsize,
    most_shaking: AtomicUsize,
    heads: Mutex<Vec<String>>,
    tls_handshakes: Mutex<Vec<HandshakeKind>>,
    door: Door,
    tls: Option<TlsAcceptor>,
}

/// How soon a handshake is answered.
#[derive(Default)]
enum Door {
    #[default]
    Open,
    Slow(Duration),
    Held(Semaphore),
}

/// A connection whose first request has no answer yet.
struct Shaking<'a>(&'a Seen);

impl Echo {
    /// Starts on a free port.
    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// Starts on this address: a server that comes back.
    pub fn at(address: SocketAddr) -> Self {
        Self::with_door(address, Door::Open)
    }

    /// Starts on this address and takes this long for every handshake.
    pub fn slow_at(address: SocketAddr, pause: Duration) -> Self {
        Self::with_door(address, Door::Slow(pause))
    }

    /// Starts on a free port and answers no handshake before [`Self::let_in`].
    pub fn holding() -> Self {
        Self::with_door(([127, 0, 0, 1], 0).into(), Door::Held(Semaphore::new(0)))
    }

    /// Starts on a free port and speaks TLS.
    pub fn secure(tls: Arc<ServerConfig>) -> Self {
        Self::secure_at(([127, 0, 0, 1], 0).into(), tls)
    }

    /// Starts on this address and speaks TLS.
    pub fn secure_at(address: SocketAddr, tls: Arc<ServerConfig>) -> Self {
        let seen = Seen {
            tls: Some(tls.into()),
            ..Seen::default()
        };
        Self::with(address, seen)
    }

    fn with_door(address: SocketAddr, door: Door) -> Self {
        let seen = Seen {
            door,
            ..Seen::default()
        };
        Self::with(address, seen)
    }

    fn with(address: SocketAddr, seen: Seen) -> Self {
        let listener = bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(seen);
        let (stop, stopped) = oneshot::channel();
        let server = serve(listener, Arc::clone(&seen));
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                tokio::select! {
                    () = server => {}
                    _ = stopped => {}
                }
            });
        });
        Self {
            address,
            seen,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Several, each on a free port.
    pub fn start_many<const N: usize>() -> [Self; N] {
        std::array::from_fn(|_| Self::start())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it took so far.
    pub fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::Acquire)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::Acquire)
    }

    /// How many connections wait for the answer to their first request.
    pub fn shaking(&self) -> usize {
        self.seen.shaking.load(Ordering::Acquire)
    }

    /// The most of these there ever were at once.
    pub fn most_shaking(&self) -> usize {
        self.seen.most_shaking.load(Ordering::Acquire)
    }

    /// Answers so many handshakes more.
    pub fn let_in(&self, count: usize) {
        let Door::Held(door) = &self.seen.door else {
            panic!("its door is open")
        };
        door.add_permits(count);
    }

    /// The request heads it has read.
    pub fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// The last request head it has read.
    #[track_caller]
    pub fn last_head(&self) -> String {
        self.heads().pop().expect("a request")
    }

    /// How each TLS handshake went that came to its end.
    pub fn tls_handshakes(&self) -> Vec<HandshakeKind> {
        self.seen.tls_handshakes.lock().unwrap().clone()
    }

    /// Stops listening and breaks every connection; gives the address to come back at.
    pub fn kill(mut self) -> SocketAddr {
        self.end();
        self.address
    }

    fn end(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.end();
    }
}

impl Door {
    async fn pass(&self) {
        match self {
            Self::Open => {}
            Self::Slow(pause) => tokio::time::sleep(*pause).await,
            Self::Held(door) => door.acquire().await.unwrap().forget(),
        }
    }
}

impl<'a> Shaking<'a> {
    fn new(seen: &'a Seen) -> Self {
        let shaking = seen.shaking.fetch_add(1, Ordering::AcqRel) + 1;
        seen.most_shaking.fetch_max(shaking, Ordering::AcqRel);
        Self(seen)
    }
}

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        self.0.shaking.fetch_sub(1, Ordering::AcqRel);
    }
}

impl fmt::Display for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// `SO_REUSEADDR` lets a killed server come back while its old connections linger.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        None,
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

async fn serve(listener: TcpListener, seen: Arc<Seen>) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        seen.accepted.fetch_add(1, Ordering::AcqRel);
        seen.open.fetch_add(1, Ordering::AcqRel);
        let (seen, address) = (Arc::clone(&seen), listener.local_addr().unwrap());
        connections.spawn(async move {
            let _ = welcome(stream, address, &seen).await;
            seen.open.fetch_sub(1, Ordering::AcqRel);
        });
        while connections.try_join_next().is_some() {}
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

async fn welcome(stream: TcpStream, me: SocketAddr, seen: &Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(tls) = &seen.tls else {
        return converse(stream, me, seen).await;
    };
    let stream = tls.accept(stream).await?;
    let kind = stream.get_ref().1.handshake_kind().unwrap();
    seen.tls_handshakes.lock().unwrap().push(kind);
    converse(stream, me, seen).await
}

async fn converse(mut stream: impl Stream, me: SocketAddr, seen: &Seen) -> io::Result<()> {
    let mut unread = Vec::new();
    let mut shaking = Some(Shaking::new(seen));
    loop {
        let head = read_head(&mut stream, &mut unread).await?;
        seen.heads.lock().unwrap().push(head.clone());
        tokio::select! {
            () = seen.door.pass() => {}
            // A peer that leaves is no longer in hand.
            _ = stream.read_buf(&mut unread), if shaking.is_some() => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        // Before the answer: when it is there, the next may come.
        shaking.take();
        if field(&head, "upgrade").is_some() {
            let answer = switching_protocols(&head, &greeting(&head, me));
            stream.write_all(answer.as_bytes()).await?;
            stream.flush().await?;
            return echo(&mut stream, unread).await;
        }
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{SERVED_BY}: {me}\r\n\r\n{head}",
            head.len()
        );
        stream.write_all(answer.as_bytes()).await?;
        stream.flush().await?;
    }
}

/// Its name, and the first subprotocol the client offers.
fn greeting(head: &str, me: SocketAddr) -> String {
    let chosen = field(head, "sec-websocket-protocol").and_then(|offers| offers.split(',').next());
    let chosen = chosen.map(|name| format!("Sec-WebSocket-Protocol: {}\r\n", name.trim()));
    format!("{SERVED_BY}: {me}\r\n{}", chosen.unwrap_or_default())
}

async fn read_head(stream: &mut impl Stream, unread: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = memchr::memmem::find(unread, b"\r\n\r\n") {
            let head = unread.drain(..end + 4).collect::<Vec<u8>>();
            return Ok(String::from_utf8_lossy(&head).into_owned());
        }
        read_more(stream, unread).await?;
    }
}

async fn echo(stream: &mut impl Stream, mut unread: Vec<u8>) -> io::Result<()> {
    loop {
        while let Some((frame, length)) = Frame::decode(&unread) {
            unread.drain(..length);
            if frame.opcode == PONG {
                continue;
            }
            let opcode = if frame.opcode == PING {
                PONG
            } else {
                frame.opcode
            };
            let answer = Frame {
                opcode,
                mask: None,
                ..frame
            };
            stream.write_all(&answer.encode()).await?;
            stream.flush().await?;
            if opcode == CLOSE {
                return stream.shutdown().await;
            }
        }
        read_more(stream, &mut unread).await?;
    }
}

async fn read_more(stream: &mut impl Stream, unread: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(unread).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
