//! The request as the backend gets it: what is ours to say replaces what the client claimed.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::framing::same_but_for_underscores;
use super::hop::HopByHop;
use super::wire::{field_text, put_framing, write_field};
use super::{Certificate, Client, Fields, Framing, Proof, Request, trailers};
use crate::logic::websocket::handshake::{Extension, Offer};

/// A request on its way to a backend.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The client's request.
    pub request: &'a Request,
    /// Who sent it.
    pub client: &'a Client,
    /// The port it came in on.
    pub port: u16,
    /// What it offers, where it asks for a WebSocket.
    pub offer: Option<&'a Offer>,
    /// The path the backend sees: the request's own, or the rewritten one.
    pub path: &'a str,
    /// The query the backend sees.
    pub query: Option<&'a str>,
    /// What the client proved by certificate.
    pub proof: &'a Proof,
    /// Whom a token names, for X-Tidegate-User.
    pub user: Option<&'a str>,
    /// `route.headers.set`.
    pub set: &'a [(Arc<str>, Arc<str>)],
    /// `route.headers.remove`, in lower case.
    pub remove: &'a [Arc<str>],
}

impl Outbound<'_> {
    /// Appends the head to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let method = self.request.method();
        for part in [method, " ", self.target().as_ref(), " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        self.each_field(|name, value| write_field(out, name, value));
        out.extend_from_slice(b"\r\n");
    }

    /// What is asked for: path and query.
    pub fn target(&self) -> Cow<'_, str> {
        match self.query {
            Some(query) => format!("{}?{query}", self.path).into(),
            None => self.path.into(),
        }
    }

    /// Every field of the head. The client's keep their order and spelling; those of its
    /// connection are taken off first and ours put on after, so that `Connection: X-Forwarded-For`
    /// takes nothing away; the route's come last.
    pub fn each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        // As the client sent it, unless the route sets another.
        if !self.sets(b"host") {
            put(b"Host", self.host());
        }
        self.each_passing(&mut put);
        self.each_forwarded(&mut put);
        match self.offer {
            Some(offer) => each_of_offer(offer, &mut put),
            None => self.each_of_body(&mut put),
        }
        for (name, value) in self.set.iter().filter(|(name, _)| !is_reserved(name)) {
            put(name.as_bytes(), value.as_bytes());
        }
    }

    fn fields(&self) -> &Fields {
        self.request.head().fields()
    }

    fn host(&self) -> &[u8] {
        self.fields().values("host").next().unwrap_or_default()
    }

    /// What of the client's fields goes on.
    fn each_passing(&self, put: &mut impl FnMut(&[u8], &[u8])) {
        let hop = HopByHop::of(self.fields());
        // RFC 9110 section 10.1.1: whether a 100 is due is between the client and us.
        let said_anew = |name: &[u8]| is(name, "expect") || is_ours(name) || self.offers(name);
        let passes = |name: &[u8]| !hop.stops(name) && !said_anew(name) && self.keeps(name);
        for field in self.fields().iter().filter(|field| passes(field.name)) {
            put(field.name, field.value);
        }
    }

    /// Whether the offer says this.
    fn offers(&self, name: &[u8]) -> bool {
        self.offer.is_some() && HANDSHAKE.iter().any(|field| is(name, field))
    }

    /// How a plain request's body is delimited, and which trailer fields may follow it.
    fn each_of_body(&self, put: &mut impl FnMut(&[u8], &[u8])) {
        let framing = self.request.framing();
        put_framing(framing, &mut *put);
        let trailers = trailers::announced(self.fields());
        let trailers: Vec<_> = trailers.filter(|name| self.keeps(name)).collect();
        if framing == Framing::Chunked && !trailers.is_empty() {
            put(b"Trailer", &trailers.join(&b", "[..]));
        }
    }

    fn each_forwarded(&self, put: &mut impl FnMut(&[u8], &[u8])) {
        let Client {
            address, scheme, ..
        } = *self.client;
        let port = self.port.to_string();
        let host = self
            .vouched("x-forwarded-host")
            .unwrap_or_else(|| self.host());
        let port = self.vouched("x-forwarded-port").unwrap_or(port.as_bytes());
        let mut ours = |name: &str, value: &[u8]| {
            if self.keeps(name.as_bytes()) {
                put(name.as_bytes(), value);
            }
        };
        ours("X-Forwarded-For", &self.forwarded_for());
        ours("X-Forwarded-Proto", scheme.word().as_bytes());
        ours("X-Forwarded-Host", host);
        ours("X-Forwarded-Port", port);
        ours("X-Real-IP", &written(address));
        match self.proof {
            Proof::NotAsked => {}
            Proof::Absent => ours("X-Tidegate-Client-Verified", b"false"),
            Proof::Certificate(Certificate { subject, names }) => {
                ours("X-Tidegate-Client-Verified", b"true");
                ours("X-Tidegate-Client-Subject", &field_text(subject));
                ours("X-Tidegate-Client-San", &field_text(names));
            }
        }
        if let Some(user) = self.user {
            ours("X-Tidegate-User", &field_text(user));
        }
    }

    /// The hops a trusted peer reports, and the peer itself.
    fn forwarded_for(&self) -> Vec<u8> {
        let peer = written(self.client.peer);
        if !self.client.vouched {
            return peer;
        }
        let mut hops = Vec::new();
        for value in self.fields().values("x-forwarded-for") {
            hops.extend_from_slice(value);
            hops.extend_from_slice(b", ");
        }
        hops.extend_from_slice(&peer);
        hops
    }

    /// What a trusted peer says in a field, if it says one thing.
    fn vouched(&self, name: &str) -> Option<&[u8]> {
        let value = self.fields().one(name).ok().flatten();
        value.filter(|value| self.client.vouched && !value.is_empty())
    }

    /// Whether the route lets a field be. CGI reads `X_App` as the `X-App` that a route sets.
    fn keeps(&self, name: &[u8]) -> bool {
        let mut removed = self.remove.iter();
        !self.sets(name) && !removed.any(|field| same_but_for_underscores(name, field))
    }

    fn sets(&self, name: &[u8]) -> bool {
        let mut set = self.set.iter();
        set.any(|(field, _)| same_but_for_underscores(name, field))
    }
}

