//! What reaches the backend of what a client claims, and what a route may say to it.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::logic::request::Scheme;
use crate::logic::request::testing::{crlf, fields, request, request_head};
use crate::logic::websocket::handshake::testing::{KEY, upgrade};

/// A request's way through the proxy, with what a route may add.
struct Sent {
    request: Request,
    peer: &'static str,
    set: Vec<(Arc<str>, Arc<str>)>,
    remove: Vec<Arc<str>>,
}

impl Sent {
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
    let sent = Sent::of(upgrade(&crlf(
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
    assert_eq!(sent.written(), expected + "\r\n");
}

#[test]
fn fields_that_pass_keep_order_and_spelling() {
    let lines = "b-Field: 1\nA-FIELD:  two\nb-field: 3\nEmpty:";
    let kept = "b-Field: 1\r\nA-FIELD: two\r\nb-field: 3\r\nEmpty: \r\n";
    let expected = format!("GET /x HTTP/1.1\r\nHost: A.com:8080\r\n{kept}");
    let written = Sent::plain(lines).written();
    assert!(written.starts_with(&expected), "{written}");
}

/// ATTACKS D04.
#[test]
fn fields_of_one_connection_stop_here() {
    let sent = Sent::plain(
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
    let forwarded = sent.written();
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
    let sent = Sent::of(request(lines + "\r\n").unwrap());
    assert_eq!(sent.sends("upgrade"), ["websocket"]);
    assert_eq!(sent.sends("connection"), ["Upgrade"]);
    for gone in [
        "http2-settings",
        "expect",
        "content-length",
        "sec-websocket-accept",
    ] {
        assert!(sent.sends(gone).is_empty(), "{gone}");
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
        let sent = Sent::plain(lines);
        assert_eq!(sent.sends("x-forwarded-for"), ["1.2.3.4"]);
        assert_eq!(sent.sends("x-forwarded-proto"), ["http"]);
        assert_eq!(sent.sends("x-forwarded-host"), ["A.com:8080"]);
        assert_eq!(sent.sends("x-forwarded-port"), ["8443"]);
        assert_eq!(sent.sends("x-real-ip"), ["1.2.3.4"]);
        let written = sent.written();
        for trace in ["9.9.9.9", "evil", "root", "_x", "anything"] {
            assert!(!written.contains(trace), "{trace} in {written}");
        }
    }
}

/// ATTACKS D01, D02.
#[test]
fn a_trusted_peers_word_goes_on() {
    let sent = Sent::plain(
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
        sent.sends("x-forwarded-for"),
        ["8.8.8.8, 9.9.9.9, 10.0.0.1"]
    );
    assert_eq!(sent.sends("x-forwarded-proto"), ["https"]);
    assert_eq!(sent.sends("x-forwarded-host"), ["public"]);
    assert_eq!(sent.sends("x-forwarded-port"), ["443"]);
    assert_eq!(sent.sends("x-real-ip"), ["9.9.9.9"]);
    let written = sent.written();
    assert!(
        !written.contains("7.7.7.7") && !written.contains("root"),
        "{written}"
    );
}

#[test]
fn a_route_has_the_last_word_but_for_the_protocol() {
    let sent = Sent::plain("X-App: theirs\nCookie: a\nX-Keep: 1")
        .set("X-App", "ours")
        .set("host", "internal")
        .set("X-Real-IP", "hidden")
        .set("Connection", "close")
        .set("Sec-WebSocket-Key", "x")
        .remove("cookie")
        .remove("x-forwarded-for")
        .remove("host");
    assert_eq!(sent.sends("x-app"), ["ours"]);
    assert_eq!(sent.sends("host"), ["internal"]);
    assert_eq!(sent.sends("x-real-ip"), ["hidden"]);
    assert_eq!(sent.sends("x-keep"), ["1"]);
    for gone in [
        "cookie",
        "x-forwarded-for",
        "connection",
        "sec-websocket-key",
    ] {
        assert!(sent.sends(gone).is_empty(), "{gone}");
    }
}

/// ATTACKS D02.
#[test]
fn a_spelling_with_underscores_does_not_get_around_a_route() {
    let sent = Sent::plain(
        "X_App: theirs
         x-ro_le: theirs
         X_Secret: theirs
         X_Keep: 1",
    )
    .set("X-App", "ours")
    .set("X_Ro_Le", "ours")
    .remove("x-secret");
    let written = sent.written();
    assert!(!written.contains("theirs"), "{written}");
    assert_eq!(sent.sends("x-app"), ["ours"]);
    assert_eq!(sent.sends("x_ro_le"), ["ours"]);
    assert_eq!(sent.sends("x_keep"), ["1"]);
}

#[test]
fn a_trailer_does_not_get_around_a_route() {
    let posted = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
    let announced = "Trailer: X-App, x_secret, X-Sum\r\n\r\n";
    let sent = Sent::of(request(format!("{posted}{announced}")).unwrap())
        .set("X-App", "ours")
        .remove("x-secret");
    assert_eq!(sent.sends("trailer"), ["X-Sum"]);
}

#[test]
fn nominating_a_framing_field_does_not_remove_it() {
    let posted = |line: &str| {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n");
        let nominated = "Connection: content-length, transfer-encoding, host\r\n\r\n";
        Sent::of(request(text + nominated).unwrap())
    };
    let sent = posted("Content-Length: 5");
    assert_eq!(sent.sends("content-length"), ["5"]);
    assert_eq!(sent.sends("host"), ["a"]);
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
        let seen = request(Sent::of(checked.clone()).written()).unwrap();
        prop_assert_eq!(seen.host(), checked.host());
        prop_assert_eq!((seen.path(), seen.query()), (checked.path(), checked.query()));
        prop_assert_eq!(seen.is_websocket(), checked.is_websocket());
        if !checked.is_websocket() {
            prop_assert_eq!(seen.framing(), checked.framing());
        }
    }
}
