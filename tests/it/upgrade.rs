//! The upgrade in place: a new process takes the sockets over, and nobody outside notices.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Output;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::support::proxy::{BINARY, program};
use crate::support::storm::{Storm, Tally};
use crate::support::wait::wait_until;
use crate::support::{Echo, Setup, Tidegate};

/// The processes that took over; they are nobody's children and end with this.
#[derive(Default)]
struct Successors(Vec<Pid>);

impl Successors {
    /// Upgrades and says which process serves now.
    #[track_caller]
    fn upgrade(&mut self, proxy: &Tidegate) -> Pid {
        let answer = proxy.told_json(&["upgrade"]);
        assert_eq!(answer["result"], "ok", "{answer}");
        assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
        self.add(&answer["pid"])
    }

    /// Waits for the process that takes over after a signal.
    #[track_caller]
    fn wait_for_one(&mut self, proxy: &Tidegate) -> Pid {
        let line = proxy
            .log()
            .wait_for(0, "the upgrade", |line| line.message() == "upgraded");
        self.add(line.field("pid").expect("a pid"))
    }

    fn add(&mut self, pid: &Value) -> Pid {
        let pid = i32::try_from(pid.as_i64().expect("a pid")).unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        self.0.push(pid);
        pid
    }
}

impl Drop for Successors {
    fn drop(&mut self) {
        for pid in &self.0 {
            // Most have ended by themselves.
            let _ = kill_process(*pid, Signal::KILL);
        }
    }
}

