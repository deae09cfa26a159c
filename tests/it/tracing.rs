//! OpenTelemetry spans of handshakes and sessions, as a collector gets them.

use serde_json::Value;

use crate::support::log::Line;
use crate::support::peers::{Library, Server};
use crate::support::proxy::tidegate;
use crate::support::wait::wait_for;
use crate::support::{Backend, Echo, Request, Setup, Stage, Tidegate};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn collector() -> Server {
    Library::Python.server("otlp_collector", &[])
}

fn traced(setup: Setup, collector: &Server, sample: &str) -> Setup {
    let lines = format!("otlp = \"http://{collector}/v1/traces\"\nsample = {sample}");
    setup.with("tracing", &lines)
}

/// Waits for the span of this name.
#[track_caller]
fn span(collector: &Server, name: &str) -> Line {
    let is_it = |line: &Line| line.str("name") == Some(name);
    collector.program.told().wait_for(0, name, is_it)
}

fn attribute<'a>(span: &'a Line, name: &str) -> &'a Value {
    &span.field("attributes").unwrap()[name]
}

/// The `traceparent` that the backend of a stage was sent.
fn forwarded(stage: &Stage, more: &[&str]) -> Vec<String> {
    let mut client = stage.proxy.connect();
    let request = more
        .iter()
        .fold(Request::upgrade(), |request, field| request.with(field));
    client.send(request.bytes());
    let _ = client.answer();
    let backend = stage.backend.as_ref().unwrap();
    let head = backend.received(backend.visits() - 1);
    let lines = head.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("traceparent")
            .then(|| value.to_owned())
    });
    lines.collect()
}

#[test]
fn a_handshake_its_steps_and_its_session_are_one_trace() {
    let (collector, echo) = (collector(), Echo::start());
    let proxy = Tidegate::start(&traced(Setup::to(&[&echo]), &collector, "1.0"));
    let mut socket = proxy.websocket("/chat");
    socket.echo("hello");
    socket.close();
    let session = span(&collector, "session");
    let handshake = span(&collector, "handshake");
    let root = handshake.str("id").unwrap();
    assert_eq!(handshake.str("service"), Some("tidegate"));
    assert_eq!(handshake.str("path"), Some("/v1/traces"));
    assert_eq!(handshake.str("parent"), Some(""));
    assert_eq!(attribute(&handshake, "url.path"), "/chat");
    assert_eq!(attribute(&handshake, "http.response.status_code"), 101);
    let time = |span: &Line, name| span.field(name).and_then(Value::as_u64).unwrap();
    let mut last = time(&handshake, "start");
    for name in ["route", "auth", "pick", "connect", "backend handshake"] {
        let step = span(&collector, name);
        assert_eq!(step.str("parent"), Some(root), "{name}");
        assert_eq!(step.str("trace"), handshake.str("trace"), "{name}");
        assert!(time(&step, "start") >= last && time(&step, "end") >= time(&step, "start"));
        last = time(&step, "end");
    }
    assert!(time(&handshake, "end") >= last);
    assert_eq!(session.str("parent"), Some(root));
    assert_eq!(attribute(&session, "tidegate.reason"), "client_close");
    assert_eq!(attribute(&session, "tidegate.messages_to_backend"), 1);
    assert_eq!(
        attribute(&session, "server.address"),
        echo.to_string().as_str()
    );
    proxy.wait_for_metric("tidegate_trace_spans_total", &[("result", "exported")], 7.0);
}

#[test]
fn a_trace_that_others_began_goes_on_at_the_backend() {
    let collector = collector();
    let stage = Stage::of(|setup| traced(setup, &collector, "1.0"));
    let sent = forwarded(&stage, &[PARENT]);
    let handshake = span(&collector, "handshake");
    assert_eq!(handshake.str("trace"), Some(TRACE));
    assert_eq!(handshake.str("parent"), Some("00f067aa0ba902b7"));
    let ours = format!("00-{TRACE}-{}-01", handshake.str("id").unwrap());
    assert_eq!(sent, [ours]);
}

#[test]
fn what_is_not_traced_passes_as_it_came() {
    let (_, untouched) = PARENT.split_once(": ").unwrap();
    let off = Stage::with("");
    assert_eq!(forwarded(&off, &[PARENT]), [untouched]);
    assert!(forwarded(&off, &[]).is_empty());
    let collector = collector();
    let none = Stage::of(|setup| traced(setup, &collector, "0.0"));
    // From a peer that is not trusted, whatever its flag says.
    assert_eq!(forwarded(&none, &[PARENT]), [untouched]);
}

#[test]
fn a_trusted_peer_may_ask_for_its_trace() {
    let collector = collector();
    let stage = Stage::of(|setup| {
        let trusting = setup.with("listener.public", "trusted_proxies = [\"127.0.0.0/8\"]");
        traced(trusting, &collector, "0.0")
    });
    let sent = forwarded(&stage, &[PARENT]);
    assert!(sent[0].starts_with(&format!("00-{TRACE}-")) && !sent[0].contains("00f067aa0ba902b7"));
    assert_eq!(span(&collector, "handshake").str("trace"), Some(TRACE));
}

#[test]
fn a_handshake_that_failed_says_where() {
    let collector = collector();
    let nobody = Backend::refusing();
    let proxy = Tidegate::start(&traced(Setup::to(&[&nobody]), &collector, "1.0"));
    assert_eq!(proxy.send(Request::upgrade().bytes()).status, 502);
    let handshake = span(&collector, "handshake");
    assert_eq!(attribute(&handshake, "http.response.status_code"), 502);
    assert_eq!(handshake.str("error"), Some("answered 502"));
    let connect = span(&collector, "connect");
    assert!(connect.str("error").is_some());
    assert_eq!(
        attribute(&connect, "server.address"),
        nobody.to_string().as_str()
    );
}

#[test]
fn spans_that_no_collector_takes_are_counted_and_sessions_go_on() {
    let (nobody, echo) = (Backend::refusing(), Echo::start());
    let lines = format!("otlp = \"http://{nobody}/v1/traces\"\nsample = 1.0");
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("tracing", &lines));
    let mut socket = proxy.websocket("/");
    wait_for("a loss", || {
        socket.echo("still here");
        let lost = proxy
            .metrics()
            .sum("tidegate_trace_spans_total", &[("result", "dropped")]);
        (lost >= 6.0).then_some(())
    });
}

#[test]
fn the_last_spans_go_out_before_the_process_ends() {
    let (collector, echo) = (collector(), Echo::start());
    let setup = Setup::to(&[&echo]).with("server", "shutdown_grace = \"1s\"");
    let mut proxy = Tidegate::start(&traced(setup, &collector, "1.0"));
    let mut socket = proxy.websocket("/");
    socket.echo("hello");
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(socket.close_code(), 1001);
    drop(socket);
    assert!(proxy.wait_for_exit().success());
    assert_eq!(
        attribute(&span(&collector, "session"), "tidegate.reason"),
        "shutdown"
    );
}

#[test]
fn tracing_is_off_unless_a_collector_is_named() {
    let output = tidegate(&["schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["tracing"].is_object());
}
