//! A connection to a server that carries plain requests, one after the other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::debug;

use crate::config::model;
use crate::logic::endpoint::Ends;
use crate::state::upstream::Pick;

use super::attempt::{MAX_FIELDS, MAX_HEAD_BYTES};
use super::dial::{DialError, dial};
use super::request_body::RequestBody;
use super::stream::Stream;

/// How long a connection that nobody holds any more may take to end: what is still to be sent may
/// wait for a server that reads nothing.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection, and hyper's handle to it. The task that drives it ends with the handle.
#[derive(Debug)]
pub struct ServerConnection {
    requests: SendRequest<RequestBody>,
    traffic: Arc<Traffic>,
    _held: oneshot::Sender<()>,
}

/// What a request has seen of its connection.
#[derive(Debug, Default)]
struct Traffic {
    sent: AtomicBool,
    heard: AtomicBool,
}

impl ServerConnection {
    /// Connects to the server that was picked; `ends` are the client's.
    ///
    /// # Errors
    /// [`DialError`], by whose fault it is.
    pub async fn open(
        pick: &Pick,
        settings: &model::Upstream,
        ends: Ends,
    ) -> Result<Self, DialError> {
        let stream = dial(pick, settings, ends).await?;
        let traffic = Arc::new(Traffic::default());
        let watched = Watched {
            stream,
            traffic: Arc::clone(&traffic),
        };
        let (requests, driver) = Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_FIELDS)
            .handshake(TokioIo::new(watched))
            .await
            .map_err(|error| DialError::Unreachable(io::Error::other(error)))?;
        let (held, dropped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let overdue = async {
                // Nothing is ever sent: the end of the sender is the news.
                let _ = dropped.await;
                sleep(CLOSE_TIMEOUT).await;
            };
            select! {
                ended = driver => if let Err(error) = ended {
                    debug!(%error, "connection to a server failed");
                },
                () = overdue => debug!("connection to a server cut"),
            }
        });
        Ok(Self {
            requests,
            traffic,
            _held: held,
        })
    }

    /// Sends a request and waits for the head of its answer. Dropped meanwhile, the connection
    /// is closed.
    ///
    /// # Errors
    /// What went wrong, with the request where not a part of it was taken.
    pub async fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.traffic.sent.store(false, Relaxed);
        self.traffic.heard.store(false, Relaxed);
        self.requests.try_send_request(request).await
    }

    /// Whether a byte of the last request went out.
    pub fn has_sent(&self) -> bool {
        self.traffic.sent.load(Relaxed)
    }

    /// Whether a byte of its answer came in.
    pub fn has_heard(&self) -> bool {
        self.traffic.heard.load(Relaxed)
    }

    /// Waits until it can take another request; false when it never will.
    pub async fn is_ready(&mut self) -> bool {
        self.requests.is_ready() || self.requests.ready().await.is_ok()
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }
}

/// A stream that notes whether bytes went and came.
struct Watched {
    stream: Stream,
    traffic: Arc<Traffic>,
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            this.traffic.heard.store(true, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, buf);
        if matches!(written, Poll::Ready(Ok(1..))) {
            this.traffic.sent.store(true, Relaxed);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
