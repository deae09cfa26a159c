//! Handshakes from a few lines, for the tests of this folder and its neighbours.

use super::Offer;
use crate::logic::refusal::Refusal;
use crate::logic::request::testing::{request, response_head};
use crate::logic::request::{Request, ResponseHead};

/// The key of RFC 6455 section 1.3 and what answers it.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A good upgrade with more lines.
pub(crate) fn upgrade(lines: &str) -> Request {
    let text = format!(
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    );
    request(text).unwrap()
}

/// What such a request offers.
pub(crate) fn offer(lines: &str) -> Result<Offer, Refusal> {
    Offer::check(&upgrade(lines))
}

/// A good 101 with more lines.
pub(crate) fn switching(lines: &str) -> ResponseHead {
    let text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n{lines}\r\n"
    );
    response_head(text).unwrap()
}
