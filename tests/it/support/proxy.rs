//! The real binary with a configuration of its own, and what a test asks of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process};
use rustls::ClientConfig;
use serde_json::Value;
use tempfile::TempDir;

use super::connection::{Answer, Connection};
use super::log::Log;
use super::metrics::Metrics;
use super::process::Process;
use super::request::Request;
use super::setup::Setup;
use super::wait::wait_for;
use super::websocket::WebSocket;

/// Where cargo put the binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_tidegate");

/// A running `tidegate run`; killed when dropped.
pub struct Tidegate {
    child: Child,
    log: Log,
    directory: Directory,
    stopped: bool,
}

/// Where the configuration lies.
enum Directory {
    Own(TempDir),
    Shared(PathBuf),
}

/// How a reload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration is in force.
    Done,
    /// The old one still is.
    Refused,
}

impl Tidegate {
    /// Starts with this configuration in a directory of its own and waits until it serves.
    pub fn start(setup: &Setup) -> Self {
        Self::start_with_stdout(setup, Stdio::null())
    }

    /// Starts with this configuration and this standard output.
    pub fn start_with_stdout(setup: &Setup, stdout: impl Into<Stdio>) -> Self {
        let mut command = program(BINARY);
        command.stdout(stdout);
        Self::start_by(setup, command)
    }

    /// Starts with the `tidegate.toml` that lies in `directory`.
    pub fn start_in(directory: &Path) -> Self {
        Self::launch(Directory::Shared(directory.to_owned()), program(BINARY))
    }

