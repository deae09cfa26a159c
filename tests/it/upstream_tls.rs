//! TLS towards servers (CONTRACT 2: `upstream.tls`): whom we believe, who we say we are, what is
//! resumed, and what becomes of a server that can't be trusted.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rcgen::{CertificateParams, IsCa, date_time_ymd};
use rustls::{HandshakeKind, ServerConfig};

use crate::support::certificates::{Authority, Certificate};
use crate::support::log::Line;
use crate::support::openssl::{OpenSsl, session_of};
use crate::support::peers::Library;
use crate::support::proxy::Reload;
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{Answer, Backend, Echo, Request, Setup, Tidegate};

use Library::{Node, Python};

const FAILURES: &str = "tidegate_server_failures_total";

/// In front of this server, over TLS as these lines say.
fn over_tls(server: impl Display, lines: &str) -> Setup {
    Setup::to(&[server]).with("upstream.echo.tls", lines)
}

fn ca(authority: &Authority) -> String {
    format!("ca = \"{}\"", authority.file().display())
}

fn client_pair(certificate: &Certificate) -> String {
    let [cert, key] = [&certificate.cert, &certificate.key].map(|path| path.display());
    format!("client_cert = \"{cert}\"\nclient_key = \"{key}\"")
}

/// A server that shows a certificate for its address, and the lines to believe it with.
fn good_server(authority: &Authority) -> (Echo, String) {
    let certificate = authority.issue(&["127.0.0.1"]);
    let echo = Echo::secure(authority.server_with(&certificate));
    (echo, ca(authority))
}

fn upgrade(proxy: &Tidegate) -> Answer {
    proxy.send(Request::upgrade().bytes())
}

#[track_caller]
fn fails_over_tls(proxy: &Tidegate, times: f64) {
    proxy.wait_for_metric(FAILURES, &[("phase", "tls")], times);
}

#[track_caller]
fn converse(client: Library, server: Library) {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost", "127.0.0.1"]);
    let server = server.serve(Some(&certificate));
    let proxy = Tidegate::start(&over_tls(&server, &ca(&authority)));
    client.converse(&format!("ws://{}/", proxy.address()), None);
}

#[test]
fn a_python_server_is_spoken_to_over_tls() {
    converse(Node, Python);
}

#[test]
fn a_node_server_is_spoken_to_over_tls() {
    converse(Python, Node);
}

#[test]
fn messages_of_every_size_come_back_over_tls_on_both_sides() {
    let authority = Authority::new();
    let (echo, lines) = good_server(&authority);
    let shown = authority.issue(&["a.example"]);
    let certificates = format!("certificates = [{}]", shown.toml());
    let setup = over_tls(&echo, &lines).with("listener.public.tls", &certificates);
    let proxy = Tidegate::start(&setup);
    let connection = proxy.connect_tls("a.example", &authority.client());
    let mut socket = crate::support::websocket::WebSocket::open(connection, "/");
    for size in [0, 1, 125, 126, 16_384, 65_535, 65_536, 1 << 20, 4 << 20] {
        socket.echo(&"x".repeat(size));
    }
    socket.close();
}

#[test]
fn plain_requests_share_a_connection_over_tls() {
    let authority = Authority::new();
    let (echo, lines) = good_server(&authority);
    let setup = over_tls(&echo, &lines).with("server", "workers = 1");
    let proxy = Tidegate::start(&setup);
    let mut client = proxy.connect();
    for _ in 0..5 {
        client.send(Request::get("/").bytes());
        assert_eq!(client.answer().status, 200);
    }
    assert_eq!(echo.tls_handshakes().len(), 1);
}

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

/// A server that takes a TLS hello for a bad request.
fn plaintext() -> Backend {
    Backend::script(|mut visit| {
        (visit.connection).send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        visit.hold();
    })
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

#[test]
fn a_renewed_authority_is_seen_and_taken_up_and_live_sessions_stay() {
    let (old, new) = (Authority::new(), Authority::new());
    let shown = old.issue(&["127.0.0.1"]);
    let echo = Echo::secure(old.server_with(&shown));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    let publish = |authority: &Authority| {
        let next = folder.path().join("roots.pem.new");
        fs::copy(authority.file(), &next).unwrap();
        fs::rename(next, &file).unwrap();
    };
    publish(&old);
    let lines = format!("ca = \"{}\"", file.display());
    let setup = over_tls(&echo, &lines).with("server", "watch = true");
    let proxy = Tidegate::start(&setup);
    let mut live = proxy.websocket("/");
    let mark = proxy.log().mark();
    publish(&new);
    assert_eq!(proxy.reloaded_since(mark), Reload::Done);
    assert_eq!(upgrade(&proxy).status, 502);
    live.echo("still here");
    let mark = proxy.log().mark();
    publish(&old);
    assert_eq!(proxy.reloaded_since(mark), Reload::Done);
    proxy.websocket("/").echo("believed again");
}

#[test]
fn a_file_that_cannot_be_used_refuses_the_whole_reload_and_is_told_at_its_key() {
    let authority = Authority::new();
    let (echo, _) = good_server(&authority);
    let own = authority.issue(&["proxy"]);
    let other = authority.issue(&["other"]);
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    fs::copy(authority.file(), &roots).unwrap();
    let lines = format!("ca = \"{}\"\n{}", roots.display(), client_pair(&own));
    let proxy = Tidegate::start(&over_tls(&echo, &lines));
    let read = |path: &Path| fs::read(path).unwrap();
    let half = |path: &Path| read(path)[..300].to_vec();
    for (file, content, key, complaint) in [
        (&roots, half(&roots), "tls.ca", "not whole PEM"),
        (&roots, Vec::new(), "tls.ca", "holds no certificate"),
        (
            &own.cert,
            half(&own.cert),
            "tls.client_cert",
            "not whole PEM",
        ),
        (
            &own.key,
            read(&other.key),
            "tls.client_key",
            "is not the key",
        ),
        (
            &own.key,
            encrypted(&own.key),
            "tls.client_key",
            "is encrypted",
        ),
    ] {
        let before = read(file);
        fs::write(file, content).unwrap();
        let mark = proxy.log().mark();
        assert_eq!(proxy.reload(), Reload::Refused, "{complaint}");
        let wanted = |line: &Line| {
            line.message() == "in the new configuration"
                && line.str("error").is_some_and(|error| {
                    error.contains(complaint)
                        && error.contains(&format!("upstream.echo.{key} = "))
                        && error.contains("tidegate.toml:")
                })
        };
        proxy.log().wait_for(mark, complaint, wanted);
        fs::write(file, before).unwrap();
        proxy.websocket("/").echo("as before");
    }
    fs::remove_file(&roots).unwrap();
    assert_eq!(proxy.reload(), Reload::Refused);
}

/// The same key behind a passphrase.
fn encrypted(key: &Path) -> Vec<u8> {
    let output = std::process::Command::new("openssl")
        .args([
            "pkcs8",
            "-topk8",
            "-v2",
            "aes-256-cbc",
            "-passout",
            "pass:secret",
            "-in",
        ])
        .arg(key)
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
fn a_server_that_ends_without_close_notify_ends_its_session_like_any_other() {
    let authority = Authority::new();
    let (echo, lines) = good_server(&authority);
    let proxy = Tidegate::start(&over_tls(&echo, &lines));
    let mut client = proxy.tunnel();
    drop(echo);
    assert_eq!(crate::support::stage::last_word(&mut client), Some(1014));
    let labels = [("reason", "backend_gone")];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
}
