//! Health checks over TLS.

use std::fmt::Display;

use crate::support::certificates::Authority;
use crate::support::log::Line;
use crate::support::wait::wait_until;
use crate::support::{Echo, Setup, Tidegate};

use super::{ca, good_server, over_tls, plaintext, upgrade};

/// One check after the other, over TLS as these lines say.
fn checked(kind: &str, server: impl Display, lines: &str) -> Setup {
    over_tls(server, lines).with(
        "upstream.echo.health_check",
        &format!("type = \"{kind}\"\ninterval = \"200ms\"\ntimeout = \"2s\"\nrise = 1\nfall = 1"),
    )
}

#[track_caller]
fn wait_for_up(proxy: &Tidegate, up: bool) {
    let value = if up { 1.0 } else { 0.0 };
    proxy.wait_for_metric("tidegate_server_up", &[], value);
}

#[test]
fn checks_go_over_tls_and_see_a_server_go_and_come() {
    let authority = Authority::new();
    let shown = authority.issue(&["127.0.0.1"]);
    for kind in ["tcp", "http", "websocket"] {
        let echo = Echo::secure(authority.server_with(&shown));
        let proxy = Tidegate::start(&checked(kind, &echo, &ca(&authority)));
        wait_until("a good check", || {
            proxy
                .metrics()
                .sum("tidegate_health_checks_total", &[("result", "ok")])
                >= 1.0
        });
        let address = echo.kill();
        wait_for_up(&proxy, false);
        assert_eq!(upgrade(&proxy).status, 503, "{kind}");
        let _back = Echo::secure_at(address, authority.server_with(&shown));
        wait_for_up(&proxy, true);
        proxy.websocket("/").echo(kind);
    }
}

#[test]
fn checks_verify_the_server_as_clients_of_it_do() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let (echo, _) = good_server(&authority);
    let (echo, plain) = (echo.to_string(), plaintext());
    for kind in ["tcp", "http", "websocket"] {
        for (server, lines) in [
            (&echo, ca(&strangers)),
            (&plain.to_string(), ca(&authority)),
        ] {
            let proxy = Tidegate::start(&checked(kind, server, &lines));
            wait_for_up(&proxy, false);
            let down = |line: &Line| line.message() == "server down";
            let line = proxy.log().wait_for(0, "server down", down);
            assert!(
                line.str("error").unwrap().contains("TLS"),
                "{}",
                line.text()
            );
        }
    }
}

#[test]
fn a_check_asks_for_the_name_that_it_verifies() {
    let authority = Authority::new();
    let shown = authority.issue(&["chat.internal"]);
    let echo = Echo::secure(authority.server_with(&shown));
    let lines = format!("{}\nserver_name = \"chat.internal\"", ca(&authority));
    let _proxy = Tidegate::start(&checked("http", &echo, &lines));
    wait_until("a check", || !echo.heads().is_empty());
    let host = format!("host: chat.internal:{}\r\n", echo.address().port());
    let head = echo.last_head().to_ascii_lowercase();
    assert!(head.contains(&host), "{head}");
}
