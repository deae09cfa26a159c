//! A client on a bad day: it comes, gets as far as one phase, and stops there in one of the ways.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Day, Way, close_by_reset, part};
use crate::support::frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT};
use crate::support::request::Request;
use crate::support::wait::PATIENCE;

/// How far a client goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Accept,
    Hello,
    Head,
    Body,
    /// Before the answer to its upgrade.
    Asked,
    /// Inside a frame.
    Frame,
    /// In a flood of messages whose echoes it does not read.
    Flood,
    /// After its Close.
    Closing,
    /// To the end of a plain request.
    Request,
    /// To the end of a WebSocket.
    Whole,
}

impl Phase {
    const ALL: [Self; 13] = [
        Self::Accept,
        Self::Hello,
        Self::Head,
        Self::Body,
        Self::Asked,
        Self::Frame,
        Self::Flood,
        Self::Closing,
        Self::Request,
        Self::Request,
        Self::Whole,
        Self::Whole,
        Self::Whole,
    ];
}

/// Most bytes of a flood.
const FLOOD_BYTES: usize = 4 << 20;

/// One connection to be.
pub(super) struct Visit<'a> {
    day: &'a Day,
    tls: &'a Arc<ClientConfig>,
    dice: fastrand::Rng,
    phase: Phase,
    way: Way,
    secure: bool,
}

impl<'a> Visit<'a> {
    pub(super) fn draw(day: &'a Day, tls: &'a Arc<ClientConfig>) -> Self {
        let mut dice = day.dice();
        Self {
            day,
            tls,
            phase: Phase::ALL[dice.usize(..Phase::ALL.len())],
            way: Way::ALL[dice.usize(..Way::ALL.len())],
            secure: dice.bool(),
            dice,
        }
    }

    /// Pays it, and tells the day what was wrong.
    pub(super) async fn pay(mut self, plain: SocketAddr, secure: SocketAddr) {
        let address = if self.secure { secure } else { plain };
        let what = format!("{:?}, {:?}, TLS {}", self.phase, self.way, self.secure);
        match timeout(PATIENCE, self.connect(address)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => self.day.blame(format!("{what}: {fault}")),
            Err(_) => self.day.blame(format!("{what}: not over in time")),
        }
    }

    async fn connect(&mut self, address: SocketAddr) -> Result<(), String> {
        let mut tcp = TcpStream::connect(address).await.map_err(told)?;
        if self.way == Way::Reset && !matches!(self.phase, Phase::Request | Phase::Whole) {
            close_by_reset(&tcp);
        }
        match self.phase {
            Phase::Accept => part(&mut tcp, self.way).await,
            Phase::Hello => {
                let hello = self.hello();
                self.half(&mut tcp, &hello).await
            }
            _ if self.secure => {
                let connector = TlsConnector::from(Arc::clone(self.tls));
                let mut tls = connector.connect(localhost(), tcp).await.map_err(told)?;
                self.go_on(&mut tls).await
            }
            _ => self.go_on(&mut tcp).await,
        }
    }

