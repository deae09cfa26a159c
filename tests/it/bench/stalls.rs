//! No coordinated omission: in an open loop time counts from when a message was due.

use std::sync::atomic::Ordering::SeqCst;

use rustix::process::Signal;
use serde_json::Value;

use super::{Run, Running, counting, url};
use crate::support::frame::{CLOSE, Frame};
use crate::support::process::Process;
use crate::support::wait::wait_until;
use crate::support::{Backend, Tidegate};

/// A backend that holds its answers back until so many messages have come on a connection.
fn holding(count: usize) -> Backend {
    Backend::accepting(move |mut visit| {
        let mut held = Vec::new();
        while let Some(read) = visit.connection.read_frame() {
            let is_close = read.opcode == CLOSE;
            held.push(Frame::server(read.opcode, read.payload));
            if held.len() >= count || is_close {
                for frame in held.drain(..) {
                    let _ = visit.connection.try_send(frame.encode());
                }
            }
        }
    })
}

fn microseconds(run: &Run, figure: &str) -> f64 {
    run.json()["targets"][0]["round_trip_us"][figure]
        .as_f64()
        .unwrap()
}

#[test]
fn a_target_that_stalls_shows_it_in_every_message_that_was_due_meanwhile() {
    // One every 5 ms: 20 on each of the six connections, 30 ms apart, the last due after 570 ms.
    let backend = holding(20);
    let proxy = Tidegate::in_front_of(&[backend.address()]);
    let running = Running::start(&[
        &url(proxy.address()),
        "--rate",
        "200/s",
        "--duration",
        "600ms",
        "--threads",
        "1",
    ]);
    let run = running.finish();
    run.assert_clean();
    assert_eq!(run.json()["targets"][0]["round_trip_us"]["count"], 120);
    // The answer to the first of a connection has to wait for the last, and so on.
    assert!(microseconds(&run, "max") >= 570_000.0, "{}", run.printed());
    assert!(microseconds(&run, "p90") >= 510_000.0, "{}", run.printed());
    assert!(microseconds(&run, "p50") >= 270_000.0, "{}", run.printed());
}

#[test]
fn a_generator_that_stalls_itself_counts_it_and_says_so() {
    let (backend, count) = counting();
    let url = url(backend.address());
    let stalled = Running::start(&[&url, "--rate", "200/s", "--duration", "2s"]);
    wait_until("load", || count.load(SeqCst) > 0);
    stalled.signal(Signal::STOP);
    wait_until("it to stop", || Process(stalled.child.id()).is_stopped());
    // This takes 200 ms at least.
    Run::of(&[&url, "--mode", "idle"]).assert_clean();
    stalled.signal(Signal::CONT);
    let run = stalled.finish();
    run.assert_clean();
    assert!(microseconds(&run, "max") >= 190_000.0, "{}", run.printed());
    assert!(microseconds(&run, "p99") >= 150_000.0, "{}", run.printed());
    let report = run.json();
    let generator = &report["targets"][0]["generator"];
    assert!(generator["late_us"]["max"].as_f64() >= Some(190_000.0));
    assert_eq!(generator["is_bottleneck"], Value::Bool(true));
}
