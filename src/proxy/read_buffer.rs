//! A read buffer: bytes received and not yet used, from which heads are read, on both legs.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::logic::request::Malformed;
use crate::logic::request::head::head_end;
use crate::runtime::socket::Accepted;

use super::scratch;
use super::stream::Stream;

/// Bytes read in one go while a head is not complete.
const READ_BYTES: usize = 4096;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// The peer ended the stream before the first byte.
    #[error("closed")]
    Closed,
    /// The peer ended the stream inside the head.
    #[error("closed inside a head")]
    Cut,
    /// The head is not one.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It did not come in time; says whether any of it did.
    #[error("timed out")]
    TimedOut {
        /// Whether a part of the head is there.
        started: bool,
    },
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// What was read from a stream and not yet used.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: BytesMut,
    searched: usize,
}

impl ReadBuffer {
    /// Whether nothing waits in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What waits.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes so many of the bytes that wait.
    pub fn split(&mut self, count: usize) -> Bytes {
        self.searched = 0;
        self.bytes.split_to(count).freeze()
    }

    /// Takes so many of them, if they are all here.
    pub fn split_whole(&mut self, length: u64) -> Option<Bytes> {
        let length = usize::try_from(length).ok()?;
        (length <= self.bytes.len()).then(|| self.split(length))
    }

    /// Takes everything that waits.
    pub fn take(&mut self) -> Bytes {
        self.searched = 0;
        std::mem::take(&mut self.bytes).freeze()
    }

    /// The next message head, read from `stream` as far as it is not here yet. `opening` is what
    /// it must begin with, so that a peer that speaks something else is not waited for.
    ///
    /// # Errors
    /// [`HeadError`]; when more than `max_bytes` come without an end, among others.
    pub async fn head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        opening: &[u8],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, HeadError> {
        loop {
            if self
                .bytes
                .iter()
                .zip(opening)
                .any(|(came, expected)| came != expected)
            {
                return Err(Malformed::StartLine.into());
            }
            if let Some(end) = head_end(&self.bytes, self.searched, max_bytes)? {
                self.searched = 0;
                return Ok(self.bytes.split_to(end).freeze());
            }
            self.searched = self.bytes.len();
            let Ok(read) = timeout_at(deadline, self.read_some(stream, READ_BYTES)).await else {
                return Err(HeadError::TimedOut {
                    started: !self.is_empty(),
                });
            };
            match read? {
                0 if self.is_empty() => return Err(HeadError::Closed),
                0 => return Err(HeadError::Cut),
                _ => {}
            }
        }
    }

    /// What came with the connection: most clients speak first, and have when they are accepted.
    pub fn opened_with(socket: &Accepted) -> Self {
        let mut read_buffer = Self::default();
        scratch::with(|scratch| {
            // An end or an error is met again by whoever reads next.
            let came = socket.receive(&mut scratch[..READ_BYTES]).unwrap_or(0);
            read_buffer.bytes.extend_from_slice(&scratch[..came]);
        });
        read_buffer
    }

    /// Waits until something is here; false when the stream ends or fails first. An empty one
    /// holds no buffer meanwhile.
    pub async fn first_byte(&mut self, stream: &mut Stream) -> bool {
        if !self.is_empty() {
            return true;
        }
        self.bytes = BytesMut::new();
        matches!(self.read_some(stream, READ_BYTES).await, Ok(1..))
    }

    /// Takes in what comes while nobody wants it, `max_bytes` at most; resolves when the stream
    /// ends or fails, or once it is full, when the peer resets it.
    pub async fn until_gone(&mut self, stream: &mut Stream, max_bytes: usize) {
        if self.fill(stream, max_bytes).await {
            stream.reset().await;
        }
    }

    /// Takes in what comes until `max_bytes` are here; false when the stream ends or fails first.
    pub async fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S, max_bytes: usize) -> bool {
        while self.bytes.len() < max_bytes {
            let room = max_bytes - self.bytes.len();
            match self.read_some(stream, room.min(READ_BYTES)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
        }
        true
    }

    /// Reads once, `max` bytes at most, through the worker's scratch: only what came takes memory.
    async fn read_some<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        max: usize,
    ) -> io::Result<usize> {
        let read = |cx: &mut Context<'_>| {
            scratch::with(|scratch| {
                let mut buf = ReadBuf::new(&mut scratch[..max]);
                ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
                self.bytes.extend_from_slice(buf.filled());
                Poll::Ready(Ok(buf.filled().len()))
            })
        };
        poll_fn(read).await
    }

    /// Reads once, `max` bytes at most.
    pub fn read<'a, S: AsyncRead + Unpin>(
        &'a mut self,
        stream: &'a mut S,
        max: usize,
    ) -> impl Future<Output = io::Result<usize>> + 'a {
        self.bytes.reserve(max);
        async move { stream.take(max as u64).read_buf(&mut self.bytes).await }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[tokio::test]
    async fn a_head_takes_no_more_memory_than_it_has_bytes() {
        let (mut near, mut far) = duplex(1024);
        far.write_all(HEAD).await.unwrap();
        let mut read_buffer = ReadBuffer::default();
        assert_eq!(
            read_buffer.read_some(&mut near, 1024).await.unwrap(),
            HEAD.len()
        );
        assert!(read_buffer.bytes.capacity() < 2 * HEAD.len());
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        let head = read_buffer
            .head(&mut near, b"GET", 1024, deadline)
            .await
            .unwrap();
        assert_eq!(head, HEAD);
        assert!(read_buffer.is_empty());
    }

    #[test]
    fn what_came_with_a_connection_waits_and_an_end_is_left_to_the_reader() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for sent in [HEAD, b""] {
            let mut client = std::net::TcpStream::connect(address).unwrap();
            io::Write::write_all(&mut client, sent).unwrap();
            drop(client);
            let (accepted, _) = listener.accept().unwrap();
            // Of loopback everything is there as soon as the end is.
            accepted.peek(&mut [0; 1]).unwrap();
            let accepted = Accepted::Tcp(accepted.into());
            assert_eq!(ReadBuffer::opened_with(&accepted).bytes(), sent);
        }
    }
}
