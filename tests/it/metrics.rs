//! What an operator's monitoring sees (CONTRACT section 5).

use tidegate::telemetry::families::{FAMILIES, Kind};

use crate::support::frame::{BINARY, CONTINUATION, Frame, PING, TEXT};
use crate::support::{Echo, Request, Stage, Tidegate};

#[test]
fn every_family_is_exposed_with_its_help_and_type() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    proxy.websocket("/").close();
    proxy.wait_for_metric("tidegate_websockets_closed_total", &[], 1.0);
    let text = proxy.admin("GET /metrics").body;
    for family in FAMILIES {
        let sampled = text.contains(&format!("\n{}", family.name));
        if sampled {
            let header = format!("# TYPE {} {}\n", family.name, family.kind.word());
            assert!(text.contains(&header), "{}", family.name);
            assert!(
                text.contains(&format!("# HELP {} ", family.name)),
                "{}",
                family.name
            );
        }
    }
    let idle: Vec<&str> = FAMILIES
        .iter()
        .filter(|family| family.kind == Kind::Gauge && !text.contains(family.name))
        .map(|family| family.name)
        .collect();
    assert!(idle.is_empty(), "gauges that were never exposed: {idle:?}");
}

#[test]
fn a_session_is_counted_from_its_handshake_to_its_end() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let server = echo.to_string();
    let live = [
        ("route", "main"),
        ("upstream", "echo"),
        ("server", server.as_str()),
    ];
    let mut socket = proxy.websocket("/");
    proxy.wait_for_metric("tidegate_websockets", &live, 1.0);
    proxy.wait_for_metric("tidegate_connections", &[("listener", "public")], 1.0);
    socket.echo("hello");
    socket.echo("again");
    // Counters are added while the socket is open.
    let text = [("route", "main"), ("kind", "text")];
    proxy.wait_for_metric("tidegate_messages_total", &text, 4.0);
    let inward = [("route", "main"), ("direction", "to_backend")];
    proxy.wait_for_metric("tidegate_bytes_total", &inward, 10.0);
    socket.close();
    let closed = [
        ("route", "main"),
        ("upstream", "echo"),
        ("reason", "client_close"),
    ];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &closed, 1.0);
    proxy.wait_for_metric("tidegate_websockets", &live, 0.0);
    proxy.wait_for_metric("tidegate_connections", &[("listener", "public")], 0.0);
    let metrics = proxy.metrics();
    for (family, labels) in [
        (
            "tidegate_handshakes_total",
            &[("route", "main"), ("status", "101")][..],
        ),
        (
            "tidegate_handshake_duration_seconds_count",
            &[("route", "main")],
        ),
        (
            "tidegate_session_duration_seconds_count",
            &[("route", "main")],
        ),
        (
            "tidegate_close_codes_total",
            &[("code", "1000"), ("from", "client")],
        ),
        (
            "tidegate_connections_accepted_total",
            &[("listener", "public")],
        ),
    ] {
        let value = metrics.sum(family, labels);
        assert!((value - 1.0).abs() < 0.5, "{family}{labels:?} = {value}");
    }
}

#[test]
fn control_frames_and_fragments_are_counted_as_what_they_are() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut tunnel = proxy.tunnel();
    tunnel.send_frame(&Frame::client(PING, "1"));
    tunnel.send_frame(&Frame::client(TEXT, "one ").unfinished());
    tunnel.send_frame(&Frame::client(0, "message"));
    for _ in 0..3 {
        tunnel.frame();
    }
    let inward = |kind| [("direction", "to_backend"), ("kind", kind)];
    proxy.wait_for_metric("tidegate_messages_total", &inward("text"), 1.0);
    proxy.wait_for_metric("tidegate_messages_total", &inward("ping"), 1.0);
    proxy.wait_for_metric("tidegate_bytes_total", &[("direction", "to_backend")], 11.0);
    let outward = [("direction", "to_client"), ("kind", "pong")];
    proxy.wait_for_metric("tidegate_messages_total", &outward, 1.0);
}

#[test]
fn figures_move_while_a_frame_is_under_way_and_a_message_counts_at_its_end() {
    let stage = Stage::with("");
    let (mut client, mut backend) = stage.tunnel();
    let first = Frame::server(BINARY, vec![7; 100_000]).unfinished();
    let wire = first.encode();
    let bytes = |value| {
        let labels = [("route", "main"), ("direction", "to_client")];
        stage
            .proxy
            .wait_for_metric("tidegate_bytes_total", &labels, value);
    };
    let messages = |value| {
        let labels = [("direction", "to_client"), ("kind", "binary")];
        stage
            .proxy
            .wait_for_metric("tidegate_messages_total", &labels, value);
    };
    // A header of 10 bytes, half the payload.
    backend.send(&wire[..50_010]);
    client.read_exactly(50_010);
    bytes(50_000.0);
    backend.send(&wire[50_010..]);
    client.read_exactly(50_000);
    bytes(100_000.0);
    messages(0.0);
    backend.send_frame(&Frame::server(CONTINUATION, "end"));
    client.frame();
    bytes(100_003.0);
    messages(1.0);
}

#[test]
fn a_refused_handshake_is_counted_by_its_status() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    proxy.send(Request::upgrade().but("Sec-WebSocket-Version: 8").bytes());
    let labels = [("route", "main"), ("status", "426")];
    proxy.wait_for_metric("tidegate_handshakes_total", &labels, 1.0);
}

#[test]
fn the_build_the_workers_and_the_descriptors_are_named() {
    let echo = Echo::start();
    let metrics = Tidegate::in_front_of(&[&echo]).metrics();
    assert!(metrics.has(
        "tidegate_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))]
    ));
    assert!((metrics.sum("tidegate_workers", &[]) - 2.0).abs() < 0.5);
    assert!(metrics.sum("tidegate_file_descriptors", &[("kind", "used")]) > 3.0);
    assert!(metrics.has("process_resident_memory_bytes", &[]));
}

#[test]
fn the_admin_listener_says_whether_it_lives_and_whether_it_serves() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    assert_eq!(proxy.admin("GET /healthz").status, 200);
    assert_eq!(proxy.admin("GET /readyz").status, 200);
    assert_eq!(proxy.admin("GET /nowhere").status, 404);
    assert_eq!(proxy.admin("POST /metrics").status, 405);
}

#[test]
fn a_foreign_host_hears_403_from_the_admin_listener() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut connection = crate::support::Connection::open(proxy.listener("admin"));
    connection.send("GET /metrics HTTP/1.1\r\nHost: rebound.example\r\n\r\n");
    assert_eq!(connection.answer().status, 403);
}
