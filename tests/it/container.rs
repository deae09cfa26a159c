//! In a container: as process 1, asked by a probe without a shell, with the manifests as they are.

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::peers::root;
use crate::support::proxy::{BINARY, program, tidegate};
use crate::support::wait::wait_until;
use crate::support::{Echo, Setup, Tidegate};

/// The binary as process 1 of a namespace of its own; nothing where this machine does not allow it.
fn first_process() -> Option<Command> {
    let arguments = [
        "--user",
        "--map-root-user",
        "--pid",
        "--fork",
        "--kill-child",
    ];
    let mut trial = Command::new("unshare");
    let trial = trial.args(arguments).arg("true").stderr(Stdio::null());
    if !trial.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no process namespaces here");
        return None;
    }
    let mut command = program("unshare");
    command.args(arguments).arg(BINARY);
    Some(command)
}

/// Sends a signal to the process that is 1 inside.
fn signal(proxy: &Tidegate, signal: Signal) {
    let outside = proxy.process().0;
    let children = fs::read_to_string(format!("/proc/{outside}/task/{outside}/children")).unwrap();
    let inside = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(inside, signal).unwrap();
}

#[test]
fn process_1_hears_its_signals_and_drains() {
    let Some(command) = first_process() else {
        return;
    };
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("server", "shutdown_grace = \"1s\"");
    let mut proxy = Tidegate::start_by(&setup, command);
    let mut socket = proxy.websocket("/");
    let mark = proxy.log().mark();
    signal(&proxy, Signal::HUP);
    proxy.reloaded_since(mark);
    signal(&proxy, Signal::TERM);
    assert_eq!(socket.close_code(), 1001);
    drop(socket);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn process_1_is_not_upgraded() {
    let Some(command) = first_process() else {
        return;
    };
    let proxy = Tidegate::start_by(&Setup::to(&["127.0.0.1:9"]), command);
    let told = String::from_utf8(proxy.command(&["upgrade"]).stderr).unwrap();
    assert!(told.contains("process 1 can't be upgraded"), "{told}");
    assert_eq!(proxy.admin("GET /readyz").status, 200);
}

#[test]
fn the_health_probe_needs_no_shell() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("server", "shutdown_grace = \"30s\"");
    let proxy = Tidegate::start(&setup);
    assert_eq!(proxy.told(&["status", "--health"]), "ready\n");
    let _socket = proxy.websocket("/");
    proxy.signal(Signal::TERM);
    wait_until("the probe to fail", || {
        let output = proxy.command(&["status", "--health"]);
        output.stdout == b"stopping\n" && output.status.code() == Some(1)
    });
    let nobody = tidegate(&["status", "--health", "--admin", "http://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
}

/// The value of a block scalar: what follows `key: |`, less its indentation.
fn block(yaml: &str, key: &str) -> String {
    let (_, rest) = yaml.split_once(&format!("{key}: |\n")).unwrap();
    let indent = rest.len() - rest.trim_start().len();
    let inside =
        |line: &&str| line.trim().is_empty() || line.len() - line.trim_start().len() >= indent;
    let lines = rest.lines().take_while(inside);
    lines
        .map(|line| line.get(indent..).unwrap_or("").to_owned() + "\n")
        .collect()
}

#[test]
fn the_configurations_of_image_and_config_map_are_good() {
    let manifest = fs::read_to_string(root().join("packaging/kubernetes/tidegate.yaml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mapped = directory.path().join("tidegate.toml");
    fs::write(&mapped, block(&manifest, "tidegate.toml")).unwrap();
    for file in [
        mapped,
        root().join("packaging/docker/tidegate.toml"),
        root().join("packaging/etc/tidegate.toml"),
    ] {
        let output = tidegate(&["check", "-c", file.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&output.stderr);
        // The token is the cluster's, the log's directory the package's.
        let bad = errors.lines().find(|line| !line.contains("No such file"));
        assert_eq!(bad, None, "{}", file.display());
    }
}

#[test]
fn the_pods_have_the_time_that_their_drain_needs() {
    let manifest = fs::read_to_string(root().join("packaging/kubernetes/tidegate.yaml")).unwrap();
    let number = |key: &str| -> u64 {
        let (_, rest) = manifest.split_once(key).unwrap();
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    };
    let grace = 60 * number("shutdown_grace = \"");
    let needed = number("                seconds: ") + grace;
    assert!(number("terminationGracePeriodSeconds: ") >= needed + 5);
}

#[test]
fn the_manifests_are_yaml() {
    let script = "import sys, yaml
kinds = [document['kind'] for document in yaml.safe_load_all(open(sys.argv[1]))]
assert kinds == ['ConfigMap', 'Deployment', 'Service', 'PodDisruptionBudget'], kinds";
    let known = Command::new("python3")
        .args(["-c", "import yaml"])
        .stderr(Stdio::null())
        .status();
    if !known.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no yaml for Python here");
        return;
    }
    let manifest = root().join("packaging/kubernetes/tidegate.yaml");
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
