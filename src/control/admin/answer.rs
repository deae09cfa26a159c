//! Answers of the admin address.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// A body that is there as a whole.
pub(super) type Body = Full<Bytes>;

/// One line of plain text.
pub(super) fn text(status: StatusCode, line: &str) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", format!("{line}\n"))
}

/// A JSON value.
pub(super) fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    typed(status, "application/json", format!("{value}\n"))
}

/// A body of this media type.
pub(super) fn typed(status: StatusCode, media: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
