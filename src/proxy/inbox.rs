//! Bytes received and not yet used: where heads are read from, on both legs.

use std::future::Future;
use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use crate::logic::request::Malformed;
use crate::logic::request::head::head_end;

use super::stream::Stream;

/// Bytes read in one go while a head is not complete.
const READ_BYTES: usize = 4096;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub enum NoHead {
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
pub struct Inbox {
    bytes: BytesMut,
    searched: usize,
}

impl Inbox {
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

    /// Takes everything that waits.
    pub fn take(&mut self) -> Bytes {
        self.searched = 0;
        std::mem::take(&mut self.bytes).freeze()
    }

    /// The next message head, read from `stream` as far as it is not here yet. `opening` is what
    /// it must begin with, so that a peer that speaks something else is not waited for.
    ///
    /// # Errors
    /// [`NoHead`]; when more than `max_bytes` come without an end, among others.
    pub async fn head<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        opening: &[u8],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, NoHead> {
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
            let read = self.read(stream, READ_BYTES);
            let Ok(read) = timeout_at(deadline, read).await else {
                return Err(NoHead::TimedOut {
                    started: !self.is_empty(),
                });
            };
            match read? {
                0 if self.is_empty() => return Err(NoHead::Closed),
                0 => return Err(NoHead::Cut),
                _ => {}
            }
        }
    }

    /// Waits until something is here; false when the stream ends or fails first. An empty inbox
    /// holds no buffer meanwhile, where the stream can be waited for without one.
    pub async fn first_byte(&mut self, stream: &mut Stream) -> bool {
        if !self.is_empty() {
            return true;
        }
        self.bytes = BytesMut::new();
        stream.readable().await.is_ok() && matches!(self.read(stream, READ_BYTES).await, Ok(1..))
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
            match self.read(stream, room.min(READ_BYTES)).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return false,
            }
        }
        true
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
