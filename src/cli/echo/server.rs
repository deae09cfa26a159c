//! The echo backend's sockets: one runtime, a task per connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::logic::answer::Answer;
use crate::logic::request::{Framing, Request, RequestHead};
use crate::logic::websocket::handshake::{Offer, accept_for};
use crate::proxy::read_buffer::ReadBuffer;
use crate::runtime::listen::BACKLOG;

use super::frames::Frames;

const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_HEAD_BYTES: usize = 64 * 1024;
const MAX_FIELDS: usize = 200;
const READ_BYTES: usize = 64 * 1024;
/// How long the acceptor rests when the process is out of descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// How long a client may take to end the connection after the closing handshake.
const LINGER: Duration = Duration::from_secs(2);

/// A bound echo backend.
#[derive(Debug)]
pub(in crate::cli) struct EchoServer {
    socket: std::net::TcpListener,
    address: SocketAddr,
}

impl EchoServer {
    /// Binds and listens.
    pub(in crate::cli) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = std::net::TcpListener::bind(address)?;
        // Called again, it makes the queue longer.
        rustix::net::listen(&socket, BACKLOG)?;
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address })
    }

    /// Where it listens.
    pub(in crate::cli) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves on this thread until the process ends.
    pub(in crate::cli) fn run(self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async move {
            let listener = TcpListener::from_std(self.socket)?;
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        tokio::spawn(async move {
                            // A client that breaks off is no event for an echo.
                            let _ = serve(stream).await;
                        });
                    }
                    Err(_) => sleep(EXHAUSTED_PAUSE).await,
                }
            }
        })
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut read_buffer = ReadBuffer::default();
    loop {
        let deadline = Instant::now() + HEAD_TIMEOUT;
        let head = read_buffer
            .head(&mut stream, b"", MAX_HEAD_BYTES, deadline)
            .await;
        let Ok(head) = head else { return Ok(()) };
        let request = match RequestHead::parse(head.clone(), MAX_FIELDS) {
            Ok(parsed) => Request::check(parsed),
            Err(malformed) => Err(malformed.into()),
        };
        let request = match request {
            Ok(request) => request,
            Err(refusal) => return send(&mut stream, &refusal.answer().closing()).await,
        };
        if request.is_websocket() {
            return match Offer::check(&request) {
                Ok(offer) => websocket(stream, read_buffer, &offer).await,
                Err(refusal) => send(&mut stream, &refusal.answer().closing()).await,
            };
        }
        let text = String::from_utf8_lossy(&head);
        let keeps = request.keeps_alive() && request.framing() == Framing::None;
        let answer = Answer::new(200, text.trim_end());
        let answer = if request.method() == "HEAD" {
            answer.to_head()
        } else {
            answer
        };
        let answer = if keeps { answer } else { answer.closing() };
        send(&mut stream, &answer).await?;
        if !keeps {
            return Ok(());
        }
    }
}

async fn send(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let mut bytes = Vec::new();
    answer.write_to(&mut bytes);
    stream.write_all(&bytes).await
}

async fn websocket(
    mut stream: TcpStream,
    mut read_buffer: ReadBuffer,
    offer: &Offer,
) -> io::Result<()> {
    let mut out =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Accept: "
            .to_vec();
    out.extend_from_slice(&accept_for(offer.key()));
    out.extend_from_slice(b"\r\n");
    if let Some(protocol) = offer.protocols().first() {
        out.extend_from_slice(format!("Sec-WebSocket-Protocol: {protocol}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");

    let mut frames = Frames::default();
    let mut closed = frames
        .echo(&read_buffer.take(), &mut out)
        .map_err(io::Error::other)?;
    let mut chunk = vec![0; READ_BYTES];
    loop {
        stream.write_all(&out).await?;
        out.clear();
        if closed {
            break;
        }
        match stream.read(&mut chunk).await? {
            0 => return Ok(()),
            read => {
                closed = frames
                    .echo(&chunk[..read], &mut out)
                    .map_err(io::Error::other)?
            }
        }
    }
    // RFC 6455 section 7.1.1: the server closes the connection first.
    stream.shutdown().await?;
    let mut nowhere = tokio::io::sink();
    let rest = tokio::io::copy(&mut stream, &mut nowhere);
    timeout(LINGER, rest)
        .await
        .map_or(Ok(()), |copied| copied.map(drop))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::net::TcpStream;

    use super::{Duration, EchoServer};

    #[test]
    fn a_burst_of_clients_waits_in_the_queue() {
        // More than the standard library's queue takes; nobody accepts.
        const BURST: usize = 300;
        let server = EchoServer::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let patience = Duration::from_secs(20);
        let clients: Vec<_> = (0..BURST)
            .map(|_| TcpStream::connect_timeout(&server.address(), patience).unwrap())
            .collect();
        assert_eq!(clients.len(), BURST);
    }
}
