//! Who may use the admin address: the Host check against DNS rebinding, the origin check against
//! pages of other sites, the token for calls that change something.

use std::net::IpAddr;

use hyper::header::{
    AUTHORIZATION, HOST, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL, WWW_AUTHENTICATE,
};
use hyper::{Request, Response, StatusCode};

use crate::state::admin_token::AdminToken;

use super::answer::{Body, text};

/// The scheme of `Authorization`, and the subprotocol that stands in for it where a browser can
/// set no header: `bearer, TOKEN`.
pub(super) const BEARER: &str = "bearer";

/// What a request must show; each asks for what stands before it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Nothing: everybody may have it.
    Nothing,
    /// That it knows this machine by its name.
    Host,
    /// That no page of another site is behind it.
    SameOrigin,
    /// The token, where one is set.
    Token,
}

/// What a request gets that may not do what it wants.
pub(super) fn refuse<B>(
    request: &Request<B>,
    need: Need,
    token: Option<&AdminToken>,
) -> Option<Response<Body>> {
    let shows_token = token.is_some_and(|token| bearer(request).is_some_and(|b| token.matches(b)));
    if need >= Need::Host && !shows_token && !names_this_machine(request) {
        return Some(text(StatusCode::FORBIDDEN, "foreign Host"));
    }
    if need >= Need::SameOrigin && !is_same_origin(request) {
        return Some(text(StatusCode::FORBIDDEN, "cross-origin call"));
    }
    if need >= Need::Token && token.is_some() && !shows_token {
        let mut answer = text(StatusCode::UNAUTHORIZED, "token missing or wrong");
        answer
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return Some(answer);
    }
    None
}

fn bearer<B>(request: &Request<B>) -> Option<&[u8]> {
    let field = |name| Some(request.headers().get(name)?.as_bytes());
    if let Some(value) = field(AUTHORIZATION) {
        let (scheme, token) = value.split_at_checked(BEARER.len() + 1)?;
        return scheme.eq_ignore_ascii_case(b"bearer ").then_some(token);
    }
    let offered = str::from_utf8(field(SEC_WEBSOCKET_PROTOCOL)?).ok()?;
    let (first, token) = offered.split_once(',')?;
    (first.trim() == BEARER).then(|| token.trim().as_bytes())
}

/// Browsers name the page's origin with every WebSocket and every call that changes something, and
/// with any other call at least whether it comes from another site (W3C Fetch Metadata).
fn is_same_origin<B>(request: &Request<B>) -> bool {
    let site = request.headers().get("sec-fetch-site");
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = request.headers().get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().unwrap_or_default();
    let authority = origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host(request)))
}

fn host<B>(request: &Request<B>) -> &str {
    let host = request.headers().get(HOST);
    host.and_then(|host| host.to_str().ok()).unwrap_or_default()
}

// A page that rebinds its own name to this address still sends that name as Host; an address or
// "localhost" can't be rebound.
fn names_this_machine<B>(request: &Request<B>) -> bool {
    let host = host(request);
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

    fn status(need: Need, fields: &[(&str, &str)], token: Option<&str>) -> Option<StatusCode> {
        let mut builder = Request::builder().uri("/");
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let request = builder.body(Full::<bytes::Bytes>::default()).unwrap();
        let token = token.map(AdminToken::from);
        refuse(&request, need, token.as_ref()).map(|answer| answer.status())
    }

    const REFUSED: Option<StatusCode> = Some(StatusCode::FORBIDDEN);
    const UNKNOWN: Option<StatusCode> = Some(StatusCode::UNAUTHORIZED);

    #[test]
    fn a_foreign_host_is_refused_and_an_address_is_not() {
        for host in ["127.0.0.1:9900", "[::1]:9900", "localhost", "LOCALHOST:1"] {
            assert_eq!(status(Need::Host, &[("host", host)], None), None, "{host}");
        }
        for host in ["evil.example", "evil.example:9900", ""] {
            let fields = [("host", host)];
            assert_eq!(status(Need::Host, &fields, None), REFUSED, "{host}");
            assert_eq!(status(Need::Nothing, &fields, None), None, "{host}");
        }
    }

    #[test]
    fn writing_needs_the_token() {
        let host = ("host", "localhost");
        let cases: [(&[(&str, &str)], _); 6] = [
            (&[host, ("authorization", "Bearer secret")], None),
            (&[host, ("authorization", "bearer secret")], None),
            (&[host, ("sec-websocket-protocol", "bearer, secret")], None),
            (&[host, ("authorization", "Bearer secreT")], UNKNOWN),
            (
                &[host, ("sec-websocket-protocol", "secret, bearer")],
                UNKNOWN,
            ),
            (&[host], UNKNOWN),
        ];
        for (fields, expected) in cases {
            let outcome = status(Need::Token, fields, Some("secret"));
            assert_eq!(outcome, expected, "{fields:?}");
        }
    }

    #[test]
    fn who_shows_the_token_may_use_any_host() {
        let fields = [("host", "edge1"), ("sec-websocket-protocol", "bearer, s")];
        assert_eq!(status(Need::SameOrigin, &fields, Some("s")), None);
        assert_eq!(status(Need::SameOrigin, &fields, Some("t")), REFUSED);
        assert_eq!(status(Need::SameOrigin, &fields, None), REFUSED);
    }

    #[test]
    fn pages_of_other_origins_may_neither_write_nor_watch() {
        let from = |origin, need| {
            let fields = [
                ("host", "localhost:9900"),
                ("authorization", "Bearer s"),
                ("origin", origin),
            ];
            status(need, &fields, Some("s"))
        };
        for origin in [
            "http://localhost:9901",
            "http://localhost",
            "http://evil.example",
            "http://localhost:9900.evil.example",
            "null",
            "",
        ] {
            assert_eq!(from(origin, Need::SameOrigin), REFUSED, "{origin}");
            assert_eq!(from(origin, Need::Token), REFUSED, "{origin}");
            assert_eq!(from(origin, Need::Host), None, "{origin}");
        }
        assert_eq!(from("http://localhost:9900", Need::Token), None);
    }

    /// An image or a script of another site's page asks without an origin.
    #[test]
    fn what_another_site_embeds_may_neither_write_nor_watch() {
        let from = |site, need| {
            let fields = [("host", "localhost:9900"), ("sec-fetch-site", site)];
            status(need, &fields, None)
        };
        for site in ["cross-site", "same-site", ""] {
            assert_eq!(from(site, Need::Token), REFUSED, "{site}");
            assert_eq!(from(site, Need::SameOrigin), REFUSED, "{site}");
            assert_eq!(from(site, Need::Host), None, "{site}");
        }
        for site in ["same-origin", "none"] {
            assert_eq!(from(site, Need::Token), None, "{site}");
        }
    }
}
