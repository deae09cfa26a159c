//! Whom we believe, and what becomes of a server that is somebody else.

use std::sync::Arc;
use std::time::Instant;

use rcgen::{CertificateParams, IsCa, date_time_ymd};
use rustls::ServerConfig;

use crate::support::certificates::{Authority, Certificate};
use crate::support::log::Line;
use crate::support::proxy::Reload;
use crate::support::wait::PATIENCE;
use crate::support::{Backend, Echo, Setup, Tidegate};

use super::{ca, fails_over_tls, good_server, over_tls, plaintext, upgrade};

/// What a server shows, and how it is to be believed.
struct Showing {
    what: &'static str,
    /// What the operator is told.
    told: &'static str,
    server: Arc<ServerConfig>,
    lines: String,
}

/// Servers that are somebody else than they should be, each in its own way.
fn impostors(authority: &Authority, strangers: &Authority) -> Vec<Showing> {
    let expired = authority.issue_with("expired", &["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let early = authority.issue_with("early", &["127.0.0.1"], |params| {
        params.not_before = date_time_ymd(3000, 1, 1);
        params.not_after = date_time_ymd(3001, 1, 1);
    });
    let right = authority.issue_as("right", &["127.0.0.1"]);
    let foreign = strangers.issue(&["127.0.0.1"]);
    let of_another = authority.issue(&["b.example"]);
    let showing = |what, told, certificate: &Certificate, more: &str| Showing {
        what,
        told,
        server: authority.server_with(certificate),
        lines: format!("{}\n{more}", ca(authority)),
    };
    vec![
        showing(
            "an unknown authority",
            "leads to no trusted root (write ca",
            &foreign,
            "",
        ),
        showing("another name", "not for 127.0.0.1 but for", &of_another, ""),
        showing(
            "another name than asked for",
            "not for a.example but for",
            &right,
            "server_name = \"a.example\"",
        ),
        showing("an expired certificate", "has expired", &expired, ""),
        showing(
            "a certificate of the future",
            "is not valid yet",
            &early,
            "",
        ),
        Showing {
            what: "an authority that the system does not know",
            told: "leads to no trusted root (write ca",
            server: authority.server_with(&right),
            lines: "insecure = false".to_owned(),
        },
    ]
}

#[test]
fn a_server_that_is_somebody_else_gets_no_request_and_its_client_502() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    for Showing {
        what,
        told,
        server,
        lines,
    } in impostors(&authority, &strangers)
    {
        let echo = Echo::secure(server);
        let proxy = Tidegate::start(&over_tls(&echo, &lines));
        for _ in 0..2 {
            let answer = upgrade(&proxy);
            assert_eq!(answer.status, 502, "{what}: {answer:?}");
            assert_eq!(
                answer.body, "no secure connection to the backend\n",
                "{what}"
            );
        }
        fails_over_tls(&proxy, 2.0);
        assert!(echo.heads().is_empty(), "{what} was sent a request");
        let is_it = |line: &Line| line.message() == "no TLS with the server";
        let line = proxy.log().wait_for(0, "the reason", is_it);
        let error = line.str("error").unwrap_or_default();
        assert!(error.contains(told), "{what}: {error}");
        assert_eq!(proxy.log().lines_since(0, is_it).len(), 1, "{what}");
    }
}

#[test]
fn with_insecure_any_certificate_will_do_and_the_operator_is_warned() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    for Showing {
        what,
        server,
        lines,
        ..
    } in impostors(&authority, &strangers)
    {
        let echo = Echo::secure(server);
        let lines = format!("{lines}\ninsecure = true");
        let lines = lines.replace("insecure = false\n", "");
        let proxy = Tidegate::start(&over_tls(&echo, &lines));
        let warned = || {
            let is_it = |message: &str| message.starts_with("tls.insecure");
            (proxy.log().lines_since(0, |line| is_it(line.message()))).len()
        };
        assert_eq!(warned(), 1, "{what}");
        proxy.websocket("/").echo(what);
        assert_eq!(proxy.reload(), Reload::Done);
        assert_eq!(warned(), 2, "{what}");
    }
}

#[test]
fn a_server_is_verified_by_the_configured_name_else_by_its_own() {
    let authority = Authority::new();
    for (names, host, lines) in [
        (&["127.0.0.1"][..], "127.0.0.1", ""),
        (&["localhost"], "localhost", ""),
        (
            &["chat.internal"],
            "127.0.0.1",
            "server_name = \"chat.internal\"",
        ),
        (
            &["chat.internal"],
            "localhost",
            "server_name = \"chat.internal\"",
        ),
        (&["127.0.0.9"], "127.0.0.1", "server_name = \"127.0.0.9\""),
    ] {
        let echo = Echo::secure(authority.server_with(&authority.issue(names)));
        let server = format!("{host}:{}", echo.address().port());
        let lines = format!("{}\n{lines}", ca(&authority));
        let proxy = Tidegate::start(&over_tls(&server, &lines));
        proxy.websocket("/").echo(host);
    }
}

#[test]
fn a_server_that_signs_for_itself_is_believed_where_it_is_its_own_authority() {
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::ExplicitNoCa;
    let alone = Authority::of(params);
    let echo = Echo::secure(alone.server());
    let proxy = Tidegate::start(&over_tls(&echo, &ca(&alone)));
    proxy.websocket("/").echo("by myself");
}

#[test]
fn a_server_without_tls_is_left_for_one_that_has_it() {
    let authority = Authority::new();
    let (good, lines) = good_server(&authority);
    let liars = [plaintext(), Backend::script(|visit| drop(visit.connection))];
    for liar in liars {
        let setup = Setup::to(&[liar.to_string(), good.to_string()])
            .with("upstream.echo.tls", &lines)
            .with("upstream.echo.passive", "failures = 0");
        let proxy = Tidegate::start(&setup);
        for _ in 0..4 {
            assert_eq!(proxy.websocket("/").server(), good.to_string());
        }
        fails_over_tls(&proxy, 2.0);
    }
}

#[test]
fn a_handshake_that_hangs_ends_with_connect_timeout() {
    let (authority, hanging) = (Authority::new(), Backend::silent());
    let setup = over_tls(&hanging, &ca(&authority)).with(
        "upstream.echo",
        "connect_timeout = \"300ms\"\nhandshake_timeout = \"1h\"\nretries = 0",
    );
    let proxy = Tidegate::start(&setup);
    let begun = Instant::now();
    assert_eq!(upgrade(&proxy).status, 504);
    assert!(begun.elapsed() < PATIENCE / 2);
    fails_over_tls(&proxy, 1.0);
    let upstreams = proxy.api("/api/v1/upstreams");
    assert_eq!(upstreams["upstreams"][0]["servers"][0]["failures"], 1);
}
