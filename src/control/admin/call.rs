//! What a caller says: the names in the path, the query, the body.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::config::{defaults, duration};

use super::answer::Fault;

/// Largest body of a call.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// How long a caller may take for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The value of a parameter of the query, decoded; the first where there are several.
pub(super) fn query<B>(request: &Request<B>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

/// A parameter of the query that is true or false; false where it is missing.
pub(super) fn flag<B>(request: &Request<B>, name: &'static str) -> Result<bool, Fault> {
    match query(request, name).as_deref() {
        Some("true" | "1" | "") => Ok(true),
        None | Some("false" | "0") => Ok(false),
        Some(value) => Err(Fault::Parameter {
            what: name,
            value: value.to_owned(),
            rule: "neither true nor false",
        }),
    }
}

/// The body as JSON; an empty one is an empty object.
pub(super) async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Fault> {
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES).collect();
    let bytes = timeout(BODY_TIMEOUT, body)
        .await
        .map_err(|_| Fault::BodyTimeout)?
        .map_err(|_| Fault::BodySize(MAX_BODY_BYTES))?
        .to_bytes();
    let bytes = if bytes.is_empty() { b"{}" } else { &bytes[..] };
    Ok(serde_json::from_slice(bytes)?)
}

/// A `within`, as the configuration writes durations.
pub(super) fn within(text: &str) -> Result<Duration, Fault> {
    let time = duration(text).filter(|time| *time <= defaults::MAX_TIME);
    time.ok_or_else(|| Fault::Parameter {
        what: "within",
        value: text.to_owned(),
        rule: "not a duration (write \"20s\")",
    })
}

/// The names that a path gives where the pattern has `{name}`; `None` when it does not fit.
pub(super) fn names(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(names),
            (Some(wanted), Some(given)) if wanted.starts_with('{') => names.push(decoded(given)),
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// A text with its percent-encoding undone; what is none stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'%')
            .then(|| after.get(..2).and_then(hex))
            .flatten();
        bytes.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gives_its_names_decoded() {
        let pattern = "/api/v1/upstreams/{u}/servers/{a}";
        let path = "/api/v1/upstreams/chat/servers/%5B::1%5D:80";
        let expected = ["chat", "[::1]:80"].map(str::to_owned).to_vec();
        assert_eq!(names(pattern, path), Some(expected));
        for path in [
            "/api/v1/upstreams/chat/servers",
            "/api/v1/upstreams/a/servers/b/c",
            "/",
        ] {
            assert_eq!(names(pattern, path), None, "{path}");
        }
    }

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for (text, expected) in [
            ("%2Fx", "/x"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%+1", "%+1"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(decoded(text), expected, "{text}");
        }
    }

    #[test]
    fn a_query_is_read_by_name() {
        let request = Request::builder()
            .uri("/x?route=a%20b&dry_run&server=")
            .body(())
            .unwrap();
        assert_eq!(query(&request, "route").as_deref(), Some("a b"));
        assert_eq!(query(&request, "dry_run").as_deref(), Some(""));
        assert_eq!(query(&request, "user"), None);
    }
}