fn serving_pid(proxy: &Tidegate) -> i64 {
    proxy.api("/api/v1/status")["pid"].as_i64().unwrap()
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

fn setup(echo: &Echo, drain: &str) -> Setup {
    let drain = format!("upgrade_drain = \"{drain}\"\nshutdown_grace = \"1s\"");
    Setup::to(&[echo]).with("server", &drain)
}

#[test]
fn an_upgrade_keeps_live_sessions_and_gives_new_ones_to_the_new_process() {
    let echo = Echo::start();
    let mut successors = Successors::default();
    let mut proxy = Tidegate::start(&setup(&echo, "off"));
    let (address, old) = (proxy.address(), serving_pid(&proxy));
    let mut before = proxy.websocket("/");
    before.echo("old");

    let new = successors.upgrade(&proxy);
    assert_ne!(serving_pid(&proxy), old);
    assert_eq!(serving_pid(&proxy), i64::from(new.as_raw_nonzero().get()));
    assert_eq!(proxy.address(), address, "port 0 too is handed over");
    let mut after = proxy.websocket("/");
    after.echo("new");
    before.echo("still there");
    assert_eq!(proxy.api("/api/v1/status")["websockets"], 1);

    before.close();
    assert!(
        proxy.wait_for_exit().success(),
        "the last session of the old process is gone"
    );
    after.echo("on its own");
    kill_process(new, Signal::TERM).unwrap();
    assert_eq!(after.close_code(), 1001);
}

#[test]
fn sigusr2_upgrades_and_the_sessions_of_the_old_process_end_at_their_pace() {
    let echo = Echo::start();
    let mut successors = Successors::default();
    let mut proxy = Tidegate::start(&setup(&echo, "300ms"));
    let mut sockets: Vec<_> = (0..5).map(|_| proxy.websocket("/")).collect();
    proxy.signal(Signal::USR2);
    successors.wait_for_one(&proxy);
    for socket in &mut sockets {
        assert_eq!(socket.close_code(), 1001);
    }
    drop(sockets);
    assert!(proxy.wait_for_exit().success());
    proxy.websocket("/").echo("new");
}

#[test]
fn a_stop_ends_the_old_process_within_its_grace() {
    let echo = Echo::start();
    let mut successors = Successors::default();
    let mut proxy = Tidegate::start(&setup(&echo, "off"));
    let mut socket = proxy.websocket("/");
    successors.upgrade(&proxy);
    proxy.signal(Signal::TERM);
    assert_eq!(socket.close_code(), 1001);
    drop(socket);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn who_is_kept_alive_is_asked_to_come_back_on_a_new_connection() {
    let echo = Echo::start();
    let mut successors = Successors::default();
    let setup = setup(&echo, "off").with("[route]", "accept = \"websocket\"");
    let mut proxy = Tidegate::start(&setup);
    let mut kept = proxy.connect();
    let mut asked = || {
        kept.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = kept.answer();
        assert_eq!(answer.status, 426, "{answer:?}");
        answer.header("connection").map(str::to_owned)
    };
    let before = asked();
    assert_ne!(before.as_deref(), Some("close"));
    successors.upgrade(&proxy);
    assert_eq!(
        asked().as_deref(),
        Some("close"),
        "served to the last, and told"
    );
    kept.expect_end();
    assert!(proxy.wait_for_exit().success());
}

/// A link to the binary, in whose place a test may put something else.
struct Installed {
    directory: tempfile::TempDir,
}

impl Installed {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let installed = Self { directory };
        installed.restore();
        installed
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("tidegate")
    }

    /// Installs a script, in one step.
    fn replace(&self, script: &str) {
        let new = self.directory.path().join("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, self.path()).unwrap();
    }

    fn restore(&self) {
        symlink(BINARY, self.path()).unwrap();
    }
}

/// Starts by way of `installed`, tries an upgrade that must fail, and says what was answered.
#[track_caller]
fn refused(proxy: &Tidegate) -> String {
    let old = serving_pid(proxy);
    let Output { status, stderr, .. } = proxy.command(&["upgrade"]);
    let told = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{told}");
    assert_eq!(serving_pid(proxy), old);
    proxy.websocket("/").echo("as before");
    proxy.log().wait_for(0, "the failure", |line| {
        line.message() == "upgrade failed, nothing has changed"
    });
    told
}

#[test]
fn a_new_binary_that_does_not_start_changes_nothing() {
    let echo = Echo::start();
    let installed = Installed::new();
    let command = program(installed.path().to_str().unwrap());
    let mut proxy = Tidegate::start_by(&setup(&echo, "1s"), command);
    let mut before = proxy.websocket("/");

    installed.replace("exit 3");
    assert!(refused(&proxy).contains("exit status: 3"));
    installed.replace("kill -SEGV $$");
    assert!(refused(&proxy).contains("signal: 11"));
    fs::remove_file(installed.path()).unwrap();
    assert!(refused(&proxy).contains("can't be started"));

    before.echo("through it all");
    installed.restore();
    let mut successors = Successors::default();
    successors.upgrade(&proxy);
    before.close();
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_configuration_that_the_new_process_refuses_changes_nothing_and_is_told() {
    let echo = Echo::start();
    let setup = setup(&echo, "1s");
    let mut proxy = Tidegate::start(&setup);
    proxy.rewrite("[listener.public]\nbnid = \"127.0.0.1:0\"");
    let told = refused(&proxy);
    assert!(told.contains("bnid"), "{told}");
    proxy.rewrite(&setup.toml());
    let mut successors = Successors::default();
    successors.upgrade(&proxy);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn an_upgrade_while_one_is_under_way_is_refused() {
    let echo = Echo::start();
    let installed = Installed::new();
    let command = program(installed.path().to_str().unwrap());
    let mut proxy = Tidegate::start_by(&setup(&echo, "1s"), command);
    let marker = installed.directory.path().join("pid");
    installed.replace(&format!(
        "echo $$ >{}; exec cat >/dev/null",
        marker.display()
    ));
    proxy.signal(Signal::USR2);
    wait_until("the new process", || {
        fs::read_to_string(&marker).is_ok_and(|pid| pid.ends_with('\n'))
    });
    let told = String::from_utf8(proxy.command(&["upgrade"]).stderr).unwrap();
    assert!(told.contains("an upgrade is under way"), "{told}");
    proxy.websocket("/").echo("as before");

    // A stop calls the new process off.
    let pid = fs::read_to_string(&marker).unwrap();
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
    wait_until("the new process to be gone", || !is_alive(pid));
}

#[test]
fn a_process_that_takes_the_place_follows_the_file_as_it_is() {
    let echo = Echo::start();
    let mut successors = Successors::default();
    let before = setup(&echo, "1s").with("listener.second", "bind = \"127.0.0.1:0\"");
    let mut proxy = Tidegate::start(&before);
    let second = proxy.listener("second");
    proxy.rewrite(
        &setup(&echo, "1s")
            .with("listener.third", "bind = \"127.0.0.1:0\"")
            .toml(),
    );
    successors.upgrade(&proxy);
    proxy.log().wait_for(0, "the new listener", |line| {
        line.str("listener") == Some("third")
    });
    TcpStream::connect(proxy.listener("third")).unwrap();
    wait_until("the listener that went to be closed", || {
        TcpStream::connect(second).is_err()
    });
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn what_was_ordered_at_run_time_holds_over_an_upgrade_that_does_not_change_the_server() {
    let [drained, light, heavy] = Echo::start_many::<3>();
    let servers = Setup::to(&[&drained, &light, &heavy]);
    let drain = "upgrade_drain = \"1s\"\nshutdown_grace = \"1s\"";
    let setup = servers.with("server", drain);
    let mut proxy = Tidegate::start(&setup);
    let mut successors = Successors::default();
    proxy.told(&["server", &format!("echo/{drained}"), "drain"]);
    proxy.told(&["server", &format!("echo/{light}"), "weight", "5"]);
    proxy.told(&["server", &format!("echo/{heavy}"), "weight", "7"]);
    let file =
        format!("servers = [\"{drained}\", \"{light}\", {{ address = \"{heavy}\", weight = 2 }}]");
    proxy.rewrite(&setup.with("upstream.echo", &file).toml());
    // Twice: what was taken over is handed on.
    for _ in 0..2 {
        successors.upgrade(&proxy);
        let upstreams = proxy.api("/api/v1/upstreams");
        let servers = upstreams["upstreams"][0]["servers"].as_array().unwrap();
        let held = servers.iter().map(|it| {
            (
                it["state"].as_str().unwrap(),
                it["weight"].as_u64().unwrap(),
            )
        });
        let expected = [("drain", 1), ("ready", 5), ("ready", 2)];
        assert_eq!(held.collect::<Vec<_>>(), expected, "{upstreams}");
        for _ in 0..7 {
            assert_ne!(proxy.websocket("/").server(), drained.to_string());
        }
    }
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn no_connection_is_refused_or_reset_over_twenty_upgrades_under_load() {
    const UPGRADES: usize = 20;
    let echo = Echo::start();
    let mut successors = Successors::default();
    let setup = setup(&echo, "500ms").with("log", "level = \"info\"");
    let mut proxy = Tidegate::start(&setup);
    let storm = Storm::against(proxy.address(), 8);
    for _ in 0..UPGRADES {
        storm.wait_for_more(20);
        successors.upgrade(&proxy);
    }
    storm.wait_for_more(20);
    let tally = storm.finish();
    eprintln!("{UPGRADES} upgrades: {tally:?}");
    let Tally {
        attempts,
        refused,
        reset,
        other,
    } = tally;
    assert!(attempts >= 20 * (UPGRADES + 1), "{attempts}");
    assert_eq!((refused, reset), (0, 0));
    assert!(other.is_empty(), "{other:?}");
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn a_unix_socket_is_handed_over_and_its_file_goes_with_the_last_process() {
    let echo = Echo::start();
    let mut successors = Successors::default();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("local.sock");
    let bind = format!("bind = \"unix:{}\"", path.display());
    let setup = setup(&echo, "1s").with("listener.local", &bind);
    let mut proxy = Tidegate::start(&setup);
    proxy.rewrite("[listener");
    refused(&proxy);
    assert!(path.exists(), "a new process that fails leaves it alone");
    proxy.rewrite(&setup.toml());

    let new = successors.upgrade(&proxy);
    assert!(proxy.wait_for_exit().success());
    assert!(
        UnixStream::connect(&path).is_ok(),
        "the old process leaves it behind"
    );
    kill_process(new, Signal::TERM).unwrap();
    wait_until("the file to be gone", || !path.exists());
}
