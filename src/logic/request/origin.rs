//! `access.origins`: which pages may open a WebSocket (RFC 6455 section 10.2).

use std::sync::Arc;

use thiserror::Error;

use super::{Host, Request, Scheme};

/// One origin that may come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OriginRule {
    /// This scheme, host and port.
    Exact {
        /// Lower case.
        scheme: Arc<str>,
        /// Lower case.
        host: Arc<str>,
        /// Filled in where it is the scheme's default; 0 where the scheme has none.
        port: u16,
    },
    /// This scheme and port, and any host below the suffix (kept with its leading dot).
    Wildcard {
        /// Lower case.
        scheme: Arc<str>,
        /// Lower case, leading dot.
        suffix: Arc<str>,
        /// Filled in where it is the scheme's default; 0 where the scheme has none.
        port: u16,
    },
    /// The request's own scheme, host and port.
    SameHost,
    /// A request without an Origin.
    Absent,
    /// The opaque origin `null`, only where it is named.
    Null,
}

/// A spelling that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an origin: scheme, host and port alone, as in https://app.example.com:8443")]
pub struct NotAnOrigin;

impl OriginRule {
    /// Parses `https://app.example.com`, `https://*.example.com`, `same-host`, `none` or `null`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(spelling: &str) -> Result<Self, NotAnOrigin> {
        match spelling {
            "same-host" => return Ok(Self::SameHost),
            "none" => return Ok(Self::Absent),
            "null" => return Ok(Self::Null),
            _ => {}
        }
        if let Some((scheme, below)) = spelling.split_once("://*.") {
            let origin =
                Origin::parse(format!("{scheme}://{below}").as_bytes()).ok_or(NotAnOrigin)?;
            let suffix = format!(".{}", origin.host).into();
            return Ok(Self::Wildcard {
                scheme: origin.scheme.into(),
                suffix,
                port: origin.port,
            });
        }
        let origin = Origin::parse(spelling.as_bytes()).ok_or(NotAnOrigin)?;
        Ok(Self::Exact {
            scheme: origin.scheme.into(),
            host: origin.host.into(),
            port: origin.port,
        })
    }
}

/// Whether the request's Origin is among those that may come in. No rule lets everybody in; with
/// rules, Origin must stand once and be an origin. `scheme` is what the client used.
pub fn admits(rules: &[OriginRule], request: &Request, scheme: Scheme) -> bool {
    let admitted = |value: Option<&[u8]>| match value {
        None => rules.contains(&OriginRule::Absent),
        Some(b"null") => rules.contains(&OriginRule::Null),
        Some(value) => Origin::parse(value)
            .is_some_and(|origin| rules.iter().any(|rule| origin.fits(rule, request, scheme))),
    };
    rules.is_empty() || request.head().fields().one("origin").is_ok_and(admitted)
}

/// RFC 6454 section 4: scheme, host and port, in lower case and with the default port filled in.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, authority) = str::from_utf8(value).ok()?.split_once("://")?;
        let scheme = is_scheme(scheme).then(|| scheme.to_ascii_lowercase())?;
        let host = Host::parse(authority.as_bytes())?;
        let port = host.port().unwrap_or_else(|| default_port(&scheme));
        Some(Self {
            scheme,
            host: host.name().to_owned(),
            port,
        })
    }

    fn fits(&self, rule: &OriginRule, request: &Request, own: Scheme) -> bool {
        match rule {
            OriginRule::Exact { scheme, host, port } => {
                *self.scheme == **scheme && *self.host == **host && self.port == *port
            }
            OriginRule::Wildcard {
                scheme,
                suffix,
                port,
            } => {
                let below = self.host.len() > suffix.len() && self.host.ends_with(&**suffix);
                *self.scheme == **scheme && below && self.port == *port
            }
            OriginRule::SameHost => {
                let port = request.host().port().unwrap_or_else(|| own.default_port());
                self.scheme == own.word() && self.host == request.host().name() && self.port == port
            }
            OriginRule::Absent | OriginRule::Null => false,
        }
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(scheme: &str) -> bool {
    let is_scheme_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme_byte)
}

