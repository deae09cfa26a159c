//! What a route says of hosts and paths, and whether a request fits.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::logic::request::{Host, Malformed, path};

/// `route.host`: exact, or `*.` and a suffix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host, in lower case.
    Exact(Arc<str>),
    /// Any host that ends in this suffix, kept with its leading dot.
    Suffix(Arc<str>),
}

/// `route.path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// The path and everything below it, on a segment border.
    Prefix(Arc<str>),
    /// The path alone.
    Exact(Arc<str>),
}

/// Why a spelling is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PatternError {
    /// Neither a host name nor `*.` and one.
    #[error("not a host name")]
    Host,
    /// A route does not choose by port.
    #[error("a host pattern has no port")]
    Port,
    /// No absolute path, or one no request can have.
    #[error("not a path: {0}")]
    Path(Malformed),
}

/// As the file writes it.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
        }
    }
}

/// As the file writes it.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(path) => f.write_str(path),
            Self::Exact(path) => write!(f, "={path}"),
        }
    }
}

impl HostPattern {
    /// Parses `ws.example.com`, `[::1]` or `*.example.com`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(spelling: &str) -> Result<Self, PatternError> {
        let (wildcard, name) = match spelling.strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, spelling),
        };
        let host = Host::parse(name.as_bytes())
            .ok_or(PatternError::Host)?
            .without_trailing_dot();
        match (host.port(), wildcard) {
            (Some(_), _) => Err(PatternError::Port),
            (None, true) => Ok(Self::Suffix(format!(".{}", host.name()).into())),
            (None, false) => Ok(Self::Exact(host.name().into())),
        }
    }

    /// Whether `host`, in lower case and without port, fits. A wildcard stands for one label or
    /// more, as in nginx and HAProxy: `*.example.com` takes `a.b.example.com`, not `example.com`.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(&**suffix),
        }
    }
}

impl PathPattern {
    /// Parses `/ws` or `=/ws`, in any spelling of the path; it is kept in its normal form.
    ///
    /// # Errors
    /// When no request could have this path.
    pub fn parse(spelling: &str) -> Result<Self, PatternError> {
        let (exact, path) = match spelling.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, spelling),
        };
        let path: Arc<str> = path::normal_form(path.as_bytes())
            .map_err(PatternError::Path)?
            .into();
        Ok(if exact {
            Self::Exact(path)
        } else {
            Self::Prefix(path)
        })
    }

    /// Whether a path in its normal form fits: `/ws` takes `/ws`, `/ws/` and `/ws/x`, not `/wsx`;
    /// `/ws/` takes `/ws/` and `/ws/x`, not `/ws`.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path.strip_prefix(&**prefix).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
            }),
        }
    }

    /// A path that fits, with what the pattern names replaced by `replacement`: `/ws` rewritten to
    /// `/live` makes `/live/x` of `/ws/x`.
    pub fn rewrite(&self, path: &str, replacement: &str) -> String {
        let below = match self {
            Self::Exact(_) => "",
            Self::Prefix(prefix) => {
                let stem = prefix.strip_suffix('/').unwrap_or(prefix);
                path.strip_prefix(stem).unwrap_or_default()
            }
        };
        match below {
            "" => replacement.to_owned(),
            below => format!("{}{below}", replacement.trim_end_matches('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_pattern_is_a_name_or_a_wildcard_below_one() {
        let exact = |name: &str| Ok(HostPattern::Exact(name.into()));
        let rows = [
            ("WS.Example.com", exact("ws.example.com")),
            ("example.com.", exact("example.com")),
            ("[::1]", exact("[::1]")),
            (
                "*.Example.com",
                Ok(HostPattern::Suffix(".example.com".into())),
            ),
            ("a:80", Err(PatternError::Port)),
            ("*", Err(PatternError::Host)),
            ("*.", Err(PatternError::Host)),
            ("a.*.b", Err(PatternError::Host)),
            ("*example.com", Err(PatternError::Host)),
            ("", Err(PatternError::Host)),
            ("https://a", Err(PatternError::Host)),
        ];
        for (spelling, expected) in rows {
            assert_eq!(HostPattern::parse(spelling), expected, "{spelling}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label_or_more() {
        let pattern = HostPattern::parse("*.example.com").unwrap();
        for host in ["a.example.com", "a.b.example.com"] {
            assert!(pattern.matches(host), "{host}");
        }
        for host in [
            "example.com",
            "aexample.com",
            ".example.com",
            "a.example.com.evil",
        ] {
            assert!(!pattern.matches(host), "{host}");
        }
    }

    #[test]
    fn a_path_pattern_is_kept_in_its_normal_form() {
        let prefix = |path: &str| Ok(PathPattern::Prefix(path.into()));
        let rows = [
            ("/", prefix("/")),
            ("/%77s", prefix("/ws")),
            ("/caf%c3%a9", prefix("/caf%C3%A9")),
            ("=/ws", Ok(PathPattern::Exact("/ws".into()))),
            ("ws", Err(PatternError::Path(Malformed::Target))),
            ("", Err(PatternError::Path(Malformed::Target))),
            ("=", Err(PatternError::Path(Malformed::Target))),
            (
                "/a/../b",
                Err(PatternError::Path(Malformed::PathDotSegment)),
            ),
            ("/a?b", Err(PatternError::Path(Malformed::PathCharacter))),
        ];
        for (spelling, expected) in rows {
            assert_eq!(PathPattern::parse(spelling), expected, "{spelling}");
        }
    }

    #[test]
    fn a_prefix_ends_on_a_segment_border() {
        let rows = [
            ("/ws", "/ws", true),
            ("/ws", "/ws/", true),
            ("/ws", "/ws/x", true),
            ("/ws", "/wsx", false),
            ("/ws", "/w", false),
            ("/ws/", "/ws", false),
            ("/ws/", "/ws/", true),
            ("/ws/", "/ws/x", true),
            ("/", "/", true),
            ("/", "/x", true),
            ("/", "*", false),
            ("=/ws", "/ws", true),
            ("=/ws", "/ws/", false),
            ("=/ws", "/ws/x", false),
        ];
        for (pattern, path, expected) in rows {
            let matched = PathPattern::parse(pattern).unwrap().matches(path);
            assert_eq!(matched, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_rewrite_replaces_the_matched_prefix() {
        let rows = [
            ("/ws", "/live", "/ws", "/live"),
            ("/ws", "/live", "/ws/", "/live/"),
            ("/ws", "/live", "/ws/x/y", "/live/x/y"),
            ("/ws", "/live/", "/ws", "/live/"),
            ("/ws", "/live/", "/ws/x", "/live/x"),
            ("/ws", "/", "/ws", "/"),
            ("/ws", "/", "/ws/x", "/x"),
            ("/ws/", "/live", "/ws/x", "/live/x"),
            ("/", "/live", "/x", "/live/x"),
            ("/", "/live", "/", "/live/"),
            ("=/ws", "/live", "/ws", "/live"),
        ];
        for (pattern, replacement, path, expected) in rows {
            let pattern = PathPattern::parse(pattern).unwrap();
            assert_eq!(
                pattern.rewrite(path, replacement),
                expected,
                "{pattern:?} {path}"
            );
        }
    }
}
