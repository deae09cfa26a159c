//! The upload of a plain request: its body from the client towards the server, and after that an eye
//! on whether the client is still there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bytes::BytesMut;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use tokio::io::AsyncRead;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::logic::reason::EndReason;
use crate::logic::refusal::{BackendTimeout, Refusal};
use crate::logic::request::body::{Body, BodyFault, Step};
use crate::logic::request::trailers;

use super::read_buffer::ReadBuffer;
use super::request_body::{BodySender, Unwanted};

/// Bytes of a body read at a time.
const READ_BYTES: usize = 16 * 1024;

/// How far a request's body is, seen from both directions.
#[derive(Debug, Default)]
pub struct UploadProgress {
    read: AtomicBool,
    sent: AtomicBool,
    became_sent: Notify,
    payload_bytes: AtomicU64,
}

/// A body that is to come.
#[derive(Debug)]
pub struct Upload {
    /// Where it goes.
    pub sender: BodySender,
    /// Where it stands.
    pub body: Body,
    /// Largest payload.
    pub max_bytes: Option<u64>,
    /// Longest silence of the client.
    pub body_timeout: Duration,
    /// Longest time in which the server takes nothing.
    pub response_timeout: Duration,
}

/// Why a request ends from the client's side.
#[derive(Debug)]
pub enum ClientError {
    /// The client has left.
    Gone,
    /// Its body can't be taken.
    Refused(Refusal),
}

impl ClientError {
    /// The word of the log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Gone => EndReason::ClientGone.word(),
            Self::Refused(refusal) => refusal.word(),
        }
    }
}

impl UploadProgress {
    /// So much payload has gone on by now.
    pub fn went_on(&self, payload_bytes: u64) {
        self.payload_bytes.store(payload_bytes, Relaxed);
    }

    /// There is no body, or no more of it.
    pub fn complete(&self) {
        self.read.store(true, Relaxed);
        self.sent.store(true, Relaxed);
        self.became_sent.notify_one();
    }

    /// Whether all of it came from the client, so that the next request may follow.
    pub fn is_read(&self) -> bool {
        self.read.load(Relaxed)
    }

    /// Whether all of it is with the connection to the server.
    pub fn is_sent(&self) -> bool {
        self.sent.load(Relaxed)
    }

    /// Payload that went on.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes.load(Relaxed)
    }

    /// Resolves when the server has had the whole request for so long.
    pub async fn overdue(&self, response_timeout: Duration) {
        if !self.is_sent() {
            self.became_sent.notified().await;
        }
        sleep(response_timeout).await;
    }
}

/// Reads from the client for as long as its request is served: brings its body to the server as
/// soon as one wants it, then takes in what it sends ahead, `early_bytes` at most. Resolves only
/// when the request can't go on.
pub async fn read_client<S: AsyncRead + Unpin>(
    stream: &mut S,
    read_buffer: &mut ReadBuffer,
    upload: Option<Upload>,
    progress: &UploadProgress,
    early_bytes: usize,
) -> ClientError {
    if let Some(mut upload) = upload {
        tokio::select! {
            biased;
            () = upload.sender.wanted() => {}
            () = gone(stream, read_buffer, early_bytes) => return ClientError::Gone,
        }
        match upload.run(stream, read_buffer, progress).await {
            Ok(()) => {}
            Err(Stop::ClientError(error)) => return error,
            // Its answer is on the way, or its end; nobody needs the rest.
            Err(Stop::Unwanted) => return std::future::pending().await,
        }
    }
    gone(stream, read_buffer, early_bytes).await;
    ClientError::Gone
}

/// Resolves when the client has left, as far as that shows.
async fn gone<S: AsyncRead + Unpin>(
    stream: &mut S,
    read_buffer: &mut ReadBuffer,
    max_bytes: usize,
) {
    if !read_buffer.fill(stream, max_bytes).await {
        return;
    }
    std::future::pending().await
}

/// Why a body is not brought to its end.
enum Stop {
    ClientError(ClientError),
    Unwanted,
}

impl Upload {
    async fn run<S: AsyncRead + Unpin>(
        mut self,
        stream: &mut S,
        read_buffer: &mut ReadBuffer,
        progress: &UploadProgress,
    ) -> Result<(), Stop> {
        let mut section = BytesMut::new();
        loop {
            while !self.body.is_complete() && !read_buffer.is_empty() {
                match self.body.follow(read_buffer.bytes())? {
                    Step::Forward(count) => {
                        self.admit(progress)?;
                        let piece = self.sender.data(read_buffer.split(count));
                        let taken = timeout(self.response_timeout, piece).await;
                        taken.map_err(|_| stalled())??;
                    }
                    Step::Trailer(count) => section.extend_from_slice(&read_buffer.split(count)),
                    Step::Drop(count) => drop(read_buffer.split(count)),
                }
            }
            if self.body.is_complete() {
                break;
            }
            match timeout(self.body_timeout, read_buffer.read(stream, READ_BYTES)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) => return Err(Stop::ClientError(ClientError::Gone)),
                Err(_) => return Err(Refusal::BodyTimeout.into()),
            }
        }
        let trailers = forwardable(&section)?;
        progress.read.store(true, Relaxed);
        // A server that counted its length does not ask for the end.
        let _ = timeout(self.response_timeout, self.sender.finish(trailers)).await;
        progress.complete();
        Ok(())
    }

    fn admit(&self, progress: &UploadProgress) -> Result<(), Stop> {
        let bytes = self.body.payload_bytes();
        if self.max_bytes.is_some_and(|max| bytes > max) {
            return Err(Refusal::BodyTooLarge.into());
        }
        progress.went_on(bytes);
        Ok(())
    }
}

/// The trailer fields that go on.
fn forwardable(section: &[u8]) -> Result<HeaderMap, BodyFault> {
    let mut forwardable = HeaderMap::new();
    if section.is_empty() {
        return Ok(forwardable);
    }
    let fields = trailers::read(section)?;
    for field in fields.iter().filter(|field| trailers::may_pass(field.name)) {
        let name = HeaderName::from_bytes(field.name).map_err(|_| BodyFault::Trailer)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| BodyFault::Trailer)?;
        forwardable.append(name, value);
    }
    Ok(forwardable)
}

/// The server takes nothing of a body.
fn stalled() -> Stop {
    Refusal::Timeout(BackendTimeout::Response).into()
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::ClientError(ClientError::Refused(refusal))
    }
}

impl From<BodyFault> for Stop {
    fn from(fault: BodyFault) -> Self {
        Refusal::MalformedBody(fault).into()
    }
}

impl From<Unwanted> for Stop {
    fn from(_: Unwanted) -> Self {
        Self::Unwanted
    }
}
