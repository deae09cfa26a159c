//! As a service: what systemd hears, the sockets it passes, the unit it reads.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::peers::root;
use crate::support::proxy::{BINARY, Reload, program};
use crate::support::wait::PATIENCE;
use crate::support::{Echo, Setup, Tidegate};

/// A service manager that listens to one process.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

/// One notification: its variables.
type Notice = BTreeMap<String, String>;

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, directory }
    }

    /// The binary, told where this manager is.
    fn program(&self) -> Command {
        let mut command = program(BINARY);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command
    }

    #[track_caller]
    fn hears(&self) -> Notice {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a notification");
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

#[track_caller]
fn assert_says(notice: &Notice, name: &str, value: &str) {
    assert_eq!(
        notice.get(name).map(String::as_str),
        Some(value),
        "{notice:?}"
    );
}

#[test]
fn the_service_manager_hears_of_ready_reload_and_stop() {
    let manager = Manager::new();
    let setup = Setup::to(&["127.0.0.1:9"]).with("server", "shutdown_grace = \"4s\"");
    let mut proxy = Tidegate::start_by(&setup, manager.program());
    assert_says(&manager.hears(), "READY", "1");

    assert_eq!(proxy.reload(), Reload::Done);
    let reloading = manager.hears();
    assert_says(&reloading, "RELOADING", "1");
    assert!(reloading["MONOTONIC_USEC"].parse::<u64>().is_ok());
    let ready = manager.hears();
    assert_says(&ready, "READY", "1");
    assert_says(&ready, "STATUS", "serving");

    proxy.rewrite("[listener");
    assert_eq!(proxy.reload(), Reload::Refused);
    assert_says(&manager.hears(), "RELOADING", "1");
    let ready = manager.hears();
    assert_says(&ready, "READY", "1");
    assert!(ready["STATUS"].contains("refused"), "{ready:?}");

    proxy.signal(Signal::TERM);
    let stopping = manager.hears();
    assert_says(&stopping, "STOPPING", "1");
    let time: u64 = stopping["EXTEND_TIMEOUT_USEC"].parse().unwrap();
    assert!(time > 4_000_000, "more than the grace: {time}");
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_dry_run_is_no_reload_to_the_service_manager() {
    let manager = Manager::new();
    let proxy = Tidegate::start_by(&Setup::to(&["127.0.0.1:9"]), manager.program());
    assert_says(&manager.hears(), "READY", "1");
    proxy.told(&["reload", "--dry-run"]);
    proxy.told(&["reload"]);
    assert_says(&manager.hears(), "RELOADING", "1");
    assert_says(&manager.hears(), "READY", "1");
}

#[test]
fn after_an_upgrade_the_service_manager_looks_at_the_new_process_alone() {
    let manager = Manager::new();
    let mut command = manager.program();
    command.env("WATCHDOG_USEC", "60000");
    let mut proxy = Tidegate::start_by(&Setup::to(&["127.0.0.1:9"]), command);
    let pid = proxy.told_json(&["upgrade"])["pid"].to_string();
    // The old process ends at once; of its end the manager must hear nothing.
    assert!(proxy.wait_for_exit().success());
    let mut notices = std::iter::repeat_with(|| manager.hears());
    let main = notices
        .find(|notice| notice.contains_key("MAINPID"))
        .expect("the id of the new process");
    assert_says(&main, "MAINPID", &pid);
    for notice in notices.take(3) {
        assert_says(&notice, "WATCHDOG", "1");
    }
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    while !manager.hears().contains_key("STOPPING") {}
}

#[test]
fn the_watchdog_is_shown_life_again_and_again() {
    let manager = Manager::new();
    let mut command = manager.program();
    command.env("WATCHDOG_USEC", "60000");
    let _proxy = Tidegate::start_by(&Setup::to(&["127.0.0.1:9"]), command);
    let mut signs = 0;
    while signs < 5 {
        signs += usize::from(manager.hears().contains_key("WATCHDOG"));
    }
}

/// The binary with this socket as descriptor 3, as systemd passes it.
fn activated(socket: impl Into<OwnedFd>) -> Command {
    let mut command = program("sh");
    let script = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=edge
        exec \"$0\" \"$@\" 3<&0 0</dev/null";
    command
        .args(["-c", script, BINARY])
        .stdin(Stdio::from(socket.into()));
    command
}

#[test]
fn a_listener_takes_the_socket_that_was_passed_for_its_address() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let held = socket.try_clone().unwrap();
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("listener.public", &format!("bind = \"{address}\""));
    let proxy = Tidegate::start_by(&setup, activated(socket));
    assert_eq!(proxy.address(), address);
    proxy.websocket("/").echo("over the passed socket");

    // It goes and comes back, though the manager holds its address.
    let elsewhere = setup
        .clone()
        .with("listener.public", "bind = \"127.0.0.1:0\"");
    proxy.reload_with(&elsewhere);
    proxy.reload_with(&setup);
    assert_eq!(proxy.address(), address);
    proxy.websocket("/").echo("again");
    drop(held);
}

#[test]
fn a_listener_takes_the_unix_socket_that_was_passed_and_leaves_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("public.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let bind = format!("bind = \"unix:{}\"", path.display());
    let setup = Setup::to(&["127.0.0.1:9"]).with("listener.public", &bind);
    let mut proxy = Tidegate::start_by(&setup, activated(socket));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"nonsense\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
    assert!(path.exists(), "it is the service manager's");
}

#[test]
fn a_passed_socket_that_no_listener_binds_is_told_by_name() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let proxy = Tidegate::start_by(&Setup::to(&["127.0.0.1:9"]), activated(socket));
    let line = proxy.log().wait_for(0, "the warning", |line| {
        line.message().starts_with("a socket was passed")
    });
    assert_eq!(line.str("socket"), Some("edge"));
    assert_eq!(line.str("address"), Some(address.as_str()));
}

/// The exposure that `systemd-analyze security` finds, where that tool is installed.
fn exposure(unit: &str) -> Option<f64> {
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(root().join(unit))
        .env("SYSTEMD_COLORS", "0")
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once("Overall exposure level for ")?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn the_unit_is_as_closed_as_the_documentation_says() {
    let Some(exposure) = exposure("packaging/systemd/tidegate.service") else {
        eprintln!("skipped: no systemd-analyze that can read a unit offline");
        return;
    };
    assert!(exposure <= 1.5, "{exposure}");
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let units = root().join("packaging/systemd");
    let tree = tempfile::tempdir().unwrap();
    let place = |path: &str| {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for unit in ["tidegate.service", "tidegate.socket"] {
        let installed = place(&format!("usr/lib/systemd/system/{unit}"));
        std::fs::copy(units.join(unit), installed).unwrap();
    }
    let program = place("usr/bin/tidegate");
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(program, Permissions::from_mode(0o755)).unwrap();
    let verify = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no", "--root"])
        .arg(tree.path())
        .arg("tidegate.service")
        .arg("tidegate.socket")
        .output();
    let Ok(output) = verify else {
        eprintln!("skipped: no systemd-analyze");
        return;
    };
    let faults = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && faults.is_empty(), "{faults}");
}