/// Whether a field is the protocol's business, so that no route may set or remove it.
pub fn is_reserved(name: &str) -> bool {
    PROTOCOL
        .iter()
        .chain(&HANDSHAKE)
        .any(|field| is(name.as_bytes(), field))
}

/// Fields that say where a message ends and what its connection is.
const PROTOCOL: [&str; 7] = [
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "keep-alive",
];

/// Who the client is, in our words alone. RFC 7239's Forwarded says the same in a syntax that has
/// fooled many a reader, so it goes.
const OURS: [&str; 7] = [
    "host",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
];

/// The fields of RFC 6455 section 11.3, written from the checked offer.
const HANDSHAKE: [&str; 5] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
];

/// Whether only we may say this: CGI reads `X_Forwarded_For` as `X-Forwarded-For`.
pub(super) fn is_ours(name: &[u8]) -> bool {
    let prefix = name.get(..11).unwrap_or_default();
    same_but_for_underscores(prefix, "x-tidegate-")
        || OURS.iter().any(|ours| same_but_for_underscores(name, ours))
}

fn each_of_offer(offer: &Offer, put: &mut impl FnMut(&[u8], &[u8])) {
    put(b"Upgrade", b"websocket");
    put(b"Connection", b"Upgrade");
    put(b"Sec-WebSocket-Key", offer.key());
    put(b"Sec-WebSocket-Version", b"13");
    if !offer.protocols().is_empty() {
        let protocols = offer.protocols().join(", ");
        put(b"Sec-WebSocket-Protocol", protocols.as_bytes());
    }
    if !offer.extensions().is_empty() {
        let extensions: Vec<_> = offer
            .extensions()
            .iter()
            .map(Extension::to_string)
            .collect();
        put(
            b"Sec-WebSocket-Extensions",
            extensions.join(", ").as_bytes(),
        );
    }
}

fn written(address: IpAddr) -> Vec<u8> {
    let mut text = Vec::with_capacity(ADDRESS_BYTES);
    // Writing to a Vec cannot fail.
    let _ = write!(text, "{address}");
    text
}

/// What the longest address takes.
const ADDRESS_BYTES: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

