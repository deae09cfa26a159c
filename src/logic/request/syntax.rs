//! A request whose syntax is proven: what routes, checks and backends get to see.

use super::framing::Framing;
use super::head::RequestHead;
use super::host::Host;
use super::{Malformed, path};
use crate::logic::refusal::Refusal;

/// A request that means one thing only.
#[derive(Clone, Debug)]
pub struct Request {
    head: RequestHead,
    host: Host,
    path: Box<str>,
    query: Option<Box<str>>,
    framing: Framing,
    websocket: bool,
}

impl Request {
    /// Checks the meaning of a head: method, Host, target, framing, and whether an upgrade to
    /// `websocket` is asked for in the one way that counts.
    ///
    /// # Errors
    /// The first check that failed.
    pub fn check(head: RequestHead) -> Result<Self, Refusal> {
        check_method(head.method())?;
        let framing = Framing::of_request(&head)?;
        let websocket = asks_for_websocket(&head, framing)?;
        let host = host_field(&head)?;
        let (path, query) = read_target(&head, &host)?;
        let host = host.without_trailing_dot();
        Ok(Self {
            head,
            host,
            path,
            query,
            framing,
            websocket,
        })
    }

    /// The head it came in.
    pub const fn head(&self) -> &RequestHead {
        &self.head
    }

    /// The method, in capitals.
    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// Whom it is for; without trailing dot.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The path in its normal form, or `*`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What stands behind the question mark.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// How its body is delimited; never until close.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether it asks for a WebSocket. Then it is HTTP/1.1 and has no body.
    pub const fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// Whether the client expects the connection to stay (RFC 9112 section 9.3).
    pub fn keeps_alive(&self) -> bool {
        let fields = self.head.fields();
        match self.head.minor() {
            0 => fields.lists("connection", "keep-alive") && !fields.lists("connection", "close"),
            _ => !fields.lists("connection", "close"),
        }
    }
}

/// Longest method; the longest registered one, `UPDATEREDIRECTREF`, has 17 letters.
const MAX_METHOD_BYTES: usize = 32;

fn check_method(method: &str) -> Result<(), Refusal> {
    let is_method_byte = |byte: u8| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_';
    match method {
        // RFC 9110 sections 9.3.6 and 9.3.8: one makes an open relay, the other echoes secrets.
        "CONNECT" | "TRACE" => Err(Refusal::MethodRefused),
        _ if method.len() > MAX_METHOD_BYTES => Err(Malformed::Method.into()),
        _ if method.bytes().all(is_method_byte) => Ok(()),
        _ => Err(Malformed::Method.into()),
    }
}

/// RFC 6455 section 4.2.1, items 3 and 4; without `websocket` in the list the request is plain.
fn asks_for_websocket(head: &RequestHead, framing: Framing) -> Result<bool, Malformed> {
    let fields = head.fields();
    if !fields.lists("upgrade", "websocket") {
        return Ok(false);
    }
    if head.minor() == 0 {
        return Err(Malformed::UpgradeVersion);
    }
    if !fields.lists("connection", "upgrade") {
        return Err(Malformed::UpgradeConnection);
    }
    // A body and the first frames would be told apart by us and by the backend, perhaps differently.
    match framing {
        Framing::None | Framing::Length(0) => Ok(true),
        _ => Err(Malformed::UpgradeBody),
    }
}

fn host_field(head: &RequestHead) -> Result<Host, Malformed> {
    let value = head
        .fields()
        .one("host")
        .map_err(|_| Malformed::HostTwice)?;
    Host::parse(value.ok_or(Malformed::HostMissing)?).ok_or(Malformed::HostSyntax)
}

type PathAndQuery = (Box<str>, Option<Box<str>>);

/// RFC 9112 section 3.2: origin-form, absolute-form, or `*` for OPTIONS.
fn read_target(head: &RequestHead, host: &Host) -> Result<PathAndQuery, Malformed> {
    let target = head.target();
    let is_target_byte = |byte: u8| matches!(byte, b'!'..=b'~') && byte != b'#';
    if target.is_empty() || !target.iter().copied().all(is_target_byte) {
        return Err(Malformed::Target);
    }
    match target {
        [b'/', ..] => path_and_query(target),
        b"*" if head.method() == "OPTIONS" => Ok(("*".into(), None)),
        _ => absolute_target(target, host),
    }
}

/// RFC 9112 section 3.2.2 lets the target's authority win over Host; asking for agreement leaves
/// no room for a backend that thinks otherwise.
fn absolute_target(target: &[u8], host: &Host) -> Result<PathAndQuery, Malformed> {
    let (default_port, rest) = strip_scheme(target).ok_or(Malformed::Target)?;
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = Host::parse(authority).ok_or(Malformed::Target)?;
    let port = |host: &Host| host.port().unwrap_or(default_port);
    if authority.name() != host.name() || port(&authority) != port(host) {
        return Err(Malformed::HostMismatch);
    }
    match path.first() {
        Some(b'/') => path_and_query(path),
        // RFC 9110 section 4.2.3: an empty path is "/".
        _ => path_and_query(&[b"/", path].concat()),
    }
}

fn strip_scheme(target: &[u8]) -> Option<(u16, &[u8])> {
    [(80, b"http://".as_slice()), (443, b"https://")]
        .into_iter()
        .find_map(|(port, scheme)| {
            let (start, rest) = target.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some((port, rest))
        })
}

fn path_and_query(target: &[u8]) -> Result<PathAndQuery, Malformed> {
    let mut halves = target.splitn(2, |&byte| byte == b'?');
    let path = path::normal_form(halves.next().unwrap_or_default())?;
    let query = halves
        .next()
        .map(str::from_utf8)
        .transpose()
        .map_err(|_| Malformed::Target)?;
    Ok((path.into(), query.map(Into::into)))
}
