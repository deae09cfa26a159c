//! Software that nobody here wrote: the programs of `tests/peers`, and curl.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{fmt, fs};

use serde_json::Value;

use super::certificates::{Authority, Certificate};
use super::program::Program;

/// A language with programs of its libraries in `tests/peers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Python: `websockets`, `aiohttp`, `httpx`.
    Python,
    /// Node: its own `http`, `ws`, `undici`, `socket.io` and others.
    Node,
}

/// A running server program; killed when dropped.
pub struct Server {
    /// The program itself.
    pub program: Program,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A server program on a unix socket; killed when dropped.
pub struct UnixServer {
    _program: Program,
    path: PathBuf,
}

impl Library {
    /// Starts its WebSocket server, over TLS where there is a certificate.
    pub fn serve(self, tls: Option<&Certificate>) -> Server {
        let files = tls.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        let files: Vec<&str> = files.map(|file| file.to_str().unwrap()).collect();
        self.server("ws_server", &files)
    }

    /// Starts a server and waits until it listens.
    #[track_caller]
    pub fn server(self, name: &str, arguments: &[&str]) -> Server {
        let program = self.start(name, arguments);
        let line = program
            .told()
            .wait_for(0, "its port", |line| line.field("port").is_some());
        let port = line.field("port").and_then(Value::as_u64).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        Server { program, address }
    }

    /// Starts its WebSocket server on a unix socket.
    pub fn serve_at(self, path: &Path) -> UnixServer {
        let program = self.start("ws_server", &[path.to_str().unwrap()]);
        program
            .told()
            .wait_for(0, "its path", |line| line.field("path").is_some());
        UnixServer {
            _program: program,
            path: path.to_owned(),
        }
    }

    /// Starts a program that the test leads or listens to.
    pub fn start(self, name: &str, arguments: &[&str]) -> Program {
        Program::start(self.program(name).args(arguments))
    }

    /// Runs every case of its WebSocket client against `url`.
    #[track_caller]
    pub fn converse(self, url: &str, tls: Option<&Authority>) {
        let ca = tls.map(Authority::file);
        let ca = ca.as_ref().map(|file| file.to_str().unwrap());
        let arguments: Vec<&str> = [url].into_iter().chain(ca).collect();
        self.runs("ws_client", &arguments);
    }

    /// Runs a client and fails unless every case that `cases.md` names for it went well.
    #[track_caller]
    pub fn runs(self, name: &str, arguments: &[&str]) {
        let mut command = self.program(name);
        let output = command
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout).into_owned();
        let good: Vec<String> = report.lines().filter_map(passed).collect();
        assert!(
            output.status.success() && good == cases(name),
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
            Self::Python => root().join(".venv/.ready"),
            Self::Node => root().join("tests/peers/node_modules/.ready"),
        };
        assert!(
            ready.exists(),
            "{} is missing: run `make deps`",
            ready.display()
        );
        let mut command = Command::new(interpreter);
        command
            .arg(root().join(format!("tests/peers/{name}.{suffix}")))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// The case a line of a client's report says went well.
fn passed(line: &str) -> Option<String> {
    let result: Value = serde_json::from_str(line).ok()?;
    let name = result["case"].as_str()?.to_owned();
    (result["ok"] == true).then_some(name)
}

/// The cases that `cases.md` names for a client.
fn cases(client: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join("tests/peers/cases.md")).unwrap();
    let (_, line) = text.split_once(&format!("- `{client}`: ")).unwrap();
    let (line, _) = line.split_once('.').unwrap();
    let names = line.split(',').map(|name| name.trim().trim_matches('`'));
    names.map(str::to_owned).collect()
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

impl fmt::Display for UnixServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix:{}", self.path.display())
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
