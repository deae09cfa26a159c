//! Requests and responses as hyper's types, from and to ours.

use hyper::ext::{ReasonPhrase, on_informational};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::response::Parts;
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::sync::mpsc;

use crate::logic::request::fields::Field;
use crate::logic::request::{Malformed, Outbound, ResponseHead};

use super::request_body::RequestBody;

/// The request as hyper takes it.
///
/// # Errors
/// What hyper does not take, of all that our own grammar lets pass.
pub fn request(
    outbound: &Outbound<'_>,
    body: RequestBody,
) -> Result<Request<RequestBody>, Malformed> {
    let mut request = Request::new(body);
    *request.method_mut() =
        Method::from_bytes(outbound.request.method().as_bytes()).map_err(|_| Malformed::Method)?;
    *request.uri_mut() = uri(&outbound.target()).ok_or(Malformed::Target)?;
    *request.version_mut() = Version::HTTP_11;
    let mut fault = None;
    outbound.each_field(|name, value| {
        let (name, value) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value));
        match (name, value) {
            (Ok(name), Ok(value)) => {
                request.headers_mut().append(name, value);
            }
            (Err(_), _) => fault = Some(Malformed::FieldName),
            (_, Err(_)) => fault = Some(Malformed::FieldValue),
        }
    });
    fault.map_or(Ok(request), Err)
}

/// The fields of a map, line by line.
pub fn fields(map: &HeaderMap) -> impl Iterator<Item = Field<'_>> {
    map.iter().map(|(name, value)| Field {
        name: name.as_str().as_bytes(),
        value: value.as_bytes(),
    })
}

/// The head of an answer.
pub fn answer(parts: &Parts) -> ResponseHead {
    let phrase = parts.extensions.get::<ReasonPhrase>();
    let reason = phrase.map_or_else(|| usual_phrase(parts.status), ReasonPhrase::as_bytes);
    let minor = u8::from(parts.version == Version::HTTP_11);
    ResponseHead::of_parts(parts.status.as_u16(), reason, minor, fields(&parts.headers))
}

/// Where the interim answers to a request come out; beyond `max` that wait, they are lost.
pub fn interims(request: &mut Request<RequestBody>, max: usize) -> mpsc::Receiver<ResponseHead> {
    let (give, interims) = mpsc::channel(max);
    on_informational(request, move |interim| {
        let status = interim.status();
        let phrase = usual_phrase(status);
        let head = ResponseHead::of_parts(status.as_u16(), phrase, 1, fields(interim.headers()));
        // Who counts them has seen enough when there is no room.
        let _ = give.try_send(head);
    });
    interims
}

/// hyper keeps a phrase only where it is another.
fn usual_phrase(status: StatusCode) -> &'static [u8] {
    status.canonical_reason().unwrap_or_default().as_bytes()
}

/// RFC 3986 section 2: bytes that stand in no URI go on escaped, as hyper refuses them.
fn uri(target: &str) -> Option<Uri> {
    target.parse().ok().or_else(|| {
        let mut escaped = String::with_capacity(target.len() + 16);
        for letter in target.chars() {
            match letter {
                '"' => escaped.push_str("%22"),
                '<' => escaped.push_str("%3C"),
                '>' => escaped.push_str("%3E"),
                '`' => escaped.push_str("%60"),
                letter => escaped.push(letter),
            }
        }
        escaped.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_goes_on_as_it_came_where_it_can() {
        for target in ["/", "/a%20b?q={\"x\":1}|^", "*", "/{a}|b?c=d&e[]=~"] {
            let sent = uri(target).map(|uri| uri.to_string());
            let expected = target.replace('"', "%22");
            assert!(
                sent.as_deref() == Some(target) || sent == Some(expected),
                "{target}: {sent:?}"
            );
        }
        let sent = uri("/<a>`?\"b\"").map(|uri| uri.to_string());
        assert_eq!(sent.as_deref(), Some("/%3Ca%3E%60?%22b%22"));
    }
}
