//! Addresses as HAProxy writes them, of binds and servers alike.

use std::fmt;

/// Where something listens or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A unix socket's path.
    Unix(String),
    /// A host, which may be empty or `*`, and a port.
    Tcp(String, u16),
}

/// `10.0.0.1:80`, `:80`, `[::]:80`, `:::80`, `ipv4@10.0.0.1:80`, `unix@/path`, `/path`.
pub fn read(text: &str) -> Option<Address> {
    let families = ["ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@"];
    let text = families
        .iter()
        .find_map(|family| text.strip_prefix(family))
        .unwrap_or(text);
    let path = text.strip_prefix("unix@").unwrap_or(text);
    if path.starts_with('/') {
        return Some(Address::Unix(path.to_owned()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = match host {
        host if host.contains(':') && !host.starts_with('[') => format!("[{host}]"),
        host => host.to_owned(),
    };
    Some(Address::Tcp(host, port.parse().ok()?))
}

/// As we write it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}
