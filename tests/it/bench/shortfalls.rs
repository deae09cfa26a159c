//! Runs that could not do what was asked for say so wherever they report, and fail.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Run, answering, url};
use crate::support::proxy::{BINARY, tidegate};
use crate::support::{Backend, Echo};

#[test]
fn a_descriptor_limit_is_kept_to_and_what_it_leaves_out_is_a_fault() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 70; exec \"$@\"", "sh", BINARY, "bench"])
        .args([&url(echo.address()), "--mode", "idle"])
        .args(["--duration", "100ms", "--threads", "40"])
        .args(["--json", "report.json", "--html", "report.html"])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let complaint =
        "tidegate bench: the descriptor limit allows 6 connections of 1000 (see ulimit -n)\n";
    assert_eq!(str::from_utf8(&output.stderr).unwrap(), complaint);
    let directory = directory.path().to_owned();
    let file = |name| fs::read_to_string(directory.join(name)).unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.starts_with("idle: 6 connections"), "{printed}");
    let fault = "no free descriptor of our own (see ulimit -n)";
    let report: Value = serde_json::from_str(&file("report.json")).unwrap();
    assert_eq!(report["targets"][0]["faults"][fault], 994);
    for text in [printed, file("report.html")] {
        assert!(text.contains(fault), "{text}");
    }
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_target_where_nothing_opens_is_put_under_no_load() {
    let refusing = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    for (backend, fault) in [
        (Backend::refusing(), "could not connect: connection refused"),
        (
            Backend::answering(refusing),
            "answered 503 to the handshake",
        ),
        (
            Backend::hanging_up(),
            "connection ended without an answer to the handshake",
        ),
    ] {
        let run = Run::of(&[&url(backend.address()), "--rate", "500/s"]);
        assert_eq!(run.code(), Some(1));
        let target = &run.json()["targets"][0];
        assert_eq!(target["faults"], serde_json::json!({ fault: 6 }));
        assert_eq!(target["seconds_under_load"], 0.0);
        assert_eq!(target["is_rate_held"], Value::Null);
        let note = "note: nothing was open at ws://";
        assert!(run.printed().contains(note), "{}", run.printed());
    }
}

#[test]
fn handshakes_that_are_never_answered_are_not_open_in_time() {
    let backend = Backend::silent();
    let run = Run::of(&[&url(backend.address()), "--mode", "connect"]);
    assert_eq!(run.code(), Some(1));
    let faults = &run.json()["targets"][0]["faults"];
    assert_eq!(*faults, serde_json::json!({ "not open in time": 6 }));
}

#[test]
fn a_storm_that_nobody_came_back_from_has_no_time() {
    let nobody = Backend::refusing();
    let run = Run::of(&[&url(nobody.address()), "--mode", "storm"]);
    assert_eq!(run.code(), Some(1));
    assert_eq!(run.json()["targets"][0]["recovery_ms"]["count"], 0);
    let row = |line: &&str| line.starts_with("all open again");
    let row = run.printed().lines().find(row).unwrap();
    assert!(row.ends_with(" –"), "{row}");
}

#[test]
fn a_rate_that_was_not_held_is_noted() {
    let backend = answering(b"\x88\x02\x03\xf5");
    let run = Run::of(&[&url(backend.address()), "--rate", "500/s"]);
    assert_eq!(run.json()["targets"][0]["is_rate_held"], false);
    let note = "note: the rate was not held at ws://";
    assert!(run.printed().contains(note), "{}", run.printed());
    assert!(
        run.printed()
            .contains("500 messages/s asked for, 0 reached")
    );
}

#[test]
fn a_run_that_fails_leaves_an_earlier_report_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    fs::write(&file, "earlier").unwrap();
    let echo = Echo::start();
    let url = url(echo.address());
    let report = file.to_str().unwrap();
    let options = ["--pid", "4294967295", "--json", report];
    let output = tidegate(&[&["bench", &url][..], &options].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), "earlier");
}

#[test]
fn a_report_that_cannot_be_written_is_said_before_the_load() {
    let echo = Echo::start();
    let output = tidegate(&[
        "bench",
        &url(echo.address()),
        "--json",
        "/nowhere/report.json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = str::from_utf8(&output.stderr).unwrap();
    assert!(
        complaint.contains("could not write /nowhere/report.json"),
        "{complaint}"
    );
    assert_eq!(echo.accepted(), 0);
}

#[test]
fn a_report_that_cannot_be_printed_is_written_all_the_same() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(BINARY)
        .args(["bench", &url(echo.address()), "--connections", "6"])
        .args(["--duration", "100ms", "--json", "report.json"])
        .args(["--html", "report.html"])
        .current_dir(&directory)
        .stdin(Stdio::null())
        .stdout(File::create("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let complaint = str::from_utf8(&output.stderr).unwrap();
    assert!(complaint.contains("could not print"), "{complaint}");
    let report = fs::read_to_string(directory.path().join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["targets"][0]["opened"], 6);
    let page = fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(page.ends_with("</script>\n"), "{page}");
}
