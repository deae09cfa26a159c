//! With HAProxy, in front and behind.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::peers::Library;
use crate::support::proxy::program;
use crate::support::{Backend, Connection, Request, Setup, Tidegate};

use super::{NO, ask_from, over_tls, setup};

/// HAProxy with one listening socket; killed when dropped.
struct HaProxy {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl HaProxy {
    /// `bind` and `server` are the options behind the addresses, `rules` those of the frontend.
    fn start(mode: &str, bind: &str, rules: &str, server: impl std::fmt::Display) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("haproxy.cfg");
        let configuration = format!(
            "global\n  maxconn 1000\n\
             defaults\n  mode {mode}\n  timeout connect 20s\n  timeout client 20s\n  timeout server 20s\n\
             frontend in\n  bind fd@0 {bind}\n{rules}\n  default_backend out\n\
             backend out\n  server s {server}\n"
        );
        std::fs::write(&file, configuration).unwrap();
        let child = program("/usr/sbin/haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .spawn()
            .expect("HAProxy, which `make deps` installs");
        Self {
            child,
            address,
            _directory: directory,
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn haproxy_in_front_tells_the_client_plain_and_over_tls() {
    let client = [127, 0, 0, 5];
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
    ] {
        let authority = Authority::new();
        let backend = Backend::answering(NO);
        let plain = setup(&[&backend], "require");
        for (number, setup) in [plain.clone(), over_tls(plain, &authority)]
            .iter()
            .enumerate()
        {
            let proxy = Tidegate::start(setup);
            let server = format!("{} {send}", proxy.address());
            let front = HaProxy::start("tcp", "", "", server);
            let mut connection = Connection::open_from(client, front.address);
            if number == 1 {
                connection = connection.secured("localhost", authority.client());
            }
            connection.send(Request::upgrade().bytes());
            assert_eq!(connection.answer().status, 403);
            let head = backend.received(number);
            let port = format!("X-Forwarded-Port: {}\r\n", front.address.port());
            assert!(
                head.contains("X-Forwarded-For: 127.0.0.5\r\n"),
                "{send} {head}"
            );
            assert!(head.contains(&port), "{send} {head}");
        }
    }
}

#[test]
fn haproxy_behind_hears_of_the_client_and_is_checked() {
    for version in ["v1", "v2"] {
        let server = Library::Python.serve(None);
        let rules = "  http-request return status 200 hdr X-Seen %[src] hdr X-At %[dst] \
                     if { path /seen }";
        let behind = HaProxy::start("http", "accept-proxy", rules, &server);
        let setup = Setup::to(&[behind.address])
            .with("upstream.echo", &format!("proxy_protocol = \"{version}\""))
            .with(
                "upstream.echo.health_check",
                "type = \"websocket\"\npath = \"/\"",
            );
        let proxy = Tidegate::start(&setup);
        proxy.wait_for_metric("tidegate_health_checks_total", &[("result", "ok")], 1.0);
        proxy.websocket("/").echo("through HAProxy");
        for source in [[127, 0, 0, 5], [127, 0, 0, 6]] {
            let answer = ask_from(source, &proxy, Request::get("/seen").bytes());
            let source = SocketAddr::from((source, 0)).ip().to_string();
            assert_eq!(answer.header("x-seen"), Some(&*source), "{version}");
            assert_eq!(answer.header("x-at"), Some("127.0.0.1"), "{version}");
        }
    }
}
