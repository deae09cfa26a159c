//! A host and an optional port, as Host, an absolute target and an Origin carry them.

use std::net::Ipv6Addr;
use std::str;

/// `host[:port]` in its one form: lower case, an IPv6 address in brackets and shortest spelling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: Box<str>,
    port: Option<u16>,
}

impl Host {
    /// Parses `host[:port]` (RFC 3986 section 3.2, without user information). Names may be made of
    /// letters, digits, `-`, `_` and `.` alone: everything else is a parser somewhere being fooled.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let value = str::from_utf8(value).ok()?;
        let (name, port) = split_port(value)?;
        let name = match name.strip_prefix('[') {
            Some(rest) => ipv6_literal(rest)?,
            None => registered_name(name)?,
        };
        Some(Self { name, port })
    }

    /// The host without port. A trailing dot is kept.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, where one is written.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Without the dot that marks a name as complete: `example.com.` is `example.com`.
    pub fn without_trailing_dot(self) -> Self {
        match self.name.strip_suffix('.') {
            Some(name) => Self {
                name: name.into(),
                port: self.port,
            },
            None => self,
        }
    }
}

/// Longest name of the DNS, with its trailing dot.
const MAX_NAME_BYTES: usize = 254;

fn split_port(value: &str) -> Option<(&str, Option<u16>)> {
    let bracket = value.bytes().rposition(|byte| byte == b']');
    let name_end = bracket.map_or(0, |bracket| bracket + 1);
    let Some(colon) = value[name_end..].find(':') else {
        return Some((value, None));
    };
    let (name, port) = value.split_at(name_end + colon);
    Some((name, parse_port(&port[1..])?))
}

/// RFC 3986 section 3.2.3: digits, and none at all means the default.
fn parse_port(digits: &str) -> Option<Option<u16>> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if digits.is_empty() {
        Some(None)
    } else {
        digits.parse().ok().map(Some)
    }
}

fn ipv6_literal(rest: &str) -> Option<Box<str>> {
    let address: Ipv6Addr = rest.strip_suffix(']')?.parse().ok()?;
    Some(format!("[{address}]").into())
}

fn registered_name(name: &str) -> Option<Box<str>> {
    let is_name_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let labels = name.strip_suffix('.').unwrap_or(name);
    let valid = name.len() <= MAX_NAME_BYTES
        && labels
            .as_bytes()
            .split(|&byte| byte == b'.')
            .all(|label| !label.is_empty())
        && name.bytes().all(is_name_byte);
    valid.then(|| name.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_one_form() {
        let rows = [
            ("a", "a", None),
            ("WS.Example.com", "ws.example.com", None),
            ("a:", "a", None),
            ("a:8080", "a", Some(8080)),
            ("a:0080", "a", Some(80)),
            ("a.example.", "a.example.", None),
            ("my_service", "my_service", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:65535", "[::1]", Some(65535)),
        ];
        for (value, name, port) in rows {
            let host = Host::parse(value.as_bytes()).unwrap_or_else(|| panic!("{value}"));
            assert_eq!((host.name(), host.port()), (name, port), "{value}");
        }
    }

    #[test]
    fn what_is_no_host_and_port_is_refused() {
        let rows: [&[u8]; 22] = [
            b"",
            b":80",
            b".",
            b"..",
            b".a",
            b"a..b",
            b"a/b?c",
            b"a,b",
            b"a b",
            b"a:99999",
            b"a:+1",
            b"a:1:2",
            b"[::1",
            b"::1",
            b"[::1]x",
            b"[::1%25eth0]",
            b"[v1.a]",
            b"user@a",
            b"a%41",
            b"a\x80",
            b"*",
            b"[]",
        ];
        for value in rows {
            assert_eq!(Host::parse(value), None, "{}", value.escape_ascii());
        }
        assert_eq!(Host::parse("a".repeat(255).as_bytes()), None);
    }

    #[test]
    fn a_trailing_dot_comes_off_once() {
        let host = Host::parse(b"a.example.:80")
            .unwrap()
            .without_trailing_dot();
        assert_eq!((host.name(), host.port()), ("a.example", Some(80)));
    }
}
