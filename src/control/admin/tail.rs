//! One session's frames as they pass: a JSON object a line, for as long as session and caller stay.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Instant, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Either;
use hyper::body::Frame as BodyFrame;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::info;

use crate::logic::reason::CloseCode;
use crate::logic::websocket::Side;
use crate::state::tap::{Frame, Sight, Tap, What};

use super::answer::{Body, Fault};
use super::{Admin, connections, params};

/// Sessions that are watched at a time.
const MAX_TAILS: usize = 16;

/// Places for those who watch a session.
#[derive(Clone, Debug)]
pub struct Tails(Arc<Semaphore>);

impl Default for Tails {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_TAILS)))
    }
}

/// A body that goes on for as long as there is something to see.
#[derive(Debug)]
pub(super) struct Lines {
    sights: mpsc::Receiver<Sight>,
    _place: OwnedSemaphorePermit,
}

/// Shows a session's frames from now on.
pub(super) fn tail<B>(
    admin: &Admin,
    request: &Request<B>,
    id: &str,
) -> Result<Response<Body>, Fault> {
    let with_payload = params::flag(request, "payload")?;
    if with_payload && !admin.is_local {
        return Err(Fault::Forbidden(
            "payloads are shown on a loopback address or a unix socket only",
        ));
    }
    let live = connections::find(admin, id)?;
    let place = Arc::clone(&admin.tails.0)
        .try_acquire_owned()
        .map_err(|_| Fault::Busy("too many sessions are watched"))?;
    info!(id, client = %live.client, with_payload, "watched by the operator");
    let (tap, sights) = Tap::new(with_payload, Instant::now());
    live.tap(tap);
    let mut response = Response::new(Either::Right(Lines {
        sights,
        _place: place,
    }));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    Ok(response)
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Self::Error>>> {
        let sight = ready!(self.sights.poll_recv(cx));
        Poll::Ready(sight.map(|sight| {
            let line = format!("{}\n", shown(&sight));
            Ok(BodyFrame::data(Bytes::from(line)))
        }))
    }
}

fn shown(sight: &Sight) -> Value {
    let mut shown = match &sight.what {
        What::Frame(frame) => of_frame(frame),
        What::End(reason, code) => json!({
            "event": "end",
            "reason": reason.word(),
            "close_code": code.map(CloseCode::get),
        }),
        What::Begin => json!({ "event": "begin" }),
        What::Replaced => json!({ "event": "replaced" }),
    };
    let at = sight.at.duration_since(UNIX_EPOCH).unwrap_or_default();
    shown["at"] = u64::try_from(at.as_millis()).unwrap_or(u64::MAX).into();
    shown["missed"] = sight.missed.into();
    shown
}

fn of_frame(frame: &Frame) -> Value {
    let by = if frame.is_ours {
        "proxy"
    } else {
        frame.to.other().word()
    };
    let mut shown = json!({
        "event": "frame",
        "direction": match frame.to {
            Side::Backend => "to_backend",
            Side::Client => "to_client",
        },
        "by": by,
        "opcode": frame.opcode.word(),
        "fin": frame.fin,
        "compressed": frame.compressed,
        "payload_bytes": frame.payload_bytes,
    });
    if let Some(start) = &frame.start {
        let (key, start) = match text(start).filter(|_| !frame.compressed) {
            Some(text) => ("payload_text", text.to_owned()),
            None => ("payload_hex", hex(start)),
        };
        shown[key] = start.into();
    }
    shown
}

/// The bytes as text, where they are; the last character may have been cut.
fn text(bytes: &[u8]) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_some() => None,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_text_where_they_can_be() {
        assert_eq!(text(b"hello"), Some("hello"));
        assert_eq!(text("h\u{e9}".as_bytes()), Some("h\u{e9}"));
        assert_eq!(text(&"h\u{e9}".as_bytes()[..2]), Some("h"));
        assert_eq!(text(b"h\xff"), None);
        assert_eq!(hex(b"\x00\xff"), "00ff");
    }
}
