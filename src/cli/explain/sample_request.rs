//! The request that is asked about, as a client would send it.

use std::net::IpAddr;

use bytes::Bytes;

use crate::logic::request::{Host, Scheme};

/// A request, and who sends it.
#[derive(Debug)]
pub(super) struct SampleRequest {
    /// Whether it comes over TLS.
    pub(super) scheme: Scheme,
    /// The URL's port, or its scheme's.
    pub(super) port: u16,
    /// Who connects.
    pub(super) peer: IpAddr,
    /// The head on the wire.
    pub(super) head: Bytes,
}

/// The key of RFC 6455 section 1.3; any other would do.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl SampleRequest {
    /// The request for a URL with these fields.
    ///
    /// # Errors
    /// What is wrong with the arguments.
    pub(super) fn of(
        url: &str,
        method: &str,
        headers: &[String],
        peer: IpAddr,
    ) -> Result<Self, String> {
        let wrong = || format!("{url}: not a URL (write wss://ws.example.com/chat)");
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (scheme, websocket) = match scheme.to_ascii_lowercase().as_str() {
            "ws" => (Scheme::Http, true),
            "wss" => (Scheme::Https, true),
            "http" => (Scheme::Http, false),
            "https" => (Scheme::Https, false),
            _ => return Err(wrong()),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = Host::parse(authority.as_bytes()).ok_or_else(wrong)?;
        // As it is written: what is wrong with a path is what the proxy is to say.
        let target = match target.strip_prefix('/') {
            Some(_) => target.to_owned(),
            None => format!("/{target}"),
        };
        let mut lines = vec![("Host", authority)];
        if websocket {
            lines.extend([
                ("Upgrade", "websocket"),
                ("Connection", "Upgrade"),
                ("Sec-WebSocket-Key", KEY),
                ("Sec-WebSocket-Version", "13"),
            ]);
        }
        let own: Vec<_> = headers
            .iter()
            .map(|text| field(text))
            .collect::<Result<_, _>>()?;
        lines.retain(|(name, _)| {
            own.iter()
                .all(|(other, _)| !name.eq_ignore_ascii_case(other))
        });
        lines.extend(own.into_iter().filter(|(_, value)| !value.is_empty()));
        let fields: String = (lines.iter())
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        Ok(Self {
            scheme,
            port: host.port().unwrap_or_else(|| scheme.default_port()),
            peer,
            head: Bytes::from(format!("{method} {target} HTTP/1.1\r\n{fields}\r\n")),
        })
    }
}

fn field(text: &str) -> Result<(&str, &str), String> {
    let field = text
        .split_once(':')
        .filter(|_| !text.contains(['\r', '\n']));
    let (name, value) = field.ok_or_else(|| {
        format!("-H {text:?}: not a header field (write 'Origin: https://app.example.com')")
    })?;
    Ok((name, value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(url: &str, headers: &[&str]) -> Result<SampleRequest, String> {
        let headers: Vec<_> = headers.iter().map(|text| (*text).to_owned()).collect();
        SampleRequest::of(url, "GET", &headers, "192.0.2.1".parse().unwrap())
    }

    fn head(url: &str, headers: &[&str]) -> String {
        String::from_utf8(sample(url, headers).unwrap().head.to_vec()).unwrap()
    }

    #[test]
    fn a_url_is_what_a_client_makes_of_it() {
        for (url, scheme, port, start) in [
            (
                "ws://a",
                Scheme::Http,
                80,
                "GET / HTTP/1.1\r\nHost: a\r\nUpgrade:",
            ),
            (
                "WSS://a:8443/x?y",
                Scheme::Https,
                8443,
                "GET /x?y HTTP/1.1\r\nHost: a:8443\r\n",
            ),
            (
                "http://a?y",
                Scheme::Http,
                80,
                "GET /?y HTTP/1.1\r\nHost: a\r\n\r\n",
            ),
            (
                "https://[::1]/../x",
                Scheme::Https,
                443,
                "GET /../x HTTP/1.1\r\nHost: [::1]\r\n",
            ),
        ] {
            let it = sample(url, &[]).unwrap();
            assert_eq!((it.scheme, it.port), (scheme, port), "{url}");
            assert!(
                head(url, &[]).starts_with(start),
                "{url}: {}",
                head(url, &[])
            );
        }
    }

    #[test]
    fn a_field_takes_the_place_of_the_usual_one_and_an_empty_one_drops_it() {
        let head = head(
            "ws://a/",
            &["host: b", "Sec-WebSocket-Key:", "X: 1", "X: 2"],
        );
        assert!(head.contains("host: b\r\nX: 1\r\nX: 2\r\n\r\n"), "{head}");
        assert!(!head.contains("Host: a") && !head.contains("Key"), "{head}");
    }

    #[test]
    fn what_is_no_url_or_field_is_refused() {
        for url in ["", "a/b", "ftp://a/", "ws:///x", "ws://user@a/"] {
            assert!(sample(url, &[]).is_err(), "{url}");
        }
        for header in ["Origin", "X: 1\r\nY: 2"] {
            assert!(sample("ws://a/", &[header]).is_err(), "{header}");
        }
    }
}
