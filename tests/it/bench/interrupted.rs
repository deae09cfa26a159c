//! Ctrl-C: the first stops the load and lets the report follow, the second ends at once.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustix::process::Signal;

use super::{EVERY_MODE, Run, Running, counting, url};
use crate::support::wait::wait_until;
use crate::support::{Backend, Echo, Tidegate};

#[track_caller]
fn assert_cut_short(run: &Run, code: i32) {
    let (printed, complained) = (run.printed(), run.complained());
    assert_eq!(run.code(), Some(code), "{printed}\n{complained}");
    assert!(printed.contains("note: cut short at ws"), "{printed}");
    assert_eq!(complained, "");
    assert_eq!(run.json()["is_cut_short"], true);
    assert!(run.file("report.html").contains("\"is_cut_short\":true"));
}

#[test]
fn every_mode_reports_what_it_has_measured_so_far() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[echo.address()]);
    let url = url(proxy.address());
    for options in EVERY_MODE {
        let opened = echo.accepted();
        let arguments: Vec<&str> = [url.as_str(), "--duration", "10m"]
            .into_iter()
            .chain(options.split(' '))
            .collect();
        let running = Running::start(&arguments);
        wait_until("all connections", || echo.accepted() >= opened + 6);
        running.signal(Signal::INT);
        let run = running.finish();
        assert_cut_short(&run, 130);
        assert!(run.printed().contains("nothing was lost or wrong"));
    }
}

#[test]
fn echoes_count_that_came_before() {
    let (backend, count) = counting();
    let url = url(backend.address());
    let running = Running::start(&[&url, "--duration", "10m", "--in-flight", "1"]);
    // Whoever sends two has one back.
    wait_until("echoes", || count.load(SeqCst) > 6);
    running.signal(Signal::TERM);
    let run = running.finish();
    assert_cut_short(&run, 143);
    let target = &run.json()["targets"][0];
    assert!(target["round_trip_us"]["count"].as_u64() > Some(0));
    assert_eq!(target["close_codes"]["1000"], 6);
}

#[test]
fn targets_that_had_no_turn_are_reported_so() {
    let (backend, count) = counting();
    let idle = Echo::start();
    let running = Running::start(&[
        &url(backend.address()),
        "--compare",
        &url(idle.address()),
        "--duration",
        "10m",
    ]);
    wait_until("load", || count.load(SeqCst) > 0);
    running.signal(Signal::INT);
    let run = running.finish();
    assert_cut_short(&run, 130);
    assert_eq!(run.json()["targets"][1]["seconds_under_load"], 0.0);
    assert_eq!(idle.accepted(), 0);
}

#[test]
fn handshakes_that_are_waited_for_are_given_up() {
    let backend = Backend::silent();
    let url = url(backend.address());
    for mode in ["echo", "connect", "storm"] {
        let visits = backend.visits();
        let running = Running::start(&[&url, "--duration", "10m", "--mode", mode]);
        wait_until("connections", || backend.visits() >= visits + 6);
        running.signal(Signal::INT);
        let run = running.finish();
        assert_cut_short(&run, 130);
        assert_eq!(run.json()["targets"][0]["opened"], 0);
    }
}

#[test]
fn the_second_signal_ends_at_once() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&read);
    // It answers nothing: there is something to wait for at the end.
    let backend = Backend::accepting(move |mut visit| {
        while visit.connection.read_frame().is_some() {
            counted.fetch_add(1, SeqCst);
        }
    });
    let url = url(backend.address());
    let mut running = Running::start(&[&url, "--duration", "10m", "--in-flight", "1"]);
    wait_until("messages", || read.load(SeqCst) >= 6);
    running.signal(Signal::INT);
    // One that follows at once may be the same, told twice.
    wait_until("it to end", || {
        running.signal(Signal::TERM);
        running.child.try_wait().unwrap().is_some()
    });
    let run = running.finish();
    assert_eq!((run.code(), run.printed()), (Some(143), ""));
    let file = run.directory.path().join("report.json");
    assert_eq!(fs::read_to_string(file).unwrap(), "");
}
