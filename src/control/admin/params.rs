//! What a caller says: the names in the path, the query, the body.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::config::{defaults, duration};
use crate::logic::request::percent;

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

/// A text with its percent-encoding undone.
fn decoded(text: &str) -> String {
    String::from_utf8_lossy(&percent::decoded(text)).into_owned()
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
