//! Kinds that are parts of HTTP: hosts, paths, origins.

use serde_json::{Value as Json, json};

use super::address::is_host_name;
use super::text::Text;
use super::{Describe, Kind, Written};
use crate::config::reader::Reader;
use crate::config::tree::Node;
use crate::logic::request::OriginRule;
use crate::logic::route::{HostPattern, PathPattern};

/// `ws.example.com` or `*.example.com`.
pub(in crate::config) struct Host;

impl Describe for Host {
    fn words(&self) -> String {
        "host name, or `\"*.example.com\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<HostPattern> for Host {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<HostPattern> {
        let instead = r#"write "ws.example.com" or "*.example.com", without a port"#;
        let text = reader.text(node, instead)?;
        let pattern = host_pattern(&text);
        if pattern.is_none() {
            let instead = if text == "*" {
                "leave host out for any host"
            } else {
                instead
            };
            reader.wrong(node, "not a host", instead);
        }
        pattern
    }

    fn write(&self, value: &HostPattern) -> Written {
        Written::Text(value.to_string())
    }
}

/// `/ws`, everything below it too, or `=/ws` alone.
pub(in crate::config) struct Path;

impl Describe for Path {
    fn words(&self) -> String {
        "path, or `\"=/ws\"` for that path alone".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": r"^=?/|\$\{" })
    }
}

impl Kind<PathPattern> for Path {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<PathPattern> {
        let instead = r#"write "/ws" or "=/ws""#;
        let text = reader.text(node, instead)?;
        let (exact, path) = match text.strip_prefix('=') {
            Some(path) => (true, path),
            None => (false, text.as_str()),
        };
        if let Err(what) = check_path(path) {
            reader.wrong(node, what, instead);
            return None;
        }
        Some(if exact {
            PathPattern::Exact(path.into())
        } else {
            PathPattern::Prefix(path.into())
        })
    }

    fn write(&self, value: &PathPattern) -> Written {
        Written::Text(value.to_string())
    }
}

/// A path in the one form that routes see.
pub(in crate::config) const PLAIN_PATH: Text = Text {
    words: "path",
    example: "/live",
    accepts: |text| check_path(text).is_ok(),
};

/// A path with or without a query, as a probe asks for it.
pub(in crate::config) const TARGET: Text = Text {
    words: "path",
    example: "/ws",
    accepts: |text| {
        text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
    },
};

/// Who may open a WebSocket.
pub(in crate::config) struct Origin;

impl Describe for Origin {
    fn words(&self) -> String {
        "origin such as `\"https://app.example.com\"` or `\"https://*.example.com\"`, \
         `\"same-host\"`, `\"none\"`, `\"null\"`"
            .to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string" })
    }
}

impl Kind<OriginRule> for Origin {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<OriginRule> {
        let instead =
            r#"write "https://app.example.com", "https://*.example.com", "same-host" or "none""#;
        let rule = origin(&reader.text(node, instead)?);
        if rule.is_none() {
            reader.wrong(node, "not an origin", instead);
        }
        rule
    }

    fn write(&self, value: &OriginRule) -> Written {
        Written::Text(match value {
            OriginRule::SameHost => "same-host".to_owned(),
            OriginRule::Absent => "none".to_owned(),
            OriginRule::Null => "null".to_owned(),
            OriginRule::Exact { scheme, host, port } => written_origin(scheme, host, *port),
            OriginRule::Wildcard {
                scheme,
                suffix,
                port,
            } => written_origin(scheme, &format!("*{suffix}"), *port),
        })
    }
}

fn host_pattern(text: &str) -> Option<HostPattern> {
    let text = text.to_ascii_lowercase();
    if let Some(suffix) = text.strip_prefix('*') {
        let name = suffix.strip_prefix('.')?;
        return (is_host_name(name) && !name.ends_with('.'))
            .then(|| HostPattern::Suffix(suffix.into()));
    }
    is_host(&text).then(|| HostPattern::Exact(text.into()))
}

fn is_host(text: &str) -> bool {
    let v6 = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host_name(text) && !text.ends_with('.'),
    }
}

/// RFC 6454 section 4: scheme, host and port, nothing else.
fn origin(text: &str) -> Option<OriginRule> {
    match text {
        "same-host" => return Some(OriginRule::SameHost),
        "none" => return Some(OriginRule::Absent),
        "null" => return Some(OriginRule::Null),
        _ => {}
    }
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let default_port = default_port(scheme)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default_port),
    };
    let scheme = scheme.into();
    match host_pattern(host)? {
        HostPattern::Exact(host) => Some(OriginRule::Exact { scheme, host, port }),
        HostPattern::Suffix(suffix) => Some(OriginRule::Wildcard {
            scheme,
            suffix,
            port,
        }),
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn written_origin(scheme: &str, host: &str, port: u16) -> String {
    match default_port(scheme) == Some(port) {
        true => format!("{scheme}://{host}"),
        false => format!("{scheme}://{host}:{port}"),
    }
}

/// Routes see a path in one form only; a pattern of any other form would never match.
fn check_path(path: &str) -> Result<(), &'static str> {
    if !path.starts_with('/') {
        return Err("does not begin with /");
    }
    if path.len() > MAX_PATH_BYTES {
        return Err("is longer than 1,000 bytes");
    }
    if !path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !br##"\#?"<>^`{|}"##.contains(&b))
    {
        return Err("has a character that no path has");
    }
    if path.contains("//")
        || path
            .split('/')
            .any(|segment| segment == "." || segment == "..")
    {
        return Err("would never match: // and dot segments are refused in requests");
    }
    for (at, _) in path.match_indices('%') {
        let code = path
            .get(at + 1..at + 3)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            None => return Err("has % without two hex digits"),
            Some(b'/' | b'\\' | 0) => {
                return Err("would never match: %2f, %5c and %00 are refused in requests");
            }
            Some(b) if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => {
                return Err("would never match: escapes of plain characters are decoded first");
            }
            Some(_) => {}
        }
    }
    Ok(())
}

const MAX_PATH_BYTES: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_their_ports_filled_in() {
        let exact = |scheme: &str, host: &str, port| {
            Some(OriginRule::Exact {
                scheme: scheme.into(),
                host: host.into(),
                port,
            })
        };
        assert_eq!(
            origin("https://App.example.com"),
            exact("https", "app.example.com", 443)
        );
        assert_eq!(origin("http://a:8080"), exact("http", "a", 8080));
        assert_eq!(origin("http://[::1]"), exact("http", "[::1]", 80));
        for text in [
            "a.com",
            "ftp://a.com",
            "https://a.com/",
            "https://",
            "https://a.com:x",
            "*",
        ] {
            assert_eq!(origin(text), None, "{text}");
        }
    }

    #[test]
    fn paths_that_no_request_can_have_are_refused() {
        for path in ["/", "/ws", "/ws/", "/a%20b", "/~user/@x:y"] {
            assert_eq!(check_path(path), Ok(()), "{path}");
        }
        for path in [
            "", "ws", "//", "/a/../b", "/a/.", "/%2f", "/%41", "/%", "/%zz", "/a?b", "/ü",
        ] {
            assert!(check_path(path).is_err(), "{path}");
        }
    }
}
