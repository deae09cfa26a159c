//! Which header fields a backend gets to see, and whose word they are (ATTACKS section D).

use crate::support::backend::field;
use crate::support::{Echo, Request, Setup, Tidegate};

/// Opens a tunnel with this request and gives the head the backend saw.
#[track_caller]
fn seen(setup: impl FnOnce(Setup) -> Setup, request: &Request) -> (String, Tidegate) {
    let echo = Echo::start();
    let proxy = Tidegate::start(&setup(Setup::to(&[&echo])));
    let answer = proxy.send(request.bytes());
    assert_eq!(answer.status, 101, "{answer:?}");
    (echo.last_head(), proxy)
}

/// Loopback is a trusted proxy.
fn trusting(setup: Setup) -> Setup {
    setup.with("listener.public", "trusted_proxies = [\"127.0.0.0/8\"]")
}

fn fields<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .filter(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
        .collect()
}

#[test]
fn a_backend_learns_who_the_client_is() {
    let (head, proxy) = seen(|setup| setup, &Request::upgrade().but("Host: a:81"));
    assert_eq!(fields(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(fields(&head, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(fields(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(fields(&head, "x-forwarded-host"), ["a:81"]);
    let port = proxy.address().port().to_string();
    assert_eq!(fields(&head, "x-forwarded-port"), [port]);
    assert_eq!(fields(&head, "host"), ["a:81"]);
}

#[test]
fn what_a_stranger_says_of_itself_is_replaced() {
    let request = Request::upgrade()
        .with("X-Forwarded-For: 1.2.3.4")
        .with("X-Forwarded-For: 5.6.7.8")
        .with("X-Real-IP: 1.2.3.4")
        .with("X-Forwarded-Proto: https")
        .with("X-Forwarded-Host: bank.example")
        .with("X-Forwarded-Port: 443")
        .with("Forwarded: for=\"_x;proto=https\"")
        .with("X-Tidegate-User: root")
        .with("X_Forwarded_For: 1.2.3.4")
        .with("X_Real_IP: 1.2.3.4")
        .with("X_Tidegate_User: root");
    let (head, _proxy) = seen(|setup| setup, &request);
    assert_eq!(fields(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(fields(&head, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(fields(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(fields(&head, "x-forwarded-host"), ["a"]);
    for gone in ["forwarded", "x-tidegate-user"] {
        assert_eq!(field(&head, gone), None, "{head}");
    }
    assert!(
        !head.contains('_') && !head.contains("1.2.3.4") && !head.contains("root"),
        "{head}"
    );
}

#[test]
fn what_a_trusted_proxy_says_is_appended_to() {
    let request = Request::upgrade().with("X-Forwarded-For: 9.9.9.9, 1.2.3.4, 127.0.0.7");
    let (head, _proxy) = seen(trusting, &request);
    assert_eq!(
        fields(&head, "x-forwarded-for"),
        ["9.9.9.9, 1.2.3.4, 127.0.0.7, 127.0.0.1"]
    );
    assert_eq!(fields(&head, "x-real-ip"), ["1.2.3.4"]);
}

#[test]
fn an_odd_chain_from_a_trusted_proxy_does_no_harm() {
    let hops = (0..100)
        .map(|n| format!("10.0.0.{n}"))
        .collect::<Vec<_>>()
        .join(", ");
    for chain in [
        hops.as_str(),
        "unknown",
        "fe80::1%eth0",
        "",
        ",,,",
        "1.2.3.4:80",
        "[::1]:80",
    ] {
        let request = Request::upgrade().with(format!("X-Forwarded-For: {chain}"));
        let (head, _proxy) = seen(trusting, &request);
        assert_eq!(fields(&head, "x-real-ip").len(), 1, "{chain}: {head}");
    }
}

#[test]
fn a_client_cannot_nominate_our_fields_away() {
    let request = Request::upgrade()
        .but("Connection: Upgrade, close, X-Forwarded-For, X-Real-IP, X-Forwarded-Proto, X-Mine")
        .with("X-Mine: 1");
    let (head, _proxy) = seen(|setup| setup, &request);
    assert_eq!(fields(&head, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(fields(&head, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(fields(&head, "x-forwarded-proto"), ["http"]);
    assert_eq!(field(&head, "x-mine"), None);
    assert_eq!(fields(&head, "connection"), ["Upgrade"]);
}

#[test]
fn hop_by_hop_fields_stay_behind() {
    let request = Request::upgrade()
        .with("Keep-Alive: timeout=5")
        .with("TE: trailers, x")
        .with("Proxy-Connection: keep-alive")
        .with("Proxy-Authorization: Basic eA==")
        .with("Trailer: X")
        .with("Cookie: session=1")
        .with("User-Agent: a test");
    let (head, _proxy) = seen(|setup| setup, &request);
    for hop in [
        "keep-alive",
        "te",
        "proxy-connection",
        "proxy-authorization",
        "trailer",
    ] {
        assert_eq!(field(&head, hop), None, "{head}");
    }
    assert_eq!(field(&head, "cookie"), Some("session=1"));
    assert_eq!(field(&head, "user-agent"), Some("a test"));
}

#[test]
fn the_handshake_itself_passes_unchanged() {
    let request = Request::upgrade()
        .target("/ws?a=b&c=%20d")
        .with("Sec-WebSocket-Protocol: chat, superchat")
        .with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        .with("Origin: https://app.example.com");
    let (head, _proxy) = seen(|setup| setup, &request);
    assert!(
        head.starts_with("GET /ws?a=b&c=%20d HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(fields(&head, "sec-websocket-version"), ["13"]);
    assert_eq!(fields(&head, "sec-websocket-protocol"), ["chat, superchat"]);
    assert_eq!(fields(&head, "origin"), ["https://app.example.com"]);
    let extensions = fields(&head, "sec-websocket-extensions");
    assert_eq!(extensions, ["permessage-deflate; client_max_window_bits"]);
    assert_eq!(fields(&head, "sec-websocket-key").len(), 1);
}
