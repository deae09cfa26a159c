//! `server { … }` blocks: whom they answer, and where.

use super::read::Directive;
use super::scope::Scope;
use crate::import::finding::Findings;
use crate::import::source::Place;

/// A `server` block.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// Its block and those around it.
    pub scope: Scope<'a>,
    /// Where it stands.
    pub place: &'a Place,
    /// Hosts it answers by their full names.
    pub exact: Vec<String>,
    /// Hosts it answers by a wildcard, `*.example.com`.
    pub wild: Vec<String>,
    /// Where it listens.
    pub listens: Vec<Listen>,
}

/// A `listen`.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The socket.
    pub socket: Socket,
    /// Whether the site answers there for hosts that no other does.
    pub is_default: bool,
    /// Where it stands.
    pub place: Place,
}

/// What is listened on, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// As we write it.
    pub bind: String,
    /// Its port; none for a unix socket.
    pub port: Option<u16>,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// Whether a PROXY header comes first.
    pub proxy_protocol: bool,
}

impl<'a> Site<'a> {
    /// Reads a `server` block inside `http`.
    pub fn read(http: &Scope<'a>, server: &'a Directive, findings: &mut Findings) -> Self {
        let scope = http.inner(&server.block);
        let (mut exact, mut wild) = (Vec::new(), Vec::new());
        let names = server.block.iter().filter(|d| d.name == "server_name");
        for directive in names {
            for name in &directive.args {
                host(name, directive, &mut exact, &mut wild, findings);
            }
        }
        let own = server.block.iter().filter(|d| d.name == "listen");
        let switched_on = server
            .block
            .iter()
            .any(|d| d.name == "ssl" && d.arg(0) == "on");
        let mut listens: Vec<Listen> = own
            .filter_map(|directive| listen(directive, switched_on, findings))
            .collect();
        if !server.block.iter().any(|d| d.name == "listen") {
            listens.push(Listen {
                socket: Socket::tcp("0.0.0.0", 80),
                is_default: false,
                place: server.place.clone(),
            });
        }
        Self {
            scope,
            place: &server.place,
            exact,
            wild,
            listens,
        }
    }

    /// What to call it in comments.
    pub fn title(&self) -> &str {
        let mut names = self.exact.iter().chain(&self.wild);
        names.next().map_or("_", String::as_str)
    }
}

impl Socket {
    fn tcp(address: &str, port: u16) -> Self {
        Self {
            bind: format!("{address}:{port}"),
            port: Some(port),
            tls: false,
            proxy_protocol: false,
        }
    }

    /// `80`, `*:80`, `10.0.0.1:80`, `10.0.0.1`, `[::]:80`, `unix:/path`.
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with("unix:") {
            return Some(Self {
                bind: text.to_owned(),
                port: None,
                tls: false,
                proxy_protocol: false,
            });
        }
        if let Ok(port) = text.parse() {
            return Some(Self::tcp("0.0.0.0", port));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, port.parse().ok()?),
            _ => (text, 80),
        };
        let host = match host {
            "*" => "0.0.0.0",
            "localhost" => "127.0.0.1",
            host => host,
        };
        let is_address = format!("{host}:{port}")
            .parse::<std::net::SocketAddr>()
            .is_ok();
        is_address.then(|| Self::tcp(host, port))
    }
}

fn listen(directive: &Directive, switched_on: bool, findings: &mut Findings) -> Option<Listen> {
    let Some(mut socket) = Socket::parse(directive.arg(0)) else {
        let advice = "write an IP address and a port";
        findings.lost(&directive.place, directive.text(), advice);
        return None;
    };
    socket.tls = switched_on || directive.has("ssl");
    socket.proxy_protocol = directive.has("proxy_protocol");
    for http in ["http2", "http3", "quic", "spdy"] {
        if directive.has(http) {
            let advice = "clients are served over HTTP/1.1; they fall back to it by themselves";
            findings.differs(&directive.place, format!("listen … {http}"), advice);
        }
    }
    (!directive.has("quic")).then(|| Listen {
        socket,
        is_default: directive.has("default_server") || directive.has("default"),
        place: directive.place.clone(),
    })
}

fn host(
    name: &str,
    directive: &Directive,
    exact: &mut Vec<String>,
    wild: &mut Vec<String>,
    findings: &mut Findings,
) {
    let lower = name.to_ascii_lowercase();
    if name.starts_with('~') {
        let advice = "hosts are exact or *.example.com; write down those that are meant";
        findings.lost(&directive.place, format!("server_name {name}"), advice);
    } else if let Some(rest) = lower.strip_prefix('.') {
        exact.push(rest.to_owned());
        wild.push(format!("*.{rest}"));
    } else if lower.starts_with("*.") {
        wild.push(lower);
    } else if lower.contains('*') {
        let advice = "a wildcard stands at the beginning; write down the hosts that are meant";
        findings.lost(&directive.place, format!("server_name {name}"), advice);
    } else if lower.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') {
        exact.push(lower);
    }
}
