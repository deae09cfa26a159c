//! Unix sockets: as listener, as server, as admin address (CONTRACT section 2).

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::peers::{Library, curl};
use crate::support::proxy::tidegate;
use crate::support::wait::wait_until;
use crate::support::{Backend, Echo, Setup, Tidegate};

use Library::{Node, Python};

/// A place for sockets, gone with the test.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A path as the configuration writes it.
    fn endpoint(&self, name: &str) -> String {
        format!("unix:{}", self.path(name).display())
    }

    /// Listens on `public.sock` and nothing else.
    fn listening<A: std::fmt::Display>(&self, servers: &[A]) -> Setup {
        let bind = format!("bind = \"{}\"", self.endpoint("public.sock"));
        Setup::to(servers).with("listener.public", &bind)
    }
}

/// Sends a request over a unix socket and reads to the end.
#[track_caller]
fn ask(path: &Path, fields: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn libraries_converse_over_unix_sockets_on_both_sides() {
    for (client, server) in [(Python, Node), (Node, Python)] {
        let place = Place::new();
        let server = server.serve_at(&place.path("server.sock"));
        let _proxy = Tidegate::start(&place.listening(&[&server]));
        let url = format!("ws+unix:{}", place.path("public.sock").display());
        client.converse(&url, None);
    }
}

#[test]
fn curl_is_answered_over_a_unix_socket() {
    let place = Place::new();
    let setup = place.listening(&["127.0.0.1:1"]);
    let setup = setup.route_before("path = \"=/fixed\"\nrespond = 204");
    let _proxy = Tidegate::start(&setup);
    let path = place.path("public.sock");
    let output = curl(&[
        "-i",
        "--unix-socket",
        path.to_str().unwrap(),
        "http://a/fixed",
    ]);
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
}

#[test]
fn a_client_on_a_unix_socket_is_this_machine() {
    let place = Place::new();
    let backend = Backend::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let log = place.path("access.log");
    let setup = place
        .listening(&[&backend])
        .with("log", &format!("access = \"{}\"", log.display()));
    let _proxy = Tidegate::start(&setup);
    let claim = format!("{UPGRADE}X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Port: 1\r\n");
    ask(&place.path("public.sock"), &claim);
    let head = backend.received(0);
    assert!(head.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{head}");
    assert!(head.contains("X-Real-IP: 127.0.0.1\r\n"), "{head}");
    assert!(head.contains("X-Forwarded-Port: 80\r\n"), "{head}");
    wait_until("the line of the access log", || {
        let lines = fs::read_to_string(&log).unwrap_or_default();
        lines.contains("\"client\":\"127.0.0.1\"")
    });
}

#[test]
fn a_unix_peer_is_trusted_where_this_machine_is() {
    let place = Place::new();
    let backend = Backend::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let setup = place
        .listening(&[&backend])
        .with("listener.public", "trusted_proxies = \"127.0.0.1\"");
    let _proxy = Tidegate::start(&setup);
    let claim = format!("{UPGRADE}X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Port: 8443\r\n");
    ask(&place.path("public.sock"), &claim);
    let head = backend.received(0);
    assert!(
        head.contains("X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("X-Real-IP: 9.9.9.9\r\n"), "{head}");
    assert!(head.contains("X-Forwarded-Port: 8443\r\n"), "{head}");
}

#[test]
fn a_socket_file_is_private_until_told_otherwise_and_a_reload_changes_that() {
    let place = Place::new();
    let setup = place.listening(&["127.0.0.1:1"]);
    let proxy = Tidegate::start(&setup);
    let path = place.path("public.sock");
    assert_eq!(mode(&path), 0o660);
    proxy.reload_with(&setup.with("listener.public", "socket_mode = \"0666\""));
    assert_eq!(mode(&path), 0o666);
}

#[test]
fn a_reload_keeps_a_socket_file_and_its_sessions() {
    let place = Place::new();
    let echo = Echo::start();
    let setup = place.listening(&[&echo]);
    let proxy = Tidegate::start(&setup);
    let path = place.path("public.sock");
    let file = fs::metadata(&path).unwrap().ino();
    let mut session = UnixStream::connect(&path).unwrap();
    session
        .write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n").as_bytes())
        .unwrap();
    proxy.wait_for_held(&[1]);
    proxy.reload_with(&setup.clone().with("upstream.echo", "retries = 7"));
    assert_eq!(proxy.held(), [1]);
    assert_eq!(fs::metadata(&path).unwrap().ino(), file);

    let elsewhere = format!("bind = \"{}\"", place.endpoint("other.sock"));
    proxy.reload_with(&setup.with("listener.public", &elsewhere));
    wait_until("the file to go", || !path.exists());
    assert!(ask(&place.path("other.sock"), "").starts_with("HTTP/1.1 "));
    assert_eq!(proxy.held(), [1]);
}

#[test]
fn a_stop_takes_the_socket_files_away() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let admin = format!("bind = \"{}\"", place.endpoint("admin.sock"));
        let setup = place.listening(&["127.0.0.1:1"]).with("admin", &admin);
        let mut proxy = Tidegate::start(&setup);
        assert!(place.path("public.sock").exists());
        proxy.signal(signal);
        assert!(proxy.wait_for_exit().success());
        for name in ["public.sock", "admin.sock"] {
            assert!(!place.path(name).exists(), "{name} after {signal:?}");
        }
    }
}

#[test]
fn a_socket_that_a_crash_left_behind_is_replaced() {
    let place = Place::new();
    let setup = place.listening(&["127.0.0.1:1"]);
    let mut crashed = Tidegate::start(&setup);
    crashed.signal(Signal::KILL);
    crashed.wait_for_exit();
    let path = place.path("public.sock");
    assert!(path.exists());
    let _proxy = Tidegate::start(&setup);
    assert!(ask(&path, "").starts_with("HTTP/1.1 "));
}

#[test]
fn a_socket_that_is_answered_on_is_left_alone() {
    let place = Place::new();
    let setup = place.listening(&["127.0.0.1:1"]);
    let _proxy = Tidegate::start(&setup);
    fs::write(place.path("second.toml"), setup.toml()).unwrap();
    let file = place.path("second.toml");
    let second = tidegate(&["run", "-c", file.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr);
    let path = place.endpoint("public.sock");
    let expected = format!("listener public: can't listen on {path}: address in use");
    assert!(told.contains(&expected), "{told}");
    assert!(ask(&place.path("public.sock"), "").starts_with("HTTP/1.1 "));
}

#[test]
fn a_reload_that_can_not_bind_changes_nothing() {
    let place = Place::new();
    let setup = place.listening(&["127.0.0.1:1"]);
    let proxy = Tidegate::start(&setup);
    fs::write(place.path("precious"), "text").unwrap();
    let binds = [place.endpoint("new.sock"), place.endpoint("precious")];
    let setup = setup.with("listener.public", &format!("bind = {binds:?}"));
    proxy.rewrite(&setup.toml());
    assert_eq!(proxy.reload(), crate::support::proxy::Reload::Refused);
    assert!(!place.path("new.sock").exists());
    assert_eq!(fs::read_to_string(place.path("precious")).unwrap(), "text");
    assert!(ask(&place.path("public.sock"), "").starts_with("HTTP/1.1 "));
}

#[test]
fn the_admin_address_may_be_a_unix_socket() {
    let place = Place::new();
    let server = Python.serve_at(&place.path("server.sock"));
    let admin = place.endpoint("admin.sock");
    let setup = Setup::to(&[&server]).with("admin", &format!("bind = \"{admin}\""));
    let proxy = Tidegate::start(&setup);
    assert_eq!(mode(&place.path("admin.sock")), 0o600);

    let file = proxy.directory().join("tidegate.toml");
    let by_file = tidegate(&["status", "-c", file.to_str().unwrap()]);
    let by_place = tidegate(&["status", "--admin", &admin]);
    for output in [by_file, by_place] {
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains(&server.to_string()), "{output:?}");
    }
    let name = format!("echo/{server}");
    let drained = tidegate(&["server", &name, "drain", "--admin", &admin]);
    assert_eq!(drained.status.code(), Some(0), "{drained:?}");
    let answer = proxy.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n"));
    assert_eq!(answer.status, 503);
}

#[test]
fn a_server_on_a_unix_socket_is_checked_labelled_and_missed() {
    for kind in ["tcp", "websocket"] {
        let place = Place::new();
        let server = Node.serve_at(&place.path("server.sock"));
        let label = server.to_string();
        let check = format!("type = \"{kind}\"\ninterval = \"20ms\"\nfall = 1\nrise = 1");
        let setup = Setup::to(&[&server]).with("upstream.echo.health_check", &check);
        let proxy = Tidegate::start(&setup);
        let good = [("server", &*label), ("result", "ok")];
        wait_until("a good check", || {
            proxy.metrics().sum("tidegate_health_checks_total", &good) >= 1.0
        });
        proxy.websocket("/").close();
        drop(server);
        proxy.wait_for_metric("tidegate_server_up", &[("server", &label)], 0.0);
    }
}

#[test]
fn a_unix_socket_that_nobody_serves_is_a_bad_gateway() {
    let place = Place::new();
    let proxy = Tidegate::in_front_of(&[place.endpoint("nobody.sock")]);
    let answer = proxy.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{UPGRADE}\r\n"));
    assert_eq!(answer.status, 502);
    let failures = "tidegate_server_failures_total";
    let labels = [
        ("phase", "connect"),
        ("server", &*place.endpoint("nobody.sock")),
    ];
    assert!(proxy.metrics().sum(failures, &labels) >= 1.0);
}
