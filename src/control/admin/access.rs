//! Who may use the admin address: the Host check against DNS rebinding, the origin check against
//! pages of other sites, the token for calls that change something.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::{Body, text};

/// The secret of the admin address.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Vec<u8>);

impl Token {
    /// Reads the first line of a file.
    ///
    /// # Errors
    /// When the file can't be read, or holds nothing.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let token = text.lines().next().unwrap_or_default().trim();
        if token.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no token in it"));
        }
        Ok(Self(token.as_bytes().to_vec()))
    }

    /// Compares in time that depends on the lengths alone.
    fn matches(&self, shown: &[u8]) -> bool {
        let differences = self
            .0
            .iter()
            .zip(shown)
            .fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == shown.len() && differences == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a request gets that may not do what it wants.
pub(super) fn refuse<B>(request: &Request<B>, token: Option<&Token>) -> Option<Response<Body>> {
    let shows_token = token.is_some_and(|token| bearer(request).is_some_and(|b| token.matches(b)));
    if !shows_token && !names_this_machine(request) {
        return Some(text(StatusCode::FORBIDDEN, "foreign Host"));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    if request.headers().contains_key(ORIGIN) {
        return Some(text(StatusCode::FORBIDDEN, "cross-origin call"));
    }
    if token.is_some() && !shows_token {
        let mut answer = text(StatusCode::UNAUTHORIZED, "token missing or wrong");
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(answer);
    }
    None
}

fn bearer<B>(request: &Request<B>) -> Option<&[u8]> {
    let value = request.headers().get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

// A page that rebinds its own name to this address still sends that name as Host; an address or
// "localhost" can't be rebound.
fn names_this_machine<B>(request: &Request<B>) -> bool {
    let host = request
        .headers()
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn request(method: Method, fields: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
        let mut builder = Request::builder().method(method).uri("/");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(Full::default()).unwrap()
    }

    fn status(
        method: Method,
        fields: &[(&str, &str)],
        token: Option<&Token>,
    ) -> Option<StatusCode> {
        refuse(&request(method, fields), token).map(|answer| answer.status())
    }

    #[test]
    fn a_foreign_host_is_refused_and_an_address_is_not() {
        for host in ["127.0.0.1:9900", "[::1]:9900", "localhost", "LOCALHOST:1"] {
            assert_eq!(status(Method::GET, &[("host", host)], None), None, "{host}");
        }
        for host in ["evil.example", "evil.example:9900", ""] {
            let refused = Some(StatusCode::FORBIDDEN);
            assert_eq!(
                status(Method::GET, &[("host", host)], None),
                refused,
                "{host}"
            );
        }
    }

    #[test]
    fn writing_needs_the_token_and_no_origin() {
        let token = Token(b"secret".to_vec());
        let host = ("host", "localhost");
        let cases: [(&[(&str, &str)], _); 4] = [
            (&[host, ("authorization", "Bearer secret")], None),
            (
                &[host, ("authorization", "Bearer secreT")],
                Some(StatusCode::UNAUTHORIZED),
            ),
            (&[host], Some(StatusCode::UNAUTHORIZED)),
            (
                &[
                    host,
                    ("authorization", "Bearer secret"),
                    ("origin", "http://localhost"),
                ],
                Some(StatusCode::FORBIDDEN),
            ),
        ];
        for (fields, expected) in cases {
            assert_eq!(
                status(Method::POST, fields, Some(&token)),
                expected,
                "{fields:?}"
            );
        }
    }
}
