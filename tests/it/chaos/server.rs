//! A server on a bad day: each connection gets as far as one phase, and stops there or lies.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::{Day, Way, close_by_reset, part};
use crate::support::backend::{field, switching_protocols};
use crate::support::frame::{CLOSE, Frame, PING, PONG};

/// A listening server; gone when dropped.
pub(super) struct Moody {
    address: SocketAddr,
    _alive: oneshot::Sender<()>,
}

/// How far a connection gets before the server misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Accept,
    /// Before a byte of the answer.
    Asked,
    /// Inside the answer's head.
    Head,
    /// With an answer that is a lie.
    Answer,
    /// After the answer's head.
    Opened,
    /// Inside a frame, or a body.
    Inside,
    /// With a frame that is a lie.
    Frame,
    /// After a Close, of either side.
    Closing,
    /// Never.
    Never,
}

impl Phase {
    const ALL: [Self; 16] = [
        Self::Accept,
        Self::Asked,
        Self::Head,
        Self::Answer,
        Self::Opened,
        Self::Inside,
        Self::Frame,
        Self::Closing,
        Self::Never,
        Self::Never,
        Self::Never,
        Self::Never,
        Self::Never,
        Self::Never,
        Self::Never,
        Self::Never,
    ];
}

/// Answers that a proxy must not believe.
const LIES: [&str; 6] = [
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
    "SSH-2.0-OpenSSH_9.9\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n",
    "\0\0\0\0\0\0\0\0\r\n\r\n",
];

impl Moody {
    pub(super) fn start(day: &Arc<Day>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (alive, gone) = oneshot::channel();
        let day = Arc::clone(day);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = accept(TcpListener::from_std(listener).unwrap(), day) => {}
                    _ = gone => {}
                }
            });
        });
        Self {
            address,
            _alive: alive,
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, day: Arc<Day>) {
    while let Ok((stream, _)) = listener.accept().await {
        let day = Arc::clone(&day);
        tokio::spawn(async move {
            let mut dice = day.dice();
            let host = Host {
                phase: Phase::ALL[dice.usize(..Phase::ALL.len())],
                way: Way::ALL[dice.usize(..Way::ALL.len())],
                dice,
                stream,
                unread: Vec::new(),
            };
            let what = format!("server: {:?}, {:?}", host.phase, host.way);
            // The proxy may leave whenever it likes.
            if let Ok(Err(fault)) = host.receive().await {
                day.blame(format!("{what}: {fault}"));
            }
        });
    }
}

/// One connection of the proxy's, and what it is in for.
struct Host {
    phase: Phase,
    way: Way,
    dice: fastrand::Rng,
    stream: TcpStream,
    unread: Vec<u8>,
}

/// Whether the proxy left before it was done with, and else how the connection was parted with.
type Parted = io::Result<Result<(), String>>;

impl Host {
    async fn receive(mut self) -> Parted {
        if self.phase == Phase::Accept {
            return self.stop().await;
        }
        loop {
            let head = self.head().await?;
            match self.phase {
                Phase::Asked => return self.stop().await,
                Phase::Answer => {
                    let lie = LIES[self.dice.usize(..LIES.len())];
                    self.stream.write_all(lie.as_bytes()).await?;
                    return self.stop().await;
                }
                _ => {}
            }
            if field(&head, "upgrade").is_some() {
                return self.tunnel(&head).await;
            }
            let length = field(&head, "content-length").and_then(|length| length.parse().ok());
            let body = self.take(length.unwrap_or(0)).await?;
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            if self.phase == Phase::Head {
                return self.half(answer.as_bytes()).await;
            }
            self.stream.write_all(answer.as_bytes()).await?;
            match self.phase {
                Phase::Never => self.stream.write_all(&body).await?,
                Phase::Inside if body.len() > 1 => return self.half(&body).await,
                _ => return self.stop().await,
            }
        }
    }

    async fn tunnel(&mut self, head: &str) -> Parted {
        let answer = switching_protocols(head, "");
        if self.phase == Phase::Head {
            return self.half(answer.as_bytes()).await;
        }
        self.stream.write_all(answer.as_bytes()).await?;
        if self.phase == Phase::Opened {
            return self.stop().await;
        }
        let mut until_mischief = self.dice.u32(1..4);
        loop {
            let frame = self.frame().await?;
            match frame.opcode {
                PING => self.send(Frame::server(PONG, frame.payload)).await?,
                PONG => {}
                CLOSE => {
                    if self.phase != Phase::Closing {
                        self.send(Frame::server(CLOSE, frame.payload)).await?;
                    }
                    return self.stop().await;
                }
                opcode => {
                    until_mischief = until_mischief.saturating_sub(1);
                    let echo = Frame {
                        fin: frame.fin,
                        ..Frame::server(opcode, frame.payload)
                    };
                    match (self.phase, until_mischief) {
                        (Phase::Inside, 0) => return self.half(&echo.encode()).await,
                        (Phase::Frame, 0) => {
                            self.send(self.lie(echo)).await?;
                            return self.stop().await;
                        }
                        (Phase::Closing, 0) => {
                            let close = Frame::close_payload(4000, "moody");
                            self.send(Frame::server(CLOSE, close)).await?;
                            return self.stop().await;
                        }
                        _ => self.send(echo).await?,
                    }
                }
            }
        }
    }

    /// A frame that a server must not send.
    fn lie(&self, echo: Frame) -> Frame {
        match self.way {
            Way::Finish => Frame {
                mask: Some([1, 2, 3, 4]),
                ..echo
            },
            Way::Reset => Frame { opcode: 3, ..echo },
            Way::Stall => Frame { rsv: 1, ..echo },
        }
    }

    async fn half(&mut self, bytes: &[u8]) -> Parted {
        let end = self.dice.usize(1..bytes.len());
        self.stream.write_all(&bytes[..end]).await?;
        self.stop().await
    }

    async fn stop(&mut self) -> Parted {
        if self.way == Way::Reset {
            close_by_reset(&self.stream);
        }
        Ok(part(&mut self.stream, self.way).await)
    }

    async fn send(&mut self, frame: Frame) -> io::Result<()> {
        self.stream.write_all(&frame.encode()).await
    }

    async fn frame(&mut self) -> io::Result<Frame> {
        loop {
            if let Some((frame, length)) = Frame::decode(&self.unread) {
                self.unread.drain(..length);
                return Ok(frame);
            }
            self.more().await?;
        }
    }

    async fn head(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.unread, b"\r\n\r\n") {
                let head = self.take(end + 4).await?;
                return Ok(String::from_utf8_lossy(&head).into_owned());
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            self.more().await?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