    /// Starts with this configuration by a command that is given the arguments of the binary.
    pub fn start_by(setup: &Setup, command: Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("tidegate.toml"), setup.toml()).unwrap();
        Self::launch(Directory::Own(directory), command)
    }

    /// Starts in front of these servers, everything else as [`Setup`] has it.
    pub fn in_front_of<A: std::fmt::Display>(servers: &[A]) -> Self {
        Self::start(&Setup::to(servers))
    }

    fn launch(directory: Directory, mut command: Command) -> Self {
        let mut child = command
            .args(["run", "-c"])
            .arg(directory.path().join("tidegate.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Log::follow(child.stderr.take().unwrap());
        let tidegate = Self {
            child,
            log,
            directory,
            stopped: false,
        };
        tidegate
            .log
            .wait_for(0, "ready", |line| line.message() == "ready");
        tidegate
    }

    /// The first address of the listener `public`.
    pub fn address(&self) -> SocketAddr {
        self.listener("public")
    }

    /// The first address of a listener, as the binary logged it last.
    pub fn listener(&self, name: &str) -> SocketAddr {
        let lines = self.log.lines_since(0, |line| {
            line.message() == "listening" && line.str("listener") == Some(name)
        });
        let line = lines
            .last()
            .unwrap_or_else(|| panic!("listener {name} is not bound"));
        line.str("address")
            .and_then(|address| address.parse().ok())
            .expect("an address")
    }

    /// A plain connection to the listener `public`.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address())
    }

    /// A TLS connection to the listener `public`.
    pub fn connect_tls(&self, name: &str, config: &Arc<ClientConfig>) -> Connection {
        Connection::open_tls(self.address(), name, Arc::clone(config))
    }

    /// Sends bytes on a connection of their own and reads the answer.
    #[track_caller]
    pub fn send(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut connection = self.connect();
        connection.send(request);
        connection.answer()
    }

    /// Opens a WebSocket at `path` through a strict foreign client.
    #[track_caller]
    pub fn websocket(&self, path: &str) -> WebSocket {
        WebSocket::open(self.connect(), path)
    }

    /// Opens a WebSocket and hands out the bare connection behind the 101.
    #[track_caller]
    pub fn tunnel(&self) -> Connection {
        let mut connection = self.connect();
        connection.send(Request::upgrade().bytes());
        let answer = connection.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        connection
    }

    /// Asks the admin listener.
    #[track_caller]
    pub fn admin(&self, method_and_path: &str) -> Answer {
        let mut connection = Connection::open(self.listener("admin"));
        let address = self.listener("admin");
        connection.send(format!(
            "{method_and_path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        ));
        connection.answer()
    }

    /// Runs a command against this instance, to its end.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let admin = format!("http://{}", self.listener("admin"));
        tidegate(&[arguments, &["--admin", &admin]].concat())
    }

    /// What a command against this instance prints; it must go well.
    #[track_caller]
    pub fn told(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same with `--json`, read back.
    #[track_caller]
    pub fn told_json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.told(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// What a GET of the API shows.
    #[track_caller]
    pub fn api(&self, path: &str) -> Value {
        let answer = self.admin(&format!("GET {path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Live WebSockets of each server of the upstream `echo`, in file order, as the API shows them.
    #[track_caller]
    pub fn held(&self) -> Vec<u64> {
        let upstreams = self.api("/api/v1/upstreams");
        let servers = upstreams["upstreams"][0]["servers"]
            .as_array()
            .unwrap()
            .clone();
        servers
            .iter()
            .map(|server| server["websockets"].as_u64().unwrap())
            .collect()
    }

    /// Waits until the servers of the upstream `echo` hold so many live WebSockets.
    #[track_caller]
    pub fn wait_for_held(&self, expected: &[u64]) {
        super::wait::wait_until(&format!("servers to hold {expected:?}"), || {
            self.held() == expected
        });
    }

    /// Scrapes `/metrics`.
    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answer = self.admin("GET /metrics");
        assert_eq!(answer.status, 200);
        Metrics::parse(&answer.body)
    }

    /// Waits until the matching samples of a family add up to `value`.
    #[track_caller]
    pub fn wait_for_metric(&self, family: &str, labels: &[(&str, &str)], value: f64) {
        let mut last = f64::NAN;
        super::wait::wait_until(&format!("{family}{labels:?} = {value}"), || {
            last = self.metrics().sum(family, labels);
            (last - value).abs() < f64::EPSILON
        });
    }

    /// The log, with debug lines.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The process as the kernel sees it.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The directory of the configuration.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Puts another configuration in the file's place, in one step.
    pub fn rewrite(&self, toml: &str) {
        let new = self.directory().join("tidegate.toml.new");
        fs::write(&new, toml).unwrap();
        fs::rename(new, self.directory().join("tidegate.toml")).unwrap();
    }

    /// Sends `SIGHUP` and waits for the outcome.
    #[track_caller]
    pub fn reload(&self) -> Reload {
        let mark = self.log.mark();
        self.signal(Signal::HUP);
        self.reloaded_since(mark)
    }

    /// Puts this configuration in force.
    #[track_caller]
    pub fn reload_with(&self, setup: &Setup) {
        self.rewrite(&setup.toml());
        assert_eq!(self.reload(), Reload::Done, "{}", self.log.text());
    }

    /// Waits for the outcome of a reload that began after `mark`.
    #[track_caller]
    pub fn reloaded_since(&self, mark: usize) -> Reload {
        let line = self
            .log
            .wait_for(mark, "reloaded or reload refused", |line| {
                line.message() == "reloaded" || line.message().starts_with("reload refused")
            });
        if line.message() == "reloaded" {
            Reload::Done
        } else {
            Reload::Refused
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        self.stopped = true;
        wait_for("the process to end", || self.child.try_wait().unwrap())
    }

    /// Fails when the process died or panicked: no test may bring it there unnoticed.
    fn check_health(&mut self) {
        let log = self.log.text();
        assert!(!log.contains("panicked at"), "the process panicked\n{log}");
        let ended = self.child.try_wait().unwrap();
        assert!(
            self.stopped || ended.is_none(),
            "the process ended: {ended:?}\n{log}"
        );
    }
}

impl Drop for Tidegate {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- tidegate's log ---\n{}", self.log.text());
        } else {
            self.check_health();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Own(directory) => directory.path(),
            Self::Shared(path) => path,
        }
    }
}

/// A command that reads and says nothing.
pub fn program(program: &str) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs the binary to its end.
pub fn tidegate(arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}
