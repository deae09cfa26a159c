//! Software that nobody here wrote: the programs of `tests/peers`, and curl.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::{fmt, fs};

use serde_json::Value;

use super::certificates::{Authority, Certificate};
use super::log::Log;

/// A WebSocket library with a client and a server in `tests/peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Python's `websockets`.
    Python,
    /// Node's `ws`.
    Node,
}

/// A running server program; killed when dropped.
pub struct Server {
    child: Child,
    log: Log,
    address: SocketAddr,
}

impl Library {
    /// Starts its server, over TLS where there is a certificate, and waits until it listens.
    pub fn serve(self, tls: Option<&Certificate>) -> Server {
        let mut child = self
            .program("ws_server")
            .args(tls.iter().flat_map(|pair| [&pair.cert, &pair.key]))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Log::follow(child.stdout.take().unwrap());
        let log = Log::follow(child.stderr.take().unwrap());
        let line = output.wait_for(0, "its port", |line| line.field("port").is_some());
        let port = line.field("port").and_then(Value::as_u64).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        Server {
            child,
            log,
            address,
        }
    }

    /// Runs every case of its client against `url` and fails unless all went well.
    #[track_caller]
    pub fn converse(self, url: &str, tls: Option<&Authority>) {
        let output = self
            .program("ws_client")
            .arg(url)
            .args(tls.map(Authority::file))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let good = |line: &&str| line.contains("\"ok\": true") || line.contains("\"ok\":true");
        assert!(
            output.status.success() && report.lines().filter(good).count() == cases(),
            "{report}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// One of its programs, ready for its arguments.
    pub fn program(self, name: &str) -> Command {
        let (interpreter, suffix) = match self {
            Self::Python => (root().join(".venv/bin/python"), "py"),
            Self::Node => (PathBuf::from("node"), "js"),
        };
        let ready = match self {
            Self::Python => interpreter.clone(),
            Self::Node => root().join("tests/peers/node_modules/ws"),
        };
        assert!(
            ready.exists(),
            "{} is missing: run `make deps`",
            ready.display()
        );
        let mut command = Command::new(interpreter);
        command.arg(root().join(format!("tests/peers/{name}.{suffix}")));
        command
    }
}

/// How many cases `cases.md` names for clients.
fn cases() -> usize {
    let text = fs::read_to_string(root().join("tests/peers/cases.md")).unwrap();
    let (_, list) = text.split_once("when one failed:").unwrap();
    list.split(',').count()
}

/// Runs curl quietly.
pub fn curl(arguments: &[&str]) -> Output {
    Command::new("curl")
        .args(["-sS", "--max-time", "20"])
        .args(arguments)
        .output()
        .unwrap()
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log.text());
        }
    }
}

/// The programs agree with each other, so what differs through the proxy is the proxy's doing.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_understand_each_other_directly() {
        for server in [Library::Python, Library::Node] {
            let plain = server.serve(None);
            for client in [Library::Python, Library::Node] {
                client.converse(&format!("ws://{plain}/"), None);
            }
        }
    }

    #[test]
    fn the_peers_understand_each_other_directly_over_tls() {
        let authority = Authority::new();
        let certificate = authority.issue(&["localhost", "127.0.0.1"]);
        for server in [Library::Python, Library::Node] {
            let tls = server.serve(Some(&certificate));
            for client in [Library::Python, Library::Node] {
                let url = format!("wss://localhost:{}/", tls.address.port());
                client.converse(&url, Some(&authority));
            }
        }
    }
}
