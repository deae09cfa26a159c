//! Who we say we are, and the sessions that are resumed.

use std::fs;

use rustls::HandshakeKind;

use crate::support::certificates::{Authority, Certificate};
use crate::support::openssl::{OpenSsl, session_of};
use crate::support::proxy::Reload;
use crate::support::{Echo, Setup, Tidegate};

use super::{ca, client_pair, over_tls, upgrade};

#[test]
fn a_server_that_wants_to_know_us_is_shown_our_certificate() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let shown = authority.issue(&["127.0.0.1"]);
    let echo = Echo::secure(authority.demanding_server_with(&shown));
    let with = |certificate: &Certificate| client_pair(certificate);
    let known = with(&authority.issue(&["proxy"]));
    let unknown = with(&strangers.issue(&["stranger"]));
    for (lines, status) in [(known.as_str(), 101), (&unknown, 502), ("", 502)] {
        let setup = over_tls(&echo, &format!("{}\n{lines}", ca(&authority)));
        let answer = upgrade(&Tidegate::start(&setup));
        assert_eq!(answer.status, status, "{lines}: {answer:?}");
    }
}

#[test]
fn openssl_sees_our_certificate_and_our_sessions_again() {
    let authority = Authority::new();
    let (shown, own) = (authority.issue(&["127.0.0.1"]), authority.issue(&["proxy"]));
    for version in ["-tls1_2", "-tls1_3"] {
        let ca_file = authority.file();
        let ca_file = ca_file.to_str().unwrap();
        let demand = ["-Verify", "2", "-verify_return_error", "-CAfile", ca_file];
        let server = OpenSsl::serve(&shown, &[&[version][..], &demand].concat());
        let lines = format!("{}\n{}", ca(&authority), client_pair(&own));
        let proxy = Tidegate::start(&over_tls(&server, &lines));
        let page = || upgrade(&proxy).body;
        let first = page();
        assert!(
            first.contains("CN=proxy") || first.contains("CN = proxy"),
            "{first}"
        );
        assert_eq!(session_of(&first), "New", "{version}");
        for _ in 0..3 {
            assert_eq!(session_of(&page()), "Reused", "{version}");
        }
    }
}

#[test]
fn sessions_are_resumed_with_each_server_and_across_reloads_that_leave_them_alone() {
    let authority = Authority::new();
    let shown = authority.issue(&["chat.internal"]);
    // Two servers of one name that do not share their tickets' keys.
    let [a, b] = [(), ()].map(|()| Echo::secure(authority.server_with(&shown)));
    let lines = format!("{}\nserver_name = \"chat.internal\"", ca(&authority));
    let setup = Setup::to(&[&a, &b]).with("upstream.echo.tls", &lines);
    let proxy = Tidegate::start(&setup);
    // The tickets of TLS 1.3 come behind the handshake: an echo shows that they are there.
    let visit = |times: usize| (0..times).for_each(|_| proxy.websocket("/").echo("hello"));
    let resumed = |echo: &Echo| {
        let resumed = |kind: &HandshakeKind| *kind == HandshakeKind::Resumed;
        let kinds = echo.tls_handshakes();
        (
            kinds.len(),
            kinds.iter().filter(|kind| resumed(kind)).count(),
        )
    };
    visit(6);
    assert_eq!([&a, &b].map(resumed), [(3, 2), (3, 2)]);
    proxy.reload_with(&setup.with("upstream.echo", "connect_timeout = \"9s\""));
    visit(2);
    assert_eq!([&a, &b].map(resumed), [(4, 3), (4, 3)]);
    // Whoever is believed from now on was not asked when those sessions began.
    let widened = [
        fs::read(authority.file()).unwrap(),
        fs::read(Authority::new().file()).unwrap(),
    ];
    fs::write(authority.file(), widened.concat()).unwrap();
    assert_eq!(proxy.reload(), Reload::Done);
    visit(2);
    assert_eq!([&a, &b].map(resumed), [(5, 3), (5, 3)]);
}
