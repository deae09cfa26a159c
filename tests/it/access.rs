//! Which addresses and which pages may come in (CONTRACT 2 `[route.access]`, ATTACKS L01, L02), and
//! who may reach the admin address.

use std::fs;

use crate::support::proxy::tidegate;
use crate::support::{Echo, Request, Setup, Tidegate};

/// ATTACKS L01.
#[test]
fn only_pages_of_listed_origins_open_a_websocket() {
    let echo = Echo::start();
    let origins =
        r#"origins = ["https://good.example", "https://*.apps.example:8443", "same-host"]"#;
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("route.access", origins));
    let from = |origin: &str| Request::upgrade().with(format!("Origin: {origin}"));
    for origin in [
        "https://good.example",
        "HTTPS://GOOD.example",
        "https://good.example:443",
        "https://a.apps.example:8443",
        "http://a",
    ] {
        assert_eq!(proxy.send(from(origin).bytes()).status, 101, "{origin}");
    }
    let admitted = echo.accepted();
    for origin in [
        "null",
        "",
        "https://good.com.evil.com",
        "https://evilgood.example",
        "https://good.example.evil.com",
        "https://good.example@evil.com",
        "http://good.example",
        "https://good.example:8443",
        "https://good.example.",
        "https://good.example/",
        "good.example",
        "https://apps.example:8443",
        "https://evilapps.example:8443",
        "https://a",
        "http://a.evil.com",
        "https://good.example, https://evil.com",
        "https://good.example https://evil.com",
    ] {
        let answer = proxy.send(from(origin).bytes());
        assert_eq!(answer.status, 403, "{origin}: {answer:?}");
        assert_eq!(answer.body, "origin refused\n", "{origin}");
    }
    let two = from("https://good.example").with("Origin: https://good.example");
    assert_eq!(proxy.send(two.bytes()).status, 403);
    assert_eq!(
        proxy.send(Request::upgrade().bytes()).status,
        403,
        "no origin"
    );
    assert_eq!(echo.accepted(), admitted, "a backend heard of one");
}

/// ATTACKS L02.
#[test]
fn addresses_are_checked_for_both_kinds_of_request_and_origins_for_websockets() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo])
        .with("listener.public", "trusted_proxies = \"127.0.0.1\"")
        .with(
            "route.access",
            "allow = [\"192.0.2.0/24\", \"2001:db8::/32\"]\ndeny = \"192.0.2.66\"\norigins = \"https://a\"",
        );
    let proxy = Tidegate::start(&setup);
    for (client, comes_in) in [
        ("192.0.2.1", true),
        ("::ffff:192.0.2.1", true),
        ("2001:db8::1", true),
        ("192.0.2.66", false),
        ("::ffff:192.0.2.66", false),
        ("192.0.3.1", false),
        ("2001:db9::1", false),
        ("127.0.0.1", false),
        // The last hop counts, whatever stands before it.
        ("192.0.2.1, 192.0.3.1", false),
    ] {
        let forwarded = format!("X-Forwarded-For: {client}");
        let good = Request::upgrade()
            .with("Origin: https://a")
            .with(&forwarded);
        let status = proxy.send(good.bytes()).status;
        assert_eq!(status, if comes_in { 101 } else { 403 }, "{client}");
        for origin in ["https://a", "https://evil", "null"] {
            let plain = Request::get("/")
                .with(&forwarded)
                .with(format!("Origin: {origin}"));
            let status = proxy.send(plain.bytes()).status;
            assert_eq!(
                status,
                if comes_in { 200 } else { 403 },
                "{client} {origin}"
            );
        }
    }
}

#[test]
fn an_admin_address_that_others_reach_needs_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    fs::write(directory.path().join("token"), "hunter2\n").unwrap();
    fs::write(directory.path().join("empty"), "\n").unwrap();
    for (lines, exit) in [
        ("bind = \"127.0.0.1:0\"", 0),
        ("bind = \"[::1]:0\"", 0),
        ("bind = \"unix:/run/tidegate-of-a-test.sock\"", 0),
        ("bind = \"off\"", 0),
        ("bind = \"0.0.0.0:0\"", 1),
        ("bind = \"[::]:0\"", 1),
        ("bind = \"192.0.2.1:9900\"", 1),
        ("bind = \"0.0.0.0:0\"\ntoken_file = \"token\"", 0),
        ("bind = \"0.0.0.0:0\"\ntoken_file = \"empty\"", 1),
        ("bind = \"127.0.0.1:0\"\ntoken_file = \"missing\"", 1),
    ] {
        let setup = Setup::to(&["127.0.0.1:1"]).with("admin", lines);
        fs::write(&file, setup.toml()).unwrap();
        let output = tidegate(&["check", "-c", file.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{lines}: {errors}");
        assert!(exit == 0 || errors.contains("token_file"), "{errors}");
    }
}
