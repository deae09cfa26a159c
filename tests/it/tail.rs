//! `tidegate connections --tail` and its API: one session's frames as they pass.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use crate::support::log::Line;
use crate::support::program::Program;
use crate::support::proxy::BINARY as TIDEGATE;
use crate::support::wait::wait_for;
use crate::support::{Connection, Echo, Setup, Stage, Tidegate};

/// The id of the only session.
fn only_id(proxy: &Tidegate) -> String {
    wait_for("a session", || {
        let connections = proxy.api("/api/v1/connections");
        let id = connections["connections"][0]["id"].as_str();
        id.map(str::to_owned)
    })
}

/// Watches a session, from when this returns.
fn tail(proxy: &Tidegate, id: &str, more: &[&str]) -> Program {
    let admin = format!("http://{}", proxy.listener("admin"));
    let mut command = Command::new(TIDEGATE);
    command.args(["connections", "--tail", id, "--json", "--admin", &admin]);
    let program = Program::start(command.args(more));
    program.tells(0, "begin");
    program
}

/// What was seen so far, without the times.
fn frames(program: &Program) -> Vec<(String, String, String, u64, bool)> {
    let is_frame = |line: &Line| line.str("event") == Some("frame");
    let frames = program.told().lines_since(0, is_frame);
    let word = |line: &Line, name| line.str(name).unwrap().to_owned();
    let facts = |line: &Line| {
        let bytes = line.field("payload_bytes").and_then(Value::as_u64);
        (
            word(line, "by"),
            word(line, "direction"),
            word(line, "opcode"),
            bytes.unwrap(),
            line.field("fin") == Some(&Value::Bool(true)),
        )
    };
    frames.iter().map(facts).collect()
}

fn seen(
    by: &str,
    to: &str,
    opcode: &str,
    bytes: u64,
    fin: bool,
) -> (String, String, String, u64, bool) {
    (by.into(), to.into(), opcode.into(), bytes, fin)
}

#[test]
fn the_headers_of_both_directions_are_seen_to_the_end_of_the_session() {
    let stage = Stage::with("");
    let (mut client, mut backend) = stage.tunnel();
    let id = only_id(&stage.proxy);
    let program = tail(&stage.proxy, &id, &[]);
    client.send_frame(&Frame::client(TEXT, "hello").unfinished());
    client.send_frame(&Frame::client(PING, ""));
    client.send_frame(&Frame::client(CONTINUATION, "!"));
    for _ in 0..3 {
        backend.frame();
    }
    backend.send_frame(&Frame::server(BINARY, vec![0; 70_000]));
    client.frame();
    stage.proxy.told(&["connections", "--kill", &id]);
    let end = program.tells(0, "end");
    assert_eq!(end.str("reason"), Some("killed"));
    assert_eq!(end.field("close_code"), Some(&1008.into()));
    let expected = [
        seen("client", "to_backend", "text", 5, false),
        seen("client", "to_backend", "ping", 0, true),
        seen("client", "to_backend", "continuation", 1, true),
        seen("backend", "to_client", "binary", 70_000, true),
    ];
    let mut frames = frames(&program);
    let closes = frames.split_off(4);
    assert_eq!(frames, expected);
    assert!(closes.contains(&seen("proxy", "to_client", "close", 2, true)));
    assert!(closes.contains(&seen("proxy", "to_backend", "close", 2, true)));
    assert!(!program.told().text().contains("payload_text"));
}

#[test]
fn who_begins_inside_a_frame_sees_the_next_one() {
    let stage = Stage::with("");
    let (mut client, mut backend) = stage.tunnel();
    let wire = Frame::client(BINARY, vec![0; 1000]).encode();
    client.send(&wire[..500]);
    backend.read_exactly(500);
    let program = tail(&stage.proxy, &only_id(&stage.proxy), &[]);
    client.send(&wire[500..]);
    client.send_frame(&Frame::client(TEXT, "next"));
    backend.read_exactly(wire.len() - 500);
    backend.frame();
    program.tells(0, "frame");
    assert_eq!(
        frames(&program),
        [seen("client", "to_backend", "text", 4, true)]
    );
}

#[test]
fn payloads_start_is_seen_when_asked_for() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut socket = proxy.websocket("/");
    let program = tail(&proxy, &only_id(&proxy), &["--payload"]);
    socket.echo("what they say");
    let frame = program.tells(0, "frame");
    assert_eq!(frame.str("payload_text"), Some("what they say"));
}

#[test]
fn payloads_are_not_shown_beyond_this_machine_and_nothing_without_the_token() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin.token");
    fs::write(&file, "open-sesame").unwrap();
    let admin = format!(
        "bind = \"0.0.0.0:0\"\ntoken_file = \"{}\"",
        file.to_str().unwrap()
    );
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("admin", &admin));
    let _socket = proxy.websocket("/");
    let id = only_id(&proxy);
    let status = |query: &str, field: &str| {
        let mut connection = Connection::open(proxy.listener("admin"));
        connection.send(format!(
            "GET /api/v1/connections/{id}/tail{query} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n"
        ));
        let head = connection.read_head().unwrap();
        head[9..12].to_owned()
    };
    let token = "Authorization: Bearer open-sesame\r\n";
    assert_eq!(status("", ""), "401");
    assert_eq!(status("?payload=true", token), "403");
    assert_eq!(status("", token), "200");
}

#[test]
fn of_a_fast_session_some_frames_are_counted_instead_of_shown_and_none_is_lost() {
    const MESSAGES: u64 = 2_000;
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut socket = proxy.websocket("/");
    let program = tail(&proxy, &only_id(&proxy), &[]);
    for message in 0..MESSAGES {
        socket.echo(&message.to_string());
    }
    socket.close();
    let end = program.tells(0, "end");
    assert_eq!(end.str("reason"), Some("client_close"));
    let lines = program.told().lines_since(0, |_| true);
    let missed: u64 = (lines.iter())
        .filter_map(|line| line.field("missed").and_then(Value::as_u64))
        .sum();
    assert!(missed > 0);
    // Each message both ways, and both Closes.
    assert_eq!(frames(&program).len() as u64 + missed, MESSAGES * 2 + 2);
}

#[test]
fn a_second_one_who_watches_takes_over() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut socket = proxy.websocket("/");
    let id = only_id(&proxy);
    let first = tail(&proxy, &id, &[]);
    let second = tail(&proxy, &id, &[]);
    first.tells(0, "replaced");
    socket.echo("who hears this?");
    second.tells(0, "frame");
    assert_eq!(first.count("frame"), 0);
}

#[test]
fn nobody_can_watch_what_is_not_there() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    let output = proxy.command(&["connections", "--tail", "4294967297"]);
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("no connection 4294967297"), "{errors}");
}
