//! A response on its way to the client: framed for it, and each piece sent as soon as nothing
//! more comes at once.

use std::future::poll_fn;
use std::io::Write as _;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::logic::reason::EndReason;
use crate::logic::request::to_client::write_response;
use crate::logic::request::trailers::may_pass;
use crate::logic::request::wire::write_field;
use crate::logic::request::{Framing, ResponseHead};

use super::hyper_types::fields;

/// What is gathered before it is sent.
const GATHER_BYTES: usize = 16 * 1024;

/// The client's stream, where its response goes.
#[derive(Debug)]
pub struct ResponseWriter<W> {
    stream: W,
    gathered: Vec<u8>,
    /// How much of it the client has: who is cut short goes on there.
    sent: usize,
    send_timeout: Duration,
    payload_bytes: u64,
}

/// How a response stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The client has left.
    ClientGone,
    /// The client took nothing for `send_timeout`.
    SendTimeout,
    /// The server left, or broke the framing.
    BackendGone,
    /// The server was silent for `body_timeout`.
    BodyTimeout,
}

impl Cut {
    /// The word of the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::ClientGone => EndReason::ClientGone.word(),
            Self::SendTimeout => "send_timeout",
            Self::BackendGone => EndReason::BackendGone.word(),
            Self::BodyTimeout => "body_timeout",
        }
    }
}

impl<W: AsyncWrite + Unpin> ResponseWriter<W> {
    /// Nothing was sent on this stream yet.
    pub const fn new(stream: W, send_timeout: Duration) -> Self {
        Self {
            stream,
            gathered: Vec::new(),
            sent: 0,
            send_timeout,
            payload_bytes: 0,
        }
    }

    /// Payload of the response that went to the client.
    pub const fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// Sends an interim response. Whether the client takes it shows with what follows.
    pub async fn interim(&mut self, head: &[u8]) {
        self.gathered.extend_from_slice(head);
        let _ = self.flush().await;
    }

    /// Sends a whole response; its body goes out in `framing`.
    ///
    /// # Errors
    /// [`Cut`]: then the connection must end without looking complete.
    pub async fn response(
        &mut self,
        head: &ResponseHead,
        framing: Framing,
        closes: bool,
        mut body: Incoming,
        body_timeout: Duration,
    ) -> Result<(), Cut> {
        write_response(head, framing, closes, &mut self.gathered);
        let mut trailers = None;
        loop {
            let frame = match self.next(&mut body, body_timeout).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(cut) => {
                    // What came before the break is the client's; the cut is told either way.
                    let _ = self.flush().await;
                    return Err(cut);
                }
            };
            match frame.into_data() {
                Ok(data) => self.gather(&data, framing),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if self.gathered.len() >= GATHER_BYTES {
                self.flush().await?;
            }
        }
        if framing == Framing::Chunked {
            self.gather_end(&trailers.unwrap_or_default());
        }
        self.flush().await
    }

    /// The body's next piece. Nothing that was gathered waits while it does.
    async fn next(
        &mut self,
        body: &mut Incoming,
        body_timeout: Duration,
    ) -> Result<Option<Frame<Bytes>>, Cut> {
        if body.is_end_stream() {
            return Ok(None);
        }
        let frame = match at_once(body).await {
            Some(frame) => frame,
            None => {
                self.flush().await?;
                let frame = timeout(body_timeout, body.frame()).await;
                frame.map_err(|_| Cut::BodyTimeout)?
            }
        };
        match frame.transpose() {
            Ok(frame) => Ok(frame),
            Err(_) => {
                // What came before it is the client's all the same.
                self.flush().await?;
                Err(Cut::BackendGone)
            }
        }
    }

    fn gather(&mut self, data: &[u8], framing: Framing) {
        // A chunk of no bytes would be the end.
        if data.is_empty() {
            return;
        }
        self.payload_bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
        if framing != Framing::Chunked {
            self.gathered.extend_from_slice(data);
            return;
        }
        // Writing to a Vec cannot fail.
        let _ = write!(self.gathered, "{:x}\r\n", data.len());
        self.gathered.extend_from_slice(data);
        self.gathered.extend_from_slice(b"\r\n");
    }

    /// RFC 9112 section 7.1: the last chunk and the trailer section.
    fn gather_end(&mut self, trailers: &HeaderMap) {
        self.gathered.extend_from_slice(b"0\r\n");
        for field in fields(trailers).filter(|field| may_pass(field.name)) {
            write_field(&mut self.gathered, field.name, field.value);
        }
        self.gathered.extend_from_slice(b"\r\n");
    }

    /// Sends what was gathered.
    async fn flush(&mut self) -> Result<(), Cut> {
        while self.sent < self.gathered.len() {
            let write = self.stream.write(&self.gathered[self.sent..]);
            self.sent += match timeout(self.send_timeout, write).await {
                Ok(Ok(count @ 1..)) => count,
                Ok(_) => return Err(Cut::ClientGone),
                Err(_) => return Err(Cut::SendTimeout),
            };
        }
        self.gathered.clear();
        self.sent = 0;
        match timeout(self.send_timeout, self.stream.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Cut::ClientGone),
            Err(_) => Err(Cut::SendTimeout),
        }
    }
}

/// What is here of a body, or comes as soon as its connection's task has had a turn: then a head and
/// a small body go out in one piece.
async fn at_once(body: &mut Incoming) -> Option<Option<hyper::Result<Frame<Bytes>>>> {
    let mut had_a_turn = false;
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(Some(frame)),
        Poll::Pending if had_a_turn => Poll::Ready(None),
        Poll::Pending => {
            had_a_turn = true;
            // Behind that task, which the poll has woken.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_the_client_has_of_an_interim_answer_is_not_sent_again() {
        let (stream, mut client) = duplex(8);
        let mut writer = ResponseWriter::new(stream, Duration::from_secs(1));
        writer.interim(b"0123456789").await;
        let received = tokio::spawn(async move {
            let mut received = String::new();
            client.read_to_string(&mut received).await.map(|_| received)
        });
        writer.interim(b"abc").await;
        drop(writer);
        assert_eq!(received.await.unwrap().unwrap(), "0123456789abc");
    }
}