fn is(name: &[u8], field: &str) -> bool {
    name.eq_ignore_ascii_case(field.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logic::request::Scheme;
    use crate::logic::request::testing::{crlf, fields, request, request_head};
    use crate::logic::websocket::handshake::testing::{KEY, upgrade};

    /// A request's way through the proxy, with what a route may add.
    struct Passage {
        request: Request,
        peer: &'static str,
        set: Vec<(Arc<str>, Arc<str>)>,
        remove: Vec<Arc<str>>,
    }

    impl Passage {
        fn of(request: Request) -> Self {
            Self {
                request,
                peer: "1.2.3.4",
                set: Vec::new(),
                remove: Vec::new(),
            }
        }

        fn plain(lines: &str) -> Self {
            let head = crlf("GET /x HTTP/1.1\nHost: A.com:8080") + &crlf(lines) + "\r\n";
            Self::of(request(head).unwrap())
        }

        fn by_trusted_peer(self) -> Self {
            Self {
                peer: "10.0.0.1",
                ..self
            }
        }

        fn set(mut self, name: &str, value: &str) -> Self {
            self.set.push((name.into(), value.into()));
            self
        }

        fn remove(mut self, name: &str) -> Self {
            self.remove.push(name.into());
            self
        }

        fn written(&self) -> String {
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            let fields = self.request.head().fields();
            let client = Client::of(fields, self.peer.parse().unwrap(), Scheme::Http, &trusted);
            let is_upgrade = self.request.is_websocket();
            let offer = is_upgrade.then(|| Offer::check(&self.request).unwrap());
            let outbound = Outbound {
                request: &self.request,
                client: &client,
                port: 8443,
                offer: offer.as_ref(),
                path: self.request.path(),
                query: self.request.query(),
                proof: &Proof::NotAsked,
                user: None,
                set: &self.set,
                remove: &self.remove,
            };
            let mut out = Vec::new();
            outbound.write_to(&mut out);
            String::from_utf8_lossy(&out).into_owned()
        }

        /// The values of one field as the backend gets them.
        fn sends(&self, name: &str) -> Vec<String> {
            let head = request_head(self.written()).unwrap();
            let text = |value| String::from_utf8_lossy(value).into_owned();
            head.fields().values(name).map(text).collect()
        }
    }

    #[test]
    fn an_upgrade_reaches_the_backend_whole() {
        let passage = Passage::of(upgrade(&crlf(
            "Cookie: a=b
             Sec-WebSocket-Protocol: chat , x
             Sec-WebSocket-Extensions: permessage-deflate;client_max_window_bits",
        )));
        let expected = crlf(
            "GET /ws HTTP/1.1
             Host: a
             Cookie: a=b
             X-Forwarded-For: 1.2.3.4
             X-Forwarded-Proto: http
             X-Forwarded-Host: a
             X-Forwarded-Port: 8443
             X-Real-IP: 1.2.3.4
             Upgrade: websocket
             Connection: Upgrade
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
             Sec-WebSocket-Version: 13
             Sec-WebSocket-Protocol: chat, x
             Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        );
        assert_eq!(passage.written(), expected + "\r\n");
    }

    #[test]
    fn fields_that_pass_keep_order_and_spelling() {
        let lines = "b-Field: 1\nA-FIELD:  two\nb-field: 3\nEmpty:";
        let kept = "b-Field: 1\r\nA-FIELD: two\r\nb-field: 3\r\nEmpty: \r\n";
        let expected = format!("GET /x HTTP/1.1\r\nHost: A.com:8080\r\n{kept}");
        let written = Passage::plain(lines).written();
        assert!(written.starts_with(&expected), "{written}");
    }

    /// ATTACKS D04.
    #[test]
    fn fields_of_one_connection_stop_here() {
        let passage = Passage::plain(
            "Keep-Alive: 5
             TE: trailers, x
             Trailer: x
             Proxy-Connection: x
             Proxy-Authorization: x
             HTTP2-Settings: x
             Upgrade: h2c
             Connection: close, X-Mine
             X-Mine: 1",
        );
        let forwarded = passage.written();
        let names: Vec<_> = forwarded
            .lines()
            .skip(1)
            .filter_map(|line| line.split(':').next())
            .collect();
        let ours = [
            "Host",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
        ];
        assert_eq!(
            names,
            [&ours[..], &["X-Forwarded-Port", "X-Real-IP", ""]].concat()
        );
    }

    /// ATTACKS A08, A26.
    #[test]
    fn an_upgrade_goes_on_for_websocket_alone() {
        let lines = crlf(
            "GET / HTTP/1.1
             Host: a
             Upgrade: h2c, websocket
             Connection: Upgrade, HTTP2-Settings
             HTTP2-Settings: x
             Expect: 100-continue
             Content-Length: 0
             Sec-WebSocket-Accept: x
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==
             Sec-WebSocket-Version: 13",
        );
        let passage = Passage::of(request(lines + "\r\n").unwrap());
        assert_eq!(passage.sends("upgrade"), ["websocket"]);
        assert_eq!(passage.sends("connection"), ["Upgrade"]);
        for gone in [
            "http2-settings",
            "expect",
            "content-length",
            "sec-websocket-accept",
        ] {
            assert!(passage.sends(gone).is_empty(), "{gone}");
        }
    }

    /// ATTACKS D01, D02, D05.
    #[test]
    fn an_untrusted_peer_does_not_say_who_it_is() {
        let lines = "X-Forwarded-For: 9.9.9.9
                     X-Forwarded-Proto: https
                     X-Forwarded-Host: evil
                     X-Forwarded-Port: 1
                     X-Real-IP: 9.9.9.9
                     Forwarded: for=\"_x;proto=https\"
                     X_Forwarded_For: 9.9.9.9
                     X-Forwarded_For: 9.9.9.9
                     x_real_ip: 9.9.9.9
                     X-Tidegate-User: root
                     X_Tidegate_User: root
                     x-tidegate_anything: 1";
        let nominating = format!("{lines}\nConnection: close, X-Forwarded-For, X-Real-IP");
        for lines in [lines, &nominating] {
            let passage = Passage::plain(lines);
            assert_eq!(passage.sends("x-forwarded-for"), ["1.2.3.4"]);
            assert_eq!(passage.sends("x-forwarded-proto"), ["http"]);
            assert_eq!(passage.sends("x-forwarded-host"), ["A.com:8080"]);
            assert_eq!(passage.sends("x-forwarded-port"), ["8443"]);
            assert_eq!(passage.sends("x-real-ip"), ["1.2.3.4"]);
            let written = passage.written();
            for trace in ["9.9.9.9", "evil", "root", "_x", "anything"] {
                assert!(!written.contains(trace), "{trace} in {written}");
            }
        }
    }

    /// ATTACKS D01, D02.
    #[test]
    fn a_trusted_peers_word_goes_on() {
        let passage = Passage::plain(
            "X-Forwarded-For: 8.8.8.8
             X-Forwarded-For: 9.9.9.9
             X-Forwarded-Proto: https
             X-Forwarded-Host: public
             X-Forwarded-Port: 443
             X-Real-IP: 7.7.7.7
             Forwarded: for=7.7.7.7
             X-Tidegate-User: root
             X_Forwarded_For: 7.7.7.7
             Connection: X-Forwarded-For, X-Real-IP",
        )
        .by_trusted_peer();
        assert_eq!(
            passage.sends("x-forwarded-for"),
            ["8.8.8.8, 9.9.9.9, 10.0.0.1"]
        );
        assert_eq!(passage.sends("x-forwarded-proto"), ["https"]);
        assert_eq!(passage.sends("x-forwarded-host"), ["public"]);
        assert_eq!(passage.sends("x-forwarded-port"), ["443"]);
        assert_eq!(passage.sends("x-real-ip"), ["9.9.9.9"]);
        let written = passage.written();
        assert!(
            !written.contains("7.7.7.7") && !written.contains("root"),
            "{written}"
        );
    }

    #[test]
    fn a_route_has_the_last_word_but_for_the_protocol() {
        let passage = Passage::plain("X-App: theirs\nCookie: a\nX-Keep: 1")
            .set("X-App", "ours")
            .set("host", "internal")
            .set("X-Real-IP", "hidden")
            .set("Connection", "close")
            .set("Sec-WebSocket-Key", "x")
            .remove("cookie")
            .remove("x-forwarded-for")
            .remove("host");
        assert_eq!(passage.sends("x-app"), ["ours"]);
        assert_eq!(passage.sends("host"), ["internal"]);
        assert_eq!(passage.sends("x-real-ip"), ["hidden"]);
        assert_eq!(passage.sends("x-keep"), ["1"]);
        for gone in [
            "cookie",
            "x-forwarded-for",
            "connection",
            "sec-websocket-key",
        ] {
            assert!(passage.sends(gone).is_empty(), "{gone}");
        }
    }

    /// ATTACKS D02.
    #[test]
    fn a_spelling_with_underscores_does_not_get_around_a_route() {
        let passage = Passage::plain(
            "X_App: theirs
             x-ro_le: theirs
             X_Secret: theirs
             X_Keep: 1",
        )
        .set("X-App", "ours")
        .set("X_Ro_Le", "ours")
        .remove("x-secret");
        let written = passage.written();
        assert!(!written.contains("theirs"), "{written}");
        assert_eq!(passage.sends("x-app"), ["ours"]);
        assert_eq!(passage.sends("x_ro_le"), ["ours"]);
        assert_eq!(passage.sends("x_keep"), ["1"]);
    }

    #[test]
    fn a_trailer_does_not_get_around_a_route() {
        let posted = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
        let announced = "Trailer: X-App, x_secret, X-Sum\r\n\r\n";
        let passage = Passage::of(request(format!("{posted}{announced}")).unwrap())
            .set("X-App", "ours")
            .remove("x-secret");
        assert_eq!(passage.sends("trailer"), ["X-Sum"]);
    }

    #[test]
    fn nominating_a_framing_field_does_not_remove_it() {
        let posted = |line: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
            let nominated = "Connection: content-length, transfer-encoding, host\r\n\r\n";
            Passage::of(request(text + nominated).unwrap())
        };
        let passage = posted("Content-Length: 5");
        assert_eq!(passage.sends("content-length"), ["5"]);
        assert_eq!(passage.sends("host"), ["a"]);
        assert_eq!(
            posted("Transfer-Encoding: Chunked").sends("transfer-encoding"),
            ["chunked"]
        );
    }

    #[test]
    fn the_user_of_a_token_is_named_by_us_alone() {
        let request = upgrade("X-Tidegate-User: root\r\n");
        let client = Client::of(&fields(""), [1, 2, 3, 4].into(), Scheme::Https, &[]);
        let outbound = Outbound {
            request: &request,
            client: &client,
            port: 443,
            offer: None,
            path: "/live",
            query: Some("a=b"),
            proof: &Proof::NotAsked,
            user: Some("ann"),
            set: &[],
            remove: &[],
        };
        let mut out = Vec::new();
        outbound.write_to(&mut out);
        let head = request_head(out).unwrap();
        assert_eq!(head.target(), b"/live?a=b");
        assert_eq!(head.fields().one("x-tidegate-user"), Ok(Some(&b"ann"[..])));
    }

    /// Field lines that say much about framing and little that is true.
    fn hostile_lines() -> impl Strategy<Value = String> {
        const NAMES: &[&str] = &[
            "Connection",
            "Upgrade",
            "Host",
            "Content-Length",
            "Transfer-Encoding",
            "Transfer_Encoding",
            "X-Forwarded-For",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Expect",
        ];
        const VALUES: &[&str] = &[
            "websocket",
            "upgrade, host, cookie",
            KEY,
            "13",
            "chunked",
            "0",
            "7",
        ];
        let names = prop::sample::select(NAMES);
        let values = prop_oneof![
            prop::sample::select(VALUES).prop_map(str::to_owned),
            "[ -~]{0,12}"
        ];
        let line = (names, values).prop_map(|(name, value)| format!("{name}: {value}\r\n"));
        prop::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
    }

    proptest! {
        #[test]
        fn the_backend_reads_the_request_that_was_checked(lines in hostile_lines()) {
            let checked = request(format!("GET /a?b HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
            let Ok(checked) = checked else { return Ok(()) };
            if checked.is_websocket() && Offer::check(&checked).is_err() {
                return Ok(());
            }
            let seen = request(Passage::of(checked.clone()).written()).unwrap();
            prop_assert_eq!(seen.host(), checked.host());
            prop_assert_eq!((seen.path(), seen.query()), (checked.path(), checked.query()));
            prop_assert_eq!(seen.is_websocket(), checked.is_websocket());
            if !checked.is_websocket() {
                prop_assert_eq!(seen.framing(), checked.framing());
            }
        }
    }
}
