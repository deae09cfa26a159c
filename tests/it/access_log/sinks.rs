//! Where the lines go: files that are renamed and reopened, pipes and disks that take nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::support::proxy::{Reload, tidegate};
use crate::support::wait::{stays_true, wait_until};
use crate::support::{Echo, Request, Setup, Tidegate};

use super::{Logged, lines, parse, refusing_requests, to};

/// A pipe whose reader takes nothing until it is asked.
fn named_pipe(directory: &Path) -> PathBuf {
    let path = directory.join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    path
}

#[test]
fn sigusr1_after_a_rename_goes_on_in_a_new_file() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let mut socket = logged.proxy.websocket("/");
    let open = logged.wait_for("open");
    let old = logged.log.with_extension("1");
    fs::rename(&logged.log, &old).unwrap();
    logged.proxy.signal(Signal::USR1);
    wait_until("the new file", || logged.log.exists());
    socket.echo("still here");
    socket.close();
    assert_eq!(logged.wait_for("close")["id"], open["id"]);
    assert_eq!(lines(&old).len(), 1);
}

#[test]
fn sigusr1_without_a_log_harms_nobody() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut socket = proxy.websocket("/");
    proxy.signal(Signal::USR1);
    proxy.log().wait_for(0, "the reopening", |line| {
        line.message().contains("reopened")
    });
    socket.echo("still here");
}

#[test]
fn a_file_that_can_not_be_opened_again_is_kept() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let old = logged.log.with_extension("1");
    fs::rename(&logged.log, &old).unwrap();
    fs::create_dir(&logged.log).unwrap();
    logged.proxy.signal(Signal::USR1);
    logged.proxy.log().wait_for(0, "the complaint", |line| {
        line.message().contains("not reopened")
    });
    logged.proxy.websocket("/").close();
    wait_until("both lines in the old file", || lines(&old).len() == 2);
}

#[test]
fn a_reload_turns_the_log_on_elsewhere_and_off() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&setup);
    let before = proxy.websocket("/");
    let [first, second] = ["first.log", "second.log"].map(|name| proxy.directory().join(name));
    proxy.reload_with(&to(setup.clone(), &first));
    before.close();
    let socket = proxy.websocket("/");
    wait_until("its open line", || lines(&first).len() == 1);
    proxy.reload_with(&to(setup.clone(), &second));
    socket.close();
    wait_until("its close line", || lines(&second).len() == 1);
    proxy.reload_with(&setup);
    proxy.websocket("/").close();
    proxy.reload_with(&to(setup, &second));
    proxy.websocket("/").close();
    wait_until("further lines", || lines(&second).len() == 3);
    assert_eq!(lines(&first).len(), 1);
}

/// ATTACKS I07.
#[test]
fn a_log_that_can_not_be_opened_is_an_error_that_names_the_key() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&setup);
    let mut socket = proxy.websocket("/");
    let nowhere = proxy.directory().join("nowhere/access.log");
    proxy.rewrite(&to(setup, &nowhere).toml());
    assert_eq!(proxy.reload(), Reload::Refused);
    socket.echo("still here");
    let file = proxy.directory().join("tidegate.toml");
    for command in ["check", "run"] {
        let output = tidegate(&[command, "-c", file.to_str().unwrap()]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("log.access = "), "{errors}");
        assert!(
            errors.contains("can't be written: No such file"),
            "{errors}"
        );
    }
}

/// ATTACKS I07.
#[test]
fn a_full_disk_drops_lines_and_counts_them() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&to(Setup::to(&[&echo]), Path::new("/dev/full")));
    for _ in 0..3 {
        let mut socket = proxy.websocket("/");
        socket.echo("hello");
        socket.close();
    }
    proxy.wait_for_metric("tidegate_access_log_dropped_total", &[], 6.0);
    proxy.log().wait_for(0, "a warning", |line| {
        line.message().contains("access log can't")
    });
}

/// ATTACKS I07.
#[test]
fn a_pipe_that_nobody_reads_stops_nobody() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let pipe = named_pipe(directory.path());
    let mut proxy = Tidegate::start(&to(refusing_requests(&echo), &pipe));
    let mut held = proxy.websocket("/");
    flood(&proxy);
    held.echo("still here");
    // Orders are carried out all the same.
    let file = directory.path().join("access.log");
    proxy.rewrite(&to(Setup::to(&[&echo]), &file).toml());
    assert_eq!(proxy.reload(), Reload::Done);
    wait_until("the lines that waited", || !lines(&file).is_empty());
    held.close();
    wait_until("a further line", || {
        lines(&file).iter().any(|line| line["event"] == "close")
    });
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
}

/// ATTACKS I07.
#[test]
fn a_process_whose_log_is_stuck_still_ends() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let pipe = named_pipe(directory.path());
    let mut proxy = Tidegate::start(&to(refusing_requests(&echo), &pipe));
    flood(&proxy);
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
}

/// More lines than pipe and queue hold.
fn flood(proxy: &Tidegate) {
    let mut client = proxy.connect();
    let request = Request::get(&format!("/{}", "x".repeat(800))).bytes();
    wait_until("lines to be dropped", || {
        for _ in 0..500 {
            client.send(&request);
        }
        for _ in 0..500 {
            assert_eq!(client.answer().status, 426);
        }
        proxy
            .metrics()
            .sum("tidegate_access_log_dropped_total", &[])
            > 0.0
    });
}

#[test]
fn standard_output_takes_the_lines_and_may_stall() {
    let echo = Echo::start();
    let setup = refusing_requests(&echo).with("log", "access = \"stdout\"");
    let (reader, writer) = std::io::pipe().unwrap();
    let proxy = Tidegate::start_with_stdout(&setup, writer);
    proxy.websocket("/ws").close();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(parse(&line)["event"], "open");
    flood(&proxy);
    // Once it is read again, whole lines come out.
    for line in reader.by_ref().lines().take(1000) {
        parse(&format!("{}\n", line.unwrap()));
    }
}

/// ATTACKS I07.
#[test]
fn a_closed_standard_output_drops_lines_and_counts_them() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("log", "access = \"stdout\"");
    let (reader, writer) = std::io::pipe().unwrap();
    let proxy = Tidegate::start_with_stdout(&setup, writer);
    drop(reader);
    proxy.websocket("/").close();
    proxy.wait_for_metric("tidegate_access_log_dropped_total", &[], 2.0);
    proxy.websocket("/").close();
}

#[test]
fn a_log_that_is_off_writes_nothing() {
    let echo = Echo::start();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let proxy = Tidegate::start_with_stdout(&Setup::to(&[&echo]), writer);
    proxy.websocket("/").close();
    proxy.wait_for_metric("tidegate_websockets_closed_total", &[], 1.0);
    stays_true(Duration::from_millis(100), "nothing dropped", || {
        proxy
            .metrics()
            .sum("tidegate_access_log_dropped_total", &[])
            < 0.5
    });
    drop(proxy);
    let mut written = Vec::new();
    reader.read_to_end(&mut written).unwrap();
    assert!(written.is_empty());
}
