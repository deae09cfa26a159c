//! From a URL to where it leads.

use std::io;
use std::net::ToSocketAddrs;

use hyper::Uri;
use hyper::http::uri::Authority;

use super::plan::Target;

/// A URL that is no target.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a URL of a WebSocket.
    #[error("{url} is not a WebSocket's URL (write ws://HOST:PORT/PATH or wss://HOST/PATH)")]
    NotWebSocket {
        /// What was given.
        url: String,
    },
    /// Its port can't be connected to.
    #[error("{url} has no good port (write 1 to 65535)")]
    Port {
        /// What was given.
        url: String,
    },
    /// Its host has no address.
    #[error("{host} has no address")]
    Unresolved {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
}

impl Target {
    /// Reads the URL and looks its host up.
    ///
    /// # Errors
    /// When it leads nowhere.
    pub fn resolve(url: &str, pid: Option<u32>) -> Result<Self, TargetError> {
        let not_websocket = || TargetError::NotWebSocket {
            url: url.to_owned(),
        };
        let uri: Uri = url.parse().map_err(|_| not_websocket())?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let secure = scheme.eq_ignore_ascii_case("wss");
        if !secure && !scheme.eq_ignore_ascii_case("ws") {
            return Err(not_websocket());
        }
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(not_websocket)?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = port(authority, if secure { 443 } else { 80 });
        let port = port.ok_or_else(|| TargetError::Port {
            url: url.to_owned(),
        })?;
        let no_address = || io::Error::from(io::ErrorKind::NotFound);
        let address = (host.as_str(), port)
            .to_socket_addrs()
            .and_then(|mut addresses| addresses.next().ok_or_else(no_address))
            .map_err(|source| TargetError::Unresolved {
                host: host.clone(),
                source,
            })?;
        Ok(Self {
            url: url.to_owned(),
            secure,
            host,
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            address,
            pid,
        })
    }
}

/// What stands behind the host; `Authority::port` takes what is no port for none.
fn port(authority: &Authority, default: u16) -> Option<u16> {
    let rest = authority.as_str().strip_prefix(authority.host())?;
    let Some(digits) = rest.strip_prefix(':') else {
        return rest.is_empty().then_some(default);
    };
    // A sign is no digit, but would be parsed.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| is_number)?;
    (port > 0).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_addresses() {
        let target = Target::resolve("wss://127.0.0.1/a/b?c=d", None).unwrap();
        assert_eq!(target.address, "127.0.0.1:443".parse().unwrap());
        assert_eq!((target.secure, target.path.as_str()), (true, "/a/b?c=d"));
        assert_eq!(target.authority, "127.0.0.1");

        assert!(Target::resolve("WSS://127.0.0.1/", None).unwrap().secure);

        let target = Target::resolve("ws://[::1]:8080", Some(1)).unwrap();
        assert_eq!(target.address, "[::1]:8080".parse().unwrap());
        assert_eq!((target.secure, target.path.as_str()), (false, "/"));
        assert_eq!(
            (target.host.as_str(), target.authority.as_str()),
            ("::1", "[::1]:8080")
        );
    }

    #[test]
    fn other_things_are_refused() {
        for url in ["http://a/", "ws:/a", "127.0.0.1:80", "", "ws://u@a/"] {
            assert!(Target::resolve(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_wrong_port_is_not_taken_for_the_usual_one() {
        for url in [
            "ws://127.0.0.1:99999/",
            "ws://127.0.0.1:1708O/",
            "ws://127.0.0.1:/",
            "ws://127.0.0.1:-1/",
            "ws://127.0.0.1:+80/",
            "ws://127.0.0.1:0/",
            "wss://127.0.0.1:70000/",
            "ws://[::1]:70000/",
        ] {
            let error = Target::resolve(url, None).unwrap_err();
            assert!(matches!(error, TargetError::Port { .. }), "{url}: {error}");
        }
    }
}
