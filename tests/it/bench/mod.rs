//! `tidegate bench` from outside: what it prints, writes and ends with (CONTRACT section 6).

mod interrupted;
mod shortfalls;
mod stalls;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::certificates::Authority;
use crate::support::frame::{CLOSE, Frame};
use crate::support::proxy::BINARY;
use crate::support::{Backend, Echo, Page, Setup, Tidegate};

/// A run under way, over six connections.
struct Running {
    child: Child,
    directory: TempDir,
}

/// A run that has ended.
struct Run {
    output: Output,
    directory: TempDir,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let child = Command::new(BINARY)
            .arg("bench")
            .args(arguments)
            .args(["--connections", "6"])
            .args(["--json", "report.json", "--html", "report.html"])
            .current_dir(&directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child, directory }
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    fn finish(self) -> Run {
        let output = self.child.wait_with_output().unwrap();
        let directory = self.directory;
        Run { output, directory }
    }
}

impl Run {
    /// A short one.
    fn of(arguments: &[&str]) -> Self {
        Running::start(&[arguments, &["--duration", "200ms"]].concat()).finish()
    }

    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn printed(&self) -> &str {
        str::from_utf8(&self.output.stdout).unwrap()
    }

    fn complained(&self) -> &str {
        str::from_utf8(&self.output.stderr).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.file("report.json")).unwrap()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.directory.path().join(name)).unwrap()
    }

    #[track_caller]
    fn assert_clean(&self) {
        let (printed, complained) = (self.printed(), self.complained());
        assert_eq!(self.code(), Some(0), "{printed}\n{complained}");
        assert!(printed.contains("nothing was lost or wrong"), "{printed}");
        // No bar where nobody looks.
        assert_eq!(complained, "");
    }
}

fn url(address: impl std::fmt::Display) -> String {
    format!("ws://{address}/")
}

/// A backend that takes the handshake and answers each message with these bytes.
fn answering(frame: &'static [u8]) -> Backend {
    Backend::script(move |mut visit| {
        visit.accept("").unwrap();
        while let Some(read) = visit.connection.read_frame() {
            let answer = match read.opcode {
                CLOSE => Frame::server(CLOSE, Frame::close_payload(1000, "")).encode(),
                _ => frame.to_vec(),
            };
            // What was said before may have ended the run.
            let _ = visit.connection.try_send(answer);
        }
    })
}

/// A backend that echoes, and counts the messages of all connections.
fn counting() -> (Backend, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let backend = Backend::accepting(move |mut visit| {
        while let Some(read) = visit.connection.read_frame() {
            counted.fetch_add(1, SeqCst);
            let answer = Frame::server(read.opcode, read.payload);
            let _ = visit.connection.try_send(answer.encode());
        }
    });
    (backend, count)
}

/// Options that ask for each mode once.
const EVERY_MODE: [&str; 7] = [
    "--rate 500/s",
    "--in-flight 4 --size 64KiB",
    "--mode idle",
    "--mode connect --connect-rate 100/s",
    "--mode sink",
    "--mode storm",
    "--mode slow-reader --size 64KiB",
];

#[test]
fn every_mode_runs_through_the_proxy() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[echo.address()]);
    let url = url(proxy.address());
    for options in EVERY_MODE {
        let arguments: Vec<&str> = [url.as_str()]
            .into_iter()
            .chain(options.split(' '))
            .collect();
        Run::of(&arguments).assert_clean();
    }
}

#[test]
fn tls_is_resumed_when_asked_for() {
    let authority = Authority::new();
    let echo = Echo::start();
    let certificate = authority.issue(&["localhost"]);
    let setup = Setup::to(&[&echo]).with(
        "listener.public.tls",
        &format!("certificates = [{}]", certificate.toml()),
    );
    let proxy = Tidegate::start(&setup);
    let url = format!("wss://localhost:{}/", proxy.address().port());
    let roots = authority.file();
    let connecting = [&url, "--mode", "connect", "--connect-rate", "100/s", "--ca"];
    let connecting = [&connecting[..], &[roots.to_str().unwrap()]].concat();
    let full = Run::of(&connecting);
    full.assert_clean();
    assert_eq!(full.json()["targets"][0]["resumed"], 0);
    let resumed = Run::of(&[&connecting[..], &["--resume"]].concat());
    resumed.assert_clean();
    assert!(resumed.json()["targets"][0]["resumed"].as_u64() > Some(0));
}

#[test]
fn targets_are_compared_in_turn_with_what_their_processes_spent() {
    let echo = Echo::start();
    let proxies = [(); 2].map(|()| Tidegate::in_front_of(&[echo.address()]));
    let [first, second] = proxies.each_ref().map(|proxy| url(proxy.address()));
    let [one, two] = proxies
        .each_ref()
        .map(|proxy| proxy.process().0.to_string());
    let run = Run::of(&[
        &first,
        "--pid",
        &one,
        "--compare",
        &second,
        "--pid",
        &two,
        "--rate",
        "500/s",
    ]);
    run.assert_clean();
    assert!(run.printed().contains("x)"), "{}", run.printed());
    let report = run.json();
    assert_eq!(report["rounds"], 5);
    for target in report["targets"].as_array().unwrap() {
        assert!(target["cpu_us_per_message"]["median"].as_f64() > Some(0.0));
        assert!(target["memory_open"]["bytes"].as_u64() > Some(0));
        let rounds = target["course"].as_array().unwrap();
        assert_eq!(rounds.last().unwrap()["round"], 4);
    }
}

