//! Answers of the admin address.

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::tail::Lines;

/// A body that is there as a whole, or one that goes on.
pub(super) type Body = Either<Full<Bytes>, Lines>;

/// Why a call of the API did nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("no {kind} {name}")]
    Unknown { kind: &'static str, name: String },
    #[error("{what} = {value}: {rule}")]
    Parameter {
        what: &'static str,
        value: String,
        rule: &'static str,
    },
    #[error("body: {0}")]
    Body(#[from] serde_json::Error),
    #[error("body: larger than {0} bytes, or cut short")]
    BodySize(usize),
    #[error("body: took too long")]
    BodyTimeout,
    #[error("nothing to do: {0}")]
    Nothing(&'static str),
    #[error("the process is stopping")]
    Stopping,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    Busy(&'static str),
}

impl Fault {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Parameter { .. } | Self::Body(_) | Self::BodySize(_) | Self::Nothing(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Stopping | Self::Busy(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
        }
    }

    /// What the caller gets.
    pub(super) fn answer(&self) -> Response<Body> {
        json(self.status(), &json!({ "error": self.to_string() }))
    }
}

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
    let mut response = Response::new(Either::Left(Full::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response
}
