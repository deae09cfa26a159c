//! Routes: which requests meet which, and what a route does to them (CONTRACT section 2).

use crate::support::backend::field;
use crate::support::{Echo, Request, Setup, Tidegate};

/// A proxy whose routes answer with a status each, in this order; the last, `main`, with 404.
fn answering(routes: &[(&str, u16)]) -> Tidegate {
    let last = Setup::to(&["127.0.0.1:1"]).with("[route]", "path = \"=/none\"");
    Tidegate::start(&routes.iter().fold(last, |setup, (lines, status)| {
        setup.route_before(&format!("{lines}\nrespond = {status}"))
    }))
}

#[track_caller]
fn assert_met(proxy: &Tidegate, rows: &[(&str, &str, u16)]) {
    for (host, target, status) in rows {
        let request = Request::get(target).but(format!("Host: {host}"));
        let answer = proxy.send(request.bytes());
        assert_eq!(answer.status, *status, "{host} {target}");
    }
}

/// The head that a server gets of an upgrade for `target`.
#[track_caller]
fn sent_on(lines: &str, headers: &str, request: &Request) -> String {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("[route]", lines);
    let proxy = Tidegate::start(&setup.with("route.headers", headers));
    let answer = proxy.send(request.bytes());
    assert_eq!(answer.status, 101, "{answer:?}");
    echo.last_head()
}

#[test]
fn a_host_is_exact_or_a_wildcard_for_one_label_or_more() {
    let proxy = answering(&[
        ("host = \"a.example.com\"", 201),
        ("host = [\"*.example.com\", \"[::1]\"]", 202),
    ]);
    assert_met(
        &proxy,
        &[
            ("a.example.com", "/", 201),
            ("A.Example.COM:8443", "/", 201),
            ("a.example.com.", "/", 201),
            ("b.example.com", "/", 202),
            ("c.b.example.com", "/", 202),
            ("[0::1]:80", "/", 202),
            ("example.com", "/", 404),
            ("aexample.com", "/", 404),
            ("a.example.com.evil", "/", 404),
        ],
    );
}

#[test]
fn a_path_is_a_prefix_on_a_segment_border_or_exact() {
    let proxy = answering(&[
        ("path = \"=/ws/exact\"", 201),
        ("path = \"/ws\"", 202),
        ("path = \"/dir/\"", 203),
    ]);
    assert_met(
        &proxy,
        &[
            ("a", "/ws/exact", 201),
            ("a", "/%77s/exact?x", 201),
            ("a", "/ws/exact/", 202),
            ("a", "/ws", 202),
            ("a", "/ws/x", 202),
            ("a", "/wsx", 404),
            ("a", "/WS", 404),
            ("a", "/dir", 404),
            ("a", "/dir/", 203),
            ("a", "/dir/x", 203),
        ],
    );
}

#[test]
fn the_first_match_in_file_order_wins() {
    let proxy = answering(&[
        ("path = \"/a\"", 201),
        ("path = \"/a/b\"", 202),
        ("host = \"a\"", 203),
        ("path = \"/c\"", 204),
    ]);
    let rows = [
        ("a", "/a/b", 201),
        ("a", "/c", 203),
        ("b", "/c", 204),
        ("b", "/d", 404),
    ];
    assert_met(&proxy, &rows);
}

#[test]
fn a_fixed_response_answers_every_method_and_upgrades_too() {
    let proxy = answering(&[("path = \"/gone\"", 410)]);
    for method in ["GET", "POST", "DELETE", "OPTIONS"] {
        let request = Request::get("/gone").line(format!("{method} /gone HTTP/1.1"));
        let answer = proxy.send(request.with("Content-Length: 0").bytes());
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (410, "gone\n"),
            "{method}"
        );
    }
    let answer = proxy.send(Request::upgrade().target("/gone").bytes());
    assert_eq!(answer.status, 410);
}

#[test]
fn a_redirect_to_https_keeps_method_path_and_query() {
    let setup = Setup::to(&["127.0.0.1:1"]).route_before("path = \"/app\"\nredirect = \"https\"");
    let proxy = Tidegate::start(&setup);
    for (host, target, location) in [
        ("a.example.com", "/app", "https://a.example.com/app"),
        (
            "A.example.com:8080",
            "/app/x?y=z&%20",
            "https://a.example.com/app/x?y=z&%20",
        ),
        ("[::1]:8080", "/app/%77?", "https://[::1]/app/w?"),
    ] {
        for request in [Request::get(target), Request::upgrade().target(target)] {
            let answer = proxy.send(request.but(format!("Host: {host}")).bytes());
            assert_eq!(answer.status, 308, "RFC 9110 s15.4.9: the method stays");
            assert_eq!(answer.header("location"), Some(location));
        }
    }
}

#[test]
fn a_rewrite_strips_or_replaces_the_matched_prefix() {
    for (lines, target, line) in [
        (
            "path = \"/ws\"\nrewrite = \"/live\"",
            "/ws/x?y=z",
            "GET /live/x?y=z HTTP/1.1",
        ),
        (
            "path = \"/ws\"\nrewrite = \"/live\"",
            "/ws",
            "GET /live HTTP/1.1",
        ),
        (
            "path = \"/ws\"\nrewrite = \"/\"",
            "/ws/x",
            "GET /x HTTP/1.1",
        ),
        (
            "path = \"/ws\"\nrewrite = \"/\"",
            "/ws?y",
            "GET /?y HTTP/1.1",
        ),
        (
            "path = \"=/ws\"\nrewrite = \"/a/b\"",
            "/ws",
            "GET /a/b HTTP/1.1",
        ),
        (
            "path = \"/\"\nrewrite = \"/all\"",
            "/ws",
            "GET /all/ws HTTP/1.1",
        ),
    ] {
        let head = sent_on(lines, "", &Request::upgrade().target(target));
        assert_eq!(head.lines().next(), Some(line), "{lines} {target}");
    }
}

#[test]
fn a_route_sets_replaces_and_removes_header_fields() {
    let request = Request::upgrade()
        .with("X-App: mine")
        .with("X-Debug: 1")
        .with("x-debug: 2")
        .with("X-Kept: 1");
    let headers =
        "set = { X-App = \"chat\", Host = \"inside\" }\nremove = [\"X-Debug\", \"x-real-ip\"]";
    let head = sent_on("", headers, &request);
    let values = |name: &str| {
        head.lines()
            .filter(|line| line.to_lowercase().starts_with(name))
            .count()
    };
    assert_eq!(
        (field(&head, "x-app"), values("x-app:")),
        (Some("chat"), 1),
        "{head}"
    );
    assert_eq!(
        (field(&head, "host"), values("host:")),
        (Some("inside"), 1),
        "{head}"
    );
    assert_eq!(field(&head, "x-kept"), Some("1"));
    for gone in ["x-debug", "x-real-ip"] {
        assert_eq!(field(&head, gone), None, "{head}");
    }
}
