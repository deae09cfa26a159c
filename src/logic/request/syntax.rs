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
    last: bool,
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
            last: false,
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

    /// Another query in place of its own, which nobody is to see.
    pub fn replace_query(&mut self, query: Option<String>) {
        self.query = query.map(String::into_boxed_str);
    }

    /// How its body is delimited; never until close.
    pub const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether it asks for a WebSocket. Then it is HTTP/1.1 and has no body.
    pub const fn is_websocket(&self) -> bool {
        self.websocket
    }

    /// The same over https, on its usual port.
    pub fn https_url(&self) -> String {
        let query = self.query().map(|query| format!("?{query}"));
        let (host, path) = (self.host.name(), &self.path);
        format!("https://{host}{path}{}", query.unwrap_or_default())
    }

    /// Makes it the last one of its connection, whatever the client expects.
    pub const fn make_last(&mut self) {
        self.last = true;
    }

    /// Whether the connection stays: the client expects it (RFC 9112 section 9.3), and nobody made
    /// this the last request; one of HTTP/1.0 never gets it.
    pub fn keeps_alive(&self) -> bool {
        let expected = self.head.minor() == 1 && !self.head.fields().lists("connection", "close");
        expected && !self.last
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
    // We and the backend might tell a body from the first frames in different ways.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::request;

    /// `UP` of ATTACKS.
    const UP: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                      Sec-WebSocket-Version: 13\r\n\r\n";

    fn with_target(target: &str) -> Result<Request, Refusal> {
        request(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    fn with_host(lines: &str) -> Result<Request, Refusal> {
        request(format!("GET / HTTP/1.1\r\n{lines}\r\n"))
    }

    fn fault(result: Result<Request, Refusal>) -> Refusal {
        result.map(|request| request.path().to_owned()).unwrap_err()
    }

    #[test]
    fn a_good_upgrade_is_one() {
        let request = request(UP).unwrap();
        assert!(request.is_websocket() && request.keeps_alive());
        assert_eq!(
            (request.method(), request.host().name(), request.path()),
            ("GET", "a", "/ws")
        );
        assert_eq!((request.query(), request.framing()), (None, Framing::None));
    }

    /// ATTACKS A05, A08, A10.
    #[test]
    fn a_websocket_is_asked_for_in_one_way_or_not_at_all() {
        let rows: [(&str, &str, Result<bool, Malformed>); 20] = [
            ("websocket", "Upgrade", Ok(true)),
            ("WebSocket", "upgrade", Ok(true)),
            ("websocket", "keep-alive, Upgrade", Ok(true)),
            ("websocket", "keep-alive\r\nConnection: UPGRADE", Ok(true)),
            ("h2c, websocket", "Upgrade, HTTP2-Settings", Ok(true)),
            ("h2c\r\nUpgrade: websocket", "Upgrade", Ok(true)),
            ("h2c", "Upgrade, HTTP2-Settings", Ok(false)),
            ("websocket/13", "Upgrade", Ok(false)),
            ("web socket", "Upgrade", Ok(false)),
            ("\"websocket\"", "Upgrade", Ok(false)),
            ("", "Upgrade", Ok(false)),
            ("foo", "keep-alive", Ok(false)),
            ("websocket", "", Err(Malformed::UpgradeConnection)),
            ("websocket", "keep-alive", Err(Malformed::UpgradeConnection)),
            ("websocket", "upgradex", Err(Malformed::UpgradeConnection)),
            (
                "websocket",
                "\"Upgrade\"",
                Err(Malformed::UpgradeConnection),
            ),
            (
                "websocket",
                "\"a, upgrade, b\"",
                Err(Malformed::UpgradeConnection),
            ),
            ("websocket", "up grade", Err(Malformed::UpgradeConnection)),
            (
                "websocket",
                "upgrade;q=1",
                Err(Malformed::UpgradeConnection),
            ),
            ("websocket", "close", Err(Malformed::UpgradeConnection)),
        ];
        for (upgrade, connection, expected) in rows {
            let text = UP
                .replace("Upgrade: websocket", &format!("Upgrade: {upgrade}"))
                .replace("Connection: Upgrade", &format!("Connection: {connection}"));
            let asked = request(text).map(|request| request.is_websocket());
            assert_eq!(
                asked,
                expected.map_err(Refusal::from),
                "{upgrade} / {connection}"
            );
        }
    }

    /// ATTACKS A07.
    #[test]
    fn bytes_that_are_no_text_in_connection_are_a_token_nobody_knows() {
        let text = UP.replace("Connection: Upgrade", "Connection: Upgrade, @@");
        let bytes: Vec<u8> = text
            .bytes()
            .map(|b| if b == b'@' { 0xff } else { b })
            .collect();
        assert!(request(bytes).unwrap().is_websocket());
    }

    /// ATTACKS A13.
    #[test]
    fn an_upgrade_announces_no_body() {
        let with = |line: &str| request(UP.replace("Host: a", &format!("Host: a\r\n{line}")));
        assert!(with("Content-Length: 0").unwrap().is_websocket());
        for line in ["Content-Length: 35", "Transfer-Encoding: chunked"] {
            assert_eq!(fault(with(line)), Malformed::UpgradeBody.into(), "{line}");
        }
    }

    #[test]
    fn an_upgrade_needs_http_1_1() {
        let old = request(UP.replace("HTTP/1.1", "HTTP/1.0"));
        assert_eq!(fault(old), Malformed::UpgradeVersion.into());
    }

    /// ATTACKS A19.
    #[test]
    fn host_stands_once_and_is_a_host() {
        assert_eq!(
            with_host("Host: WS.Example.com.:8080\r\n")
                .unwrap()
                .host()
                .name(),
            "ws.example.com"
        );
        let rows = [
            ("", Malformed::HostMissing),
            ("Host: a\r\nHost: a\r\n", Malformed::HostTwice),
            ("Host: a\r\nHost: b\r\n", Malformed::HostTwice),
            ("Host:\r\n", Malformed::HostSyntax),
            ("Host: a/b?c\r\n", Malformed::HostSyntax),
            ("Host: a,b\r\n", Malformed::HostSyntax),
            ("Host: a b\r\n", Malformed::HostSyntax),
            ("Host: a:99999\r\n", Malformed::HostSyntax),
            ("Host: [::1\r\n", Malformed::HostSyntax),
            ("Host: user@a\r\n", Malformed::HostSyntax),
        ];
        for (lines, expected) in rows {
            assert_eq!(fault(with_host(lines)), expected.into(), "{lines}");
        }
    }

    /// ATTACKS A20.
    #[test]
    fn an_absolute_target_and_host_agree() {
        let rows = [
            ("http://a/ws", "/ws", None),
            ("HTTP://A/ws?x=/../", "/ws", Some("x=/../")),
            ("http://a:80/ws", "/ws", None),
            ("https://a:443/ws", "/ws", None),
            ("http://a", "/", None),
            ("http://a?x", "/", Some("x")),
        ];
        for (target, path, query) in rows {
            let request = with_target(target).unwrap();
            assert_eq!((request.path(), request.query()), (path, query), "{target}");
        }
        for target in [
            "http://evil/ws",
            "http://a:81/ws",
            "https://a:80/ws",
            "http://a.evil/ws",
        ] {
            assert_eq!(
                fault(with_target(target)),
                Malformed::HostMismatch.into(),
                "{target}"
            );
        }
    }

    /// ATTACKS A22.
    #[test]
    fn a_target_has_one_of_three_forms() {
        for target in [
            "*",
            "ws",
            "a:80",
            "ftp://a/",
            "ws://a/",
            "http:/a/",
            "http://",
            "http:///x",
            "http://u@a/",
            "/a#b",
            "/a?b#c",
        ] {
            assert_eq!(
                fault(with_target(target)),
                Malformed::Target.into(),
                "{target}"
            );
        }
        for target in ["/a\u{e9}", "/a?\u{e9}"] {
            assert_eq!(
                fault(with_target(target)),
                Malformed::Target.into(),
                "{target}"
            );
        }
        for target in ["", "/a b", "/a\tb", "/a\x01b", "/a\x7fb"] {
            assert!(
                matches!(fault(with_target(target)), Refusal::Malformed(_)),
                "{target:?}"
            );
        }
        let options = request("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert_eq!((options.path(), options.query()), ("*", None));
    }

    #[test]
    fn a_query_passes_as_it_is() {
        for query in ["", "a=b&c", "x=/../..//%2f%zz", "?", "{}|\\^\"<>`"] {
            let request = with_target(&format!("/%77s?{query}")).unwrap();
            assert_eq!((request.path(), request.query()), ("/ws", Some(query)));
        }
    }

    /// ATTACKS B10, B13.
    #[test]
    fn only_methods_that_a_proxy_can_carry_pass() {
        let with = |method: &str| request(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"));
        for method in [
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "OPTIONS",
            "PATCH",
            "PROPFIND",
            "VERSION-CONTROL",
        ] {
            assert_eq!(with(method).unwrap().method(), method);
        }
        for method in ["CONNECT", "TRACE"] {
            assert_eq!(fault(with(method)), Refusal::MethodRefused, "{method}");
        }
        assert_eq!(
            fault(request("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n")),
            Refusal::MethodRefused
        );
        for method in ["get", "Get", "G!T", &"A".repeat(10_000)] {
            assert_eq!(fault(with(method)), Malformed::Method.into(), "{method}");
        }
    }

    #[test]
    fn a_connection_stays_unless_the_client_says_otherwise() {
        let stays = |text: &str| request(text).unwrap().keeps_alive();
        assert!(stays("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(!stays(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"
        ));
        assert!(!stays(
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
        ));
        let mut last = request("GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        last.make_last();
        assert!(!last.keeps_alive());
    }
}