    async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<(), String> {
        let post = b"POST /chaos HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n";
        match self.phase {
            Phase::Accept | Phase::Hello | Phase::Head => {
                let head = upgrade();
                self.half(stream, &head).await
            }
            Phase::Body => {
                let body = [&post[..], &vec![b'x'; 20_000]].concat();
                // A refusal may come before all of it is taken.
                let _ = stream.write_all(&body).await;
                part(stream, self.way).await
            }
            Phase::Asked => {
                let _ = stream.write_all(&upgrade()).await;
                part(stream, self.way).await
            }
            Phase::Request => {
                let body = vec![b'x'; self.dice.usize(..40_000)];
                let head = format!(
                    "POST /chaos HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
                self.answered(stream, &body).await
            }
            Phase::Frame | Phase::Flood | Phase::Closing | Phase::Whole => {
                if self.opens(stream).await? {
                    self.converse(stream).await
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Sends a part of it and stops.
    async fn half<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        bytes: &[u8],
    ) -> Result<(), String> {
        let end = self.dice.usize(1..bytes.len());
        let _ = stream.write_all(&bytes[..end]).await;
        part(stream, self.way).await
    }

    /// Asks for a WebSocket; whether it was granted.
    async fn opens<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
    ) -> Result<bool, String> {
        stream.write_all(&upgrade()).await.map_err(told)?;
        match status(&head(stream).await?) {
            Some(101) => Ok(true),
            Some(502..=504) => Ok(false),
            other => Err(format!("answered {other:?}")),
        }
    }

    /// The answer to a plain request: the body back as it was, or the server's fault.
    async fn answered<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        body: &[u8],
    ) -> Result<(), String> {
        let head = head(stream).await?;
        let mut came = Vec::new();
        let whole = stream.read_to_end(&mut came).await;
        match status(&head) {
            Some(502..=504) => Ok(()),
            Some(200) if came == body => {
                self.day.echoes.fetch_add(1, Ordering::AcqRel);
                Ok(())
            }
            // Cut short by its server, and the length says so.
            Some(200) if came.len() < body.len() && body.starts_with(&came) => Ok(()),
            other => Err(format!(
                "answered {other:?} with {} of {} bytes, {whole:?}",
                came.len(),
                body.len()
            )),
        }
    }

    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<(), String> {
        let mut socket = Socket {
            stream,
            unread: Vec::new(),
            expected: Vec::new(),
            day: self.day,
        };
        for number in 0..self.dice.u32(..6) {
            let size = self.dice.usize(..3000) * self.dice.usize(1..40);
            let message = format!("{number} {}", "x".repeat(size)).into_bytes();
            if !socket.echoes(message).await? {
                return Ok(());
            }
        }
        let close = Frame::client(CLOSE, Frame::close_payload(1000, "")).encode();
        match self.phase {
            Phase::Frame => {
                let frame = Frame::client(BINARY, vec![7; 70_000]).encode();
                self.half(socket.stream, &frame).await
            }
            Phase::Flood => {
                let frame = Frame::client(BINARY, vec![7; 64 << 10]).encode();
                let flood = async {
                    for _ in 0..FLOOD_BYTES / frame.len() {
                        socket.stream.write_all(&frame).await?;
                    }
                    io::Result::Ok(())
                };
                let _ = flood.await;
                part(socket.stream, self.way).await
            }
            Phase::Closing => {
                let _ = socket.stream.write_all(&close).await;
                part(socket.stream, self.way).await
            }
            _ => {
                let _ = socket.stream.write_all(&close).await;
                socket.hears_the_end().await
            }
        }
    }

    fn hello(&self) -> Vec<u8> {
        let mut session = ClientConnection::new(Arc::clone(self.tls), localhost()).unwrap();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        hello
    }
}

/// An open WebSocket whose echoes are checked.
struct Socket<'a, S> {
    stream: &'a mut S,
    unread: Vec<u8>,
    /// What was said and has not come back.
    expected: Vec<u8>,
    day: &'a Day,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<'_, S> {
    /// Whether a message came back, which it must have done unaltered; false at the end.
    async fn echoes(&mut self, message: Vec<u8>) -> Result<bool, String> {
        let frame = Frame::client(TEXT, &message).encode();
        self.expected = message;
        if self.stream.write_all(&frame).await.is_err() {
            return Ok(false);
        }
        while let Some(frame) = self.frame().await {
            match frame.opcode {
                PING => {
                    let pong = Frame::client(PONG, frame.payload).encode();
                    let _ = self.stream.write_all(&pong).await;
                }
                TEXT if frame.payload == self.expected => {
                    self.day.echoes.fetch_add(1, Ordering::AcqRel);
                    return Ok(true);
                }
                CLOSE => return Ok(false),
                _ => {
                    return Err(format!(
                        "heard {} {:?}",
                        frame.opcode,
                        frame.payload.first()
                    ));
                }
            }
        }
        Ok(false)
    }

    /// Reads on to the end, where no message may come any more.
    async fn hears_the_end(&mut self) -> Result<(), String> {
        while let Some(frame) = self.frame().await {
            if !matches!(frame.opcode, PING | PONG | CLOSE) {
                return Err(format!("heard {} after the last echo", frame.opcode));
            }
        }
        Ok(())
    }

    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = Frame::decode(&self.unread) {
                self.unread.drain(..length);
                return Some(frame);
            }
            if !matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {
                return None;
            }
        }
    }
}

fn upgrade() -> Vec<u8> {
    Request::upgrade().target("/chaos").bytes()
}

async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<String, String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.map_err(told)?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn status(head: &str) -> Option<u16> {
    head.split(' ').nth(1)?.parse().ok()
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
