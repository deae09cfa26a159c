//! Where a token stands in a request, and how it is taken out of what goes on.

use std::sync::Arc;

use super::TokenFault;
use crate::logic::request::percent::decoded;
use crate::logic::request::{Fields, Request, list};
use crate::logic::websocket::handshake::Offer;

/// One of `route.auth.jwt.from`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// `Authorization: Bearer TOKEN`.
    Header,
    /// A cookie of this name. It stays in the request: cookies are the application's.
    Cookie(Arc<str>),
    /// A parameter of this name in the query, which goes no further.
    Query(Arc<str>),
    /// `Sec-WebSocket-Protocol: bearer, TOKEN`, which goes on without the token.
    Subprotocol,
}

impl Source {
    /// Reads what `from` lists; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "header" => Some(Self::Header),
            None if text == "subprotocol" => Some(Self::Subprotocol),
            Some(("cookie", name)) if list::is_token(name.as_bytes()) => {
                Some(Self::Cookie(name.into()))
            }
            Some(("query", name)) if is_parameter_name(name) => Some(Self::Query(name.into())),
            _ => None,
        }
    }
}

/// As `from` lists it.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Subprotocol => f.write_str("subprotocol"),
        }
    }
}

/// The token of the first source that has one, which decides alone; those of all sources are gone
/// from what is sent on.
pub(super) fn take(
    sources: &[Source],
    request: &mut Request,
    mut offer: Option<&mut Offer>,
) -> Result<Vec<u8>, TokenFault> {
    let mut found = Vec::with_capacity(1);
    for source in sources {
        let fields = request.head().fields();
        let tokens = match source {
            Source::Header => in_header(fields),
            Source::Cookie(name) => in_cookies(fields, name),
            Source::Query(name) => {
                let (tokens, rest) = cut_from_query(request.query().unwrap_or_default(), name);
                if !tokens.is_empty() {
                    request.replace_query(rest);
                }
                tokens
            }
            Source::Subprotocol => {
                let token = offer.as_mut().and_then(|offer| offer.take_bearer());
                token.into_iter().map(Vec::from).collect()
            }
        };
        if found.is_empty() {
            found = tokens;
        }
    }
    match found.len() {
        0 => Err(TokenFault::Missing),
        1 => Ok(found.swap_remove(0)),
        // Whoever reads them after us may take another one.
        _ => Err(TokenFault::Ambiguous),
    }
}

/// RFC 6750 section 2.1. Credentials of another scheme are the application's; more than one line
/// is for nobody to choose from.
fn in_header(fields: &Fields) -> Vec<Vec<u8>> {
    let lines: Vec<&[u8]> = fields.values("authorization").collect();
    match lines.as_slice() {
        [] => Vec::new(),
        [line] => bearer(line).map(<[u8]>::to_vec).into_iter().collect(),
        lines => lines.iter().map(|line| line.to_vec()).collect(),
    }
}

fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked(BEARER.len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER.as_bytes());
    (is_bearer && matches!(token.first(), None | Some(b' '))).then(|| token.trim_ascii())
}

/// The scheme, and the subprotocol that a token follows.
const BEARER: &str = "bearer";

/// RFC 6265 section 4.2.1.
fn in_cookies(fields: &Fields, name: &str) -> Vec<Vec<u8>> {
    let lines = fields.values("cookie");
    let pairs = lines.flat_map(|line| line.split(|&byte| byte == b';'));
    let value = |pair: &[u8]| {
        let (key, value) = pair.split_at(pair.iter().position(|&byte| byte == b'=')?);
        (key.trim_ascii() == name.as_bytes()).then(|| unquoted(value[1..].trim_ascii()).to_vec())
    };
    pairs.filter_map(value).collect()
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inside = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    inside.unwrap_or(value)
}

/// Every value of a parameter, and the query without it.
fn cut_from_query(query: &str, name: &str) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut tokens, mut rest) = (Vec::new(), Vec::new());
    for pair in query.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // However it is spelt: who reads the log behind us decodes it too.
        if *decoded(key) == *name.as_bytes() {
            tokens.push(decoded(value).into_owned());
        } else {
            rest.push(pair);
        }
    }
    let rest = rest.join("&");
    (tokens, Some(rest).filter(|rest| !rest.is_empty()))
}