#[test]
fn what_a_lying_backend_does_is_named_and_fails_the_run() {
    let wrong = b"\x82\x02no";
    let masked = b"\x82\x82\0\0\0\0no";
    let close = b"\x88\x02\x03\xf5";
    for (frame, fault) in [
        (&wrong[..], "wrong echo"),
        (&masked[..], "bad frame"),
        (&close[..], "closed by the server"),
    ] {
        let backend = answering(frame);
        let run = Run::of(&[&url(backend.address()), "--in-flight", "1"]);
        assert_eq!(run.code(), Some(1));
        assert!(run.printed().contains(fault), "{}", run.printed());
        assert!(run.json()["targets"][0]["faults"][fault].as_u64() > Some(0));
    }
}

#[test]
fn an_address_that_is_not_ours_is_said() {
    let echo = Echo::start();
    let run = Run::of(&[&url(echo.address()), "--source", "203.0.113.9/32"]);
    assert_eq!(run.code(), Some(1));
    let fault = "could not come from an address of --source";
    assert!(run.printed().contains(fault), "{}", run.printed());
}

#[test]
fn arguments_that_say_nothing_are_wrong() {
    for (arguments, complaint) in [
        (
            &["--mode", "idle", "--rate", "5/s"][..],
            "--rate says nothing in mode idle",
        ),
        (
            &["--read-rate", "5"],
            "--read-rate says nothing in mode echo",
        ),
        (
            &["--resume"],
            "--resume says nothing where no URL is wss://",
        ),
        (
            &["--compare", "ws://127.0.0.1:1/", "--pid", "1"],
            "1 times --pid for 2 URLs",
        ),
    ] {
        let run = Run::of(&[&["ws://127.0.0.1:1/"], arguments].concat());
        assert_eq!(run.code(), Some(2));
        assert!(run.complained().contains(complaint), "{}", run.complained());
    }
}

#[test]
fn a_wrong_port_is_said() {
    for port in ["99999", "1708O", "", "-1", "0"] {
        let run = Run::of(&[&format!("ws://127.0.0.1:{port}/")]);
        assert_eq!(run.code(), Some(2));
        let complaint = "has no good port (write 1 to 65535)";
        assert!(run.complained().contains(complaint), "{}", run.complained());
    }
}

#[test]
fn a_process_that_ends_under_load_costs_its_own_figures_only() {
    let mut process = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pid = process.id().to_string();
    let input = Mutex::new(process.stdin.take());
    // It ends with the first message, which comes under load.
    let backend = Backend::script(move |mut visit| {
        visit.accept("").unwrap();
        while let Some(read) = visit.connection.read_frame() {
            drop(input.lock().unwrap().take());
            let answer = match read.opcode {
                CLOSE => Frame::server(CLOSE, Frame::close_payload(1000, "")),
                opcode => Frame::server(opcode, read.payload),
            };
            let _ = visit.connection.try_send(answer.encode());
        }
    });
    let run = Run::of(&[&url(backend.address()), "--pid", &pid, "--in-flight", "1"]);
    process.wait().unwrap();
    assert_eq!(run.code(), Some(1), "{}", run.complained());
    let report = run.json();
    let target = &report["targets"][0];
    assert_eq!(target["faults"]["the process of --pid ended"], 1);
    assert_eq!(target["cpu_us_per_message"], Value::Null);
    assert_eq!(target["memory_loaded"]["bytes"], Value::Null);
    assert!(target["messages"].as_u64() > Some(0));
}

#[test]
fn every_key_of_the_json_is_documented() {
    let echo = Echo::start();
    let run = Run::of(&[&url(echo.address()), "--rate", "500/s"]);
    run.assert_clean();
    let mut keys = BTreeSet::new();
    collect(&run.json(), &mut keys);
    let documentation = fs::read_to_string("docs/bench.md").unwrap();
    keys.retain(|key| !documentation.contains(&format!("`{key}`")));
    // A close code stands for all of them.
    keys.remove("1000");
    assert_eq!(keys, BTreeSet::new());
}

fn collect(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                keys.insert(key.clone());
                collect(value, keys);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, keys)),
        _ => {}
    }
}

#[test]
fn the_page_draws_its_plots_in_a_browser() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[echo.address()]);
    let pid = proxy.process().0.to_string();
    let run = Run::of(&[&url(proxy.address()), "--pid", &pid, "--rate", "2000/s"]);
    run.assert_clean();
    let file = run.directory.path().join("report.html");
    let mut page = Page::open(&format!("file://{}", file.display()));
    let plots = page.ask("[...document.querySelectorAll('svg')].map((plot) => plot.getAttribute('aria-label')).join()");
    let expected = "Latency by percentile,Messages per second over time,Cores busy over time,Memory per connection";
    assert_eq!(plots, expected);
    let empty = page.ask("[...document.querySelectorAll('svg')].filter((plot) => !plot.querySelector('path[d^=M], rect')).length");
    assert_eq!(empty, 0);
    let what = page.text("#what");
    assert!(
        what.starts_with("echo: 6 connections, 2000 messages/s of 128 bytes"),
        "{what}"
    );
    page.assert_faultless();
}
