//! A request's body as hyper takes it: whole, or through a channel from the client's task piece by
//! piece, so that a server that takes nothing stalls the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};

/// Pieces on the way at a time.
const PIECES: usize = 1;

/// The end where the client's task puts the body in. Dropped before [`BodySender::finish`], it cuts
/// the request off: a server never takes a part of a body for the whole.
#[derive(Debug)]
pub struct BodySender {
    pieces: mpsc::Sender<Piece>,
    wanted: oneshot::Receiver<()>,
}

/// What the connection to a server takes a body out of.
#[derive(Debug)]
pub enum RequestBody {
    /// All of a body, perhaps none.
    Whole(Bytes),
    /// What comes through a [`BodySender`].
    Channel(BodyReceiver),
}

/// The receiving end of a [`BodySender`].
#[derive(Debug)]
pub struct BodyReceiver {
    pieces: mpsc::Receiver<Piece>,
    wanted: Option<oneshot::Sender<()>>,
    ended: bool,
}

/// The body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("request body cut off")]
pub struct CutOff;

/// Nobody takes the body any more.
#[derive(Debug)]
pub struct Unwanted;

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// A body that is to come, and where it is put in.
pub fn body_channel() -> (BodySender, RequestBody) {
    let (put, pieces) = mpsc::channel(PIECES);
    let (want, wanted) = oneshot::channel();
    let sender = BodySender {
        pieces: put,
        wanted,
    };
    let receiver = BodyReceiver {
        pieces,
        wanted: Some(want),
        ended: false,
    };
    (sender, RequestBody::Channel(receiver))
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl BodySender {
    /// Resolves when a server begins to take the body; never when none will.
    pub async fn wanted(&mut self) {
        if (&mut self.wanted).await.is_err() {
            std::future::pending().await
        }
    }

    /// Puts payload in, once there is room for it.
    ///
    /// # Errors
    /// [`Unwanted`] when the server has closed or answered without it.
    pub async fn data(&self, data: Bytes) -> Result<(), Unwanted> {
        self.put(Piece::Data(data)).await
    }

    /// The body is whole, with these trailers.
    ///
    /// # Errors
    /// As for [`Self::data`]; a body that says its length is no longer asked for its end.
    pub async fn finish(self, trailers: HeaderMap) -> Result<(), Unwanted> {
        let last = if trailers.is_empty() {
            Piece::End
        } else {
            Piece::Trailers(trailers)
        };
        self.put(last).await
    }

    async fn put(&self, piece: Piece) -> Result<(), Unwanted> {
        self.pieces.send(piece).await.map_err(|_| Unwanted)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let receiver = match self.get_mut() {
            Self::Channel(receiver) => receiver,
            Self::Whole(bytes) if !bytes.is_empty() => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            Self::Whole(_) => return Poll::Ready(None),
        };
        if receiver.ended {
            return Poll::Ready(None);
        }
        if let Some(wanted) = receiver.wanted.take() {
            // Whoever feeds it may have left, which the pieces will tell.
            let _ = wanted.send(());
        }
        let piece = ready!(receiver.pieces.poll_recv(cx));
        receiver.ended = !matches!(piece, Some(Piece::Data(_)));
        Poll::Ready(match piece {
            Some(Piece::Data(data)) => Some(Ok(Frame::data(data))),
            Some(Piece::Trailers(trailers)) => Some(Ok(Frame::trailers(trailers))),
            Some(Piece::End) => None,
            None => Some(Err(CutOff)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Channel(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_finished_feed_is_a_whole_body() {
        let (mut sender, body) = body_channel();
        let taking = tokio::spawn(body.collect());
        sender.wanted().await;
        sender.data("some".into()).await.unwrap();
        sender.data("thing".into()).await.unwrap();
        let trailers = HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("x-sum"),
            hyper::header::HeaderValue::from_static("9"),
        )]);
        sender.finish(trailers.clone()).await.unwrap();
        let whole = taking.await.unwrap().unwrap();
        assert_eq!(whole.trailers(), Some(&trailers));
        assert_eq!(whole.to_bytes(), "something");
    }

    #[tokio::test]
    async fn a_body_that_is_here_is_taken_in_one_piece() {
        let body = RequestBody::Whole("something".into());
        assert!(!body.is_end_stream());
        assert_eq!(body.collect().await.unwrap().to_bytes(), "something");
    }

    #[tokio::test]
    async fn a_dropped_feed_is_a_body_cut_off() {
        let (sender, mut body) = body_channel();
        sender.data("half".into()).await.unwrap();
        drop(sender);
        assert!(body.frame().await.unwrap().is_ok());
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_feed_waits_for_a_server_that_takes_nothing() {
        let (sender, _body) = body_channel();
        sender.data("one".into()).await.unwrap();
        let second = futures_util::FutureExt::now_or_never(sender.data("two".into()));
        assert!(second.is_none());
    }

    #[tokio::test]
    async fn nobody_puts_into_what_nobody_takes() {
        let (sender, body) = body_channel();
        drop(body);
        assert!(sender.data("x".into()).await.is_err());
    }
}