fn default_port(scheme: &str) -> u16 {
    match scheme {
        "http" | "ws" => 80,
        "https" | "wss" => 443,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::request;

    fn admitted(rules: &[&str], host: &str, origins: &[&str]) -> bool {
        let rules: Vec<_> = rules
            .iter()
            .map(|rule| OriginRule::parse(rule).unwrap())
            .collect();
        let lines: String = origins
            .iter()
            .map(|origin| format!("Origin: {origin}\r\n"))
            .collect();
        let request = request(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n")).unwrap();
        admits(&rules, &request, Scheme::Https)
    }

    #[test]
    fn an_origin_is_compared_by_scheme_host_and_port() {
        let rules = [
            "https://good.com",
            "https://*.apps.com",
            "http://dev.com:3000",
        ];
        for origin in [
            "https://good.com",
            "HTTPS://Good.COM",
            "https://good.com:443",
            "https://a.apps.com",
            "https://a.b.apps.com",
            "http://dev.com:3000",
        ] {
            assert!(admitted(&rules, "a", &[origin]), "{origin}");
        }
        for origin in [
            "null",
            "https://good.com.evil.com",
            "https://evilgood.com",
            "http://good.com",
            "https://good.com:8443",
            "https://good.com.",
            "https://good.com/",
            "https://user@good.com",
            "good.com",
            "https://apps.com",
            "https://evilapps.com",
            "https://.apps.com",
            "http://a.apps.com",
            "http://dev.com",
            "https://good.com https://evil.com",
            "https://good.com, https://good.com",
            "",
        ] {
            assert!(!admitted(&rules, "a", &[origin]), "{origin}");
        }
    }

    #[test]
    fn two_origins_are_none() {
        assert!(!admitted(
            &["https://good.com"],
            "a",
            &["https://good.com", "https://good.com"]
        ));
    }

    #[test]
    fn an_absent_origin_passes_only_without_rules_or_where_none_is_listed() {
        assert!(admitted(&[], "a", &[]));
        assert!(admitted(&[], "a", &["https://anyone.com"]));
        assert!(admitted(&["none", "https://good.com"], "a", &[]));
        assert!(!admitted(&["https://good.com"], "a", &[]));
        assert!(!admitted(&["none"], "a", &["https://good.com"]));
    }

    #[test]
    fn null_passes_only_where_it_is_listed() {
        assert!(admitted(&["null"], "a", &["null"]));
        assert!(!admitted(&["none", "same-host"], "a", &["null"]));
    }

    #[test]
    fn same_host_means_the_requests_own_scheme_host_and_port() {
        let rows = [
            ("a.com", "https://a.com", true),
            ("A.com", "https://a.com:443", true),
            ("a.com:8443", "https://a.com:8443", true),
            ("a.com:8443", "https://a.com", false),
            ("a.com", "http://a.com", false),
            ("a.com", "https://b.com", false),
            ("[::1]:1", "https://[0::1]:1", true),
        ];
        for (host, origin, expected) in rows {
            assert_eq!(
                admitted(&["same-host"], host, &[origin]),
                expected,
                "{host} {origin}"
            );
        }
    }

    #[test]
    fn a_rule_that_is_no_origin_is_refused() {
        for spelling in [
            "",
            "*",
            "a.com",
            "https://",
            "https://*",
            "https://a.com/x",
            "://a",
            "1x://a",
        ] {
            assert_eq!(OriginRule::parse(spelling), Err(NotAnOrigin), "{spelling}");
        }
        assert_eq!(
            OriginRule::parse("capacitor://LocalHost"),
            Ok(OriginRule::Exact {
                scheme: "capacitor".into(),
                host: "localhost".into(),
                port: 0
            })
        );
    }
}
