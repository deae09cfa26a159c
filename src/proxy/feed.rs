//! A request's body on its way from the client's task to the connection to a server: piece by
//! piece, so that a server that takes nothing stalls the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame};
use tokio::sync::{mpsc, oneshot};

/// Pieces on the way at a time.
const PIECES: usize = 1;

/// The end where the client's task puts the body in. Dropped before [`Feed::finish`], it cuts the
/// request off: a server never takes a part of a body for the whole.
#[derive(Debug)]
pub struct Feed {
    pieces: mpsc::Sender<Piece>,
    wanted: oneshot::Receiver<()>,
}

/// What the connection to a server takes a body out of.
#[derive(Debug)]
pub enum Payload {
    /// All of a body, perhaps none.
    Whole(Bytes),
    /// What comes through a [`Feed`].
    Fed(Fed),
}

/// The receiving end of a [`Feed`].
#[derive(Debug)]
pub struct Fed {
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

/// Both ends of a body to be.
pub fn feed() -> (Feed, Payload) {
    let (put, pieces) = mpsc::channel(PIECES);
    let (want, wanted) = oneshot::channel();
    let feed = Feed {
        pieces: put,
        wanted,
    };
    let fed = Fed {
        pieces,
        wanted: Some(want),
        ended: false,
    };
    (feed, Payload::Fed(fed))
}

impl Default for Payload {
    fn default() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl Feed {
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

impl Body for Payload {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let fed = match self.get_mut() {
            Self::Fed(fed) => fed,
            Self::Whole(bytes) if !bytes.is_empty() => {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes)))));
            }
            Self::Whole(_) => return Poll::Ready(None),
        };
        if fed.ended {
            return Poll::Ready(None);
        }
        if let Some(wanted) = fed.wanted.take() {
            // Whoever feeds it may have left, which the pieces will tell.
            let _ = wanted.send(());
        }
        let piece = ready!(fed.pieces.poll_recv(cx));
        fed.ended = !matches!(piece, Some(Piece::Data(_)));
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
            Self::Fed(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_finished_feed_is_a_whole_body() {
        let (mut feed, payload) = feed();
        let taking = tokio::spawn(payload.collect());
        feed.wanted().await;
        feed.data("some".into()).await.unwrap();
        feed.data("thing".into()).await.unwrap();
        let trailers = HeaderMap::from_iter([(
            hyper::header::HeaderName::from_static("x-sum"),
            hyper::header::HeaderValue::from_static("9"),
        )]);
        feed.finish(trailers.clone()).await.unwrap();
        let whole = taking.await.unwrap().unwrap();
        assert_eq!(whole.trailers(), Some(&trailers));
        assert_eq!(whole.to_bytes(), "something");
    }

    #[tokio::test]
    async fn a_body_that_is_here_is_taken_in_one_piece() {
        let payload = Payload::Whole("something".into());
        assert!(!payload.is_end_stream());
        assert_eq!(payload.collect().await.unwrap().to_bytes(), "something");
    }

    #[tokio::test]
    async fn a_dropped_feed_is_a_body_cut_off() {
        let (feed, mut payload) = feed();
        feed.data("half".into()).await.unwrap();
        drop(feed);
        assert!(payload.frame().await.unwrap().is_ok());
        assert!(payload.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_feed_waits_for_a_server_that_takes_nothing() {
        let (feed, _payload) = feed();
        feed.data("one".into()).await.unwrap();
        let second = futures_util::FutureExt::now_or_never(feed.data("two".into()));
        assert!(second.is_none());
    }

    #[tokio::test]
    async fn nobody_puts_into_what_nobody_takes() {
        let (feed, payload) = feed();
        drop(payload);
        assert!(feed.data("x".into()).await.is_err());
    }
}