fn is_parameter_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"&=#%+;".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::request;
    use crate::logic::websocket::handshake::testing::upgrade;

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts
            .iter()
            .map(|text| Source::parse(text).unwrap())
            .collect()
    }

    /// The token of a plain request and the query that goes on.
    fn taken(
        from: &[&str],
        target: &str,
        lines: &str,
    ) -> (Result<String, TokenFault>, Option<String>) {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut request = request(head).unwrap();
        let token = take(&sources(from), &mut request, None);
        let token = token.map(|token| String::from_utf8(token).unwrap());
        (token, request.query().map(str::to_owned))
    }

    #[test]
    fn a_source_is_written_as_it_is_read() {
        for text in ["header", "cookie:session", "query:token", "subprotocol"] {
            assert_eq!(Source::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "Header",
            "cookie",
            "cookie:",
            "cookie:a b",
            "query:",
            "query:a=b",
            "body:x",
        ] {
            assert_eq!(Source::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_bearer_stands_in_one_authorization_line() {
        use TokenFault::{Ambiguous, Missing};
        for (lines, expected) in [
            ("Authorization: Bearer abc\r\n", Ok("abc")),
            ("authorization: BEARER   abc \r\n", Ok("abc")),
            ("Authorization: Bearer\r\n", Ok("")),
            ("Authorization: Bearerabc\r\n", Err(Missing)),
            ("Authorization: Basic abc\r\n", Err(Missing)),
            ("Authorization:\r\n", Err(Missing)),
            ("X: y\r\n", Err(Missing)),
            // ATTACKS L07.
            (
                "Authorization: Bearer a\r\nAuthorization: Bearer a\r\n",
                Err(Ambiguous),
            ),
            (
                "Authorization: Basic a\r\nAuthorization: Bearer a\r\n",
                Err(Ambiguous),
            ),
        ] {
            let (token, _) = taken(&["header"], "/", lines);
            assert_eq!(token.as_deref(), expected.as_ref().map(|it| *it), "{lines}");
        }
    }

    #[test]
    fn a_cookie_of_that_name_stands_once() {
        use TokenFault::{Ambiguous, Missing};
        for (lines, expected) in [
            ("Cookie: session=abc\r\n", Ok("abc")),
            ("Cookie: a=b;session=\"abc\" ; c=d\r\n", Ok("abc")),
            ("Cookie: a=b\r\nCookie: session=abc\r\n", Ok("abc")),
            ("Cookie: session=\r\n", Ok("")),
            (
                "Cookie: Session=abc; sessions=abc; session\r\n",
                Err(Missing),
            ),
            ("Cookie: session=abc; session=abc\r\n", Err(Ambiguous)),
        ] {
            let (token, _) = taken(&["cookie:session"], "/", lines);
            assert_eq!(token.as_deref(), expected.as_ref().map(|it| *it), "{lines}");
        }
    }

    #[test]
    fn a_parameter_is_cut_from_the_query_however_it_is_spelt() {
        use TokenFault::{Ambiguous, Missing};
        for (query, expected, rest) in [
            ("token=abc", Ok("abc"), None),
            ("a=1&token=abc&b=2", Ok("abc"), Some("a=1&b=2")),
            ("a=1&to%6ben=a%62c", Ok("abc"), Some("a=1")),
            ("token", Ok(""), None),
            ("a=token&b&%6", Err(Missing), Some("a=token&b&%6")),
            ("token=%+1", Ok("%+1"), None),
            ("token=a&x&token=b", Err(Ambiguous), Some("x")),
        ] {
            let (token, kept) = taken(&["query:token"], &format!("/?{query}"), "");
            assert_eq!(token.as_deref(), expected.as_ref().map(|it| *it), "{query}");
            assert_eq!(kept.as_deref(), rest, "{query}");
        }
    }

    #[test]
    fn the_first_source_decides_alone_and_the_others_are_cut_all_the_same() {
        let from = ["header", "query:token"];
        let line = "Authorization: Bearer first\r\n";
        let (token, query) = taken(&from, "/?token=second&a=b", line);
        assert_eq!(
            (token.as_deref(), query.as_deref()),
            (Ok("first"), Some("a=b"))
        );
        let (token, _) = taken(&["query:token", "header"], "/?token=second", line);
        assert_eq!(token.as_deref(), Ok("second"));
    }

    #[test]
    fn a_subprotocol_goes_on_without_its_token() {
        let take = |offered: &str| {
            let mut request = upgrade(&format!("Sec-WebSocket-Protocol: {offered}\r\n"));
            let mut offer = Offer::check(&request).unwrap();
            let token = take(&[Source::Subprotocol], &mut request, Some(&mut offer));
            let token = token.map(|token| String::from_utf8(token).unwrap());
            (token, offer.protocols().join(","))
        };
        assert_eq!(take("bearer, abc"), (Ok("abc".into()), "bearer".into()));
        let expected = (Ok("abc".into()), "chat,bearer,v2".into());
        assert_eq!(take("chat, bearer, abc, v2"), expected);
        assert_eq!(take("chat"), (Err(TokenFault::Missing), "chat".into()));
        assert_eq!(take("bearer"), (Ok(String::new()), "bearer".into()));
    }
}
