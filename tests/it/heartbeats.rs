//! The proxy's own pings (CONTRACT section 2: `ping_interval`, `ping_timeout`, `ping_backend`): who gets them,
//! what stands for an answer, and that nobody but the pinged peer ever sees anything of them.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::frame::{BINARY, CONTINUATION, Frame, PING, PONG, TEXT};
use crate::support::peers::Library::{self, Node, Python};
use crate::support::wait::wait_until;
use crate::support::{Connection, Puppet, Setup, Stage, Tidegate};

/// Often, with all the time in the world to answer.
const OFTEN: &str = "ping_interval = \"30ms\"\nping_timeout = \"60s\"";

/// The next frame that is no ping of the proxy's own; those are answered.
#[track_caller]
fn next_but_pings(connection: &mut Connection) -> Frame {
    loop {
        let frame = connection.frame();
        if !is_ours(&frame) {
            return frame;
        }
        connection.send_frame(&pong(&frame));
    }
}

/// Whether it looks like a ping of the proxy's own; the tests send none like it where that matters.
fn is_ours(frame: &Frame) -> bool {
    frame.opcode == PING && frame.payload.len() == 8
}

/// A pong as this end would send it.
fn pong(ping: &Frame) -> Frame {
    match ping.mask {
        Some(_) => Frame::server(PONG, &ping.payload),
        None => Frame::client(PONG, &ping.payload),
    }
}

fn round_trips(proxy: &Tidegate, side: &str) -> f64 {
    let labels = [("route", "main"), ("side", side)];
    proxy
        .metrics()
        .sum("tidegate_ping_rtt_seconds_count", &labels)
}

#[test]
fn the_pongs_the_proxy_asked_for_are_taken_out_and_all_others_pass() {
    let stage = Stage::with(OFTEN);
    let (mut client, mut backend) = stage.tunnel();
    let foreign = [
        Frame::client(PONG, ""),
        Frame::client(PONG, "unasked"),
        Frame::client(PONG, [0; 8]),
        Frame::client(PING, "of its own"),
        Frame::client(PING, [7; 8]),
        Frame::client(TEXT, "and a message"),
    ];
    for frame in &foreign {
        let ping = client.frame();
        assert!(is_ours(&ping) && ping.mask.is_none(), "{ping:?}");
        // In one segment, so that what is taken out stands between what passes.
        let wire = [frame.encode(), pong(&ping).encode(), frame.encode()].concat();
        client.send(wire);
    }
    for frame in foreign.iter().flat_map(|frame| [frame, frame]) {
        assert_eq!(backend.frame(), *frame);
    }
}

#[test]
fn a_pong_the_backend_was_asked_for_is_taken_out_and_all_others_pass() {
    let stage = Stage::with(&format!("{OFTEN}\nping_backend = true"));
    let (mut client, mut backend) = stage.tunnel();
    let ping = backend.frame();
    assert!(is_ours(&ping), "{ping:?}");
    assert!(ping.mask.is_some(), "RFC 6455 s5.3");
    let foreign = [
        Frame::server(PONG, [0; 8]),
        Frame::server(TEXT, "after the pong"),
    ];
    backend.send_frame(&foreign[0]);
    backend.send_frame(&pong(&ping));
    backend.send_frame(&foreign[1]);
    for frame in foreign {
        assert_eq!(next_but_pings(&mut client), frame);
    }
}

#[test]
fn a_late_pong_is_still_the_proxys_own() {
    let stage = Stage::with(OFTEN);
    let (mut client, mut backend) = stage.tunnel();
    let first = client.frame();
    // A sign of life in place of the answer, so that there is a second ping.
    client.send_frame(&Frame::client(TEXT, "busy"));
    let second = client.frame();
    assert_ne!(first.payload, second.payload);
    client.send_frame(&pong(&first));
    client.send_frame(&pong(&second));
    client.send_frame(&pong(&second));
    client.send_frame(&Frame::client(TEXT, "done"));
    assert_eq!(backend.frame().text(), "busy");
    assert_eq!(backend.frame().text(), "done");
}

#[test]
fn a_ping_of_a_peer_passes_end_to_end() {
    let stage = Stage::with("ping_interval = \"off\"");
    let (mut client, mut backend) = stage.tunnel();
    let ping = Frame::server(PING, "backend to client");
    backend.send_frame(&ping);
    assert_eq!(client.frame(), ping);
    client.send_frame(&pong(&ping));
    assert_eq!(backend.frame(), pong(&ping));
    let ping = Frame::client(PING, "client to backend");
    client.send_frame(&ping);
    assert_eq!(backend.frame(), ping);
    backend.send_frame(&pong(&ping));
    assert_eq!(client.frame(), pong(&ping));
    assert!(round_trips(&stage.proxy, "client") < 0.5);
}

#[test]
fn foreign_peers_that_answer_stay_and_their_round_trips_are_measured() {
    let play = |client, server: Library| {
        let server = server.serve(None);
        let lines = "ping_interval = \"50ms\"\nping_timeout = \"5s\"\nping_backend = true";
        let proxy = Tidegate::start(&Setup::to(&[&server]).with("route.websocket", lines));
        let mut puppet = Puppet::open(client, &format!("ws://{}/", proxy.address()));
        for side in ["client", "backend"] {
            wait_until(&format!("round trips to the {side}"), || {
                round_trips(&proxy, side) >= 5.0
            });
        }
        puppet.echoes("still here");
        // None of it was counted as the peers' traffic.
        for kind in ["ping", "pong"] {
            let count = proxy
                .metrics()
                .sum("tidegate_messages_total", &[("kind", kind)]);
            assert!(count < 0.5, "{count} frames counted as {kind}");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| play(Python, Node));
        play(Node, Python);
    });
}

#[test]
fn a_client_that_is_heard_is_not_pinged() {
    let stage = Stage::with("ping_interval = \"1s\"");
    let (mut client, mut backend) = stage.tunnel();
    let end = Instant::now() + Duration::from_millis(2500);
    let hello = Frame::client(TEXT, "hello");
    while Instant::now() < end {
        client.send_frame(&hello);
        assert_eq!(backend.frame(), hello);
        let silent = client.is_silent_for(Duration::from_millis(20));
        assert!(silent, "something came: {:?}", client.frame());
    }
}

#[test]
fn a_ping_never_stands_inside_a_frame_but_may_stand_between_fragments() {
    let stage = Stage::with(OFTEN);
    let (mut clock, _its_backend) = stage.tunnel();
    let (mut client, mut backend) = stage.tunnel();
    let first = Frame::server(BINARY, [7; 1000]).unfinished();
    let last = Frame::server(CONTINUATION, "");
    let wire = first.encode();
    for cut in [1, 2, 3, 4, 5, 500, wire.len() - 1] {
        backend.send(&wire[..cut]);
        three_beats(&mut clock);
        backend.send(&wire[cut..]);
        // A ping inside would be read as payload.
        assert_eq!(next_but_pings(&mut client), first, "cut at {cut}");
        let ping = client.frame();
        assert!(is_ours(&ping), "between the fragments: {ping:?}");
        client.send_frame(&pong(&ping));
        backend.send_frame(&last);
        assert_eq!(next_but_pings(&mut client), last);
    }
}

/// Waits until another session was pinged three times.
fn three_beats(clock: &mut Connection) {
    for _ in 0..3 {
        let ping = clock.frame();
        assert!(is_ours(&ping), "{ping:?}");
        clock.send_frame(&pong(&ping));
    }
}

#[test]
fn the_proxys_own_pings_do_not_keep_an_idle_session() {
    let lines = "idle_timeout = \"600ms\"\nping_interval = \"50ms\"\nping_backend = true";
    let stage = Stage::with(lines);
    let begun = Instant::now();
    let (client, mut backend) = stage.foreign(Node);
    // The backend answers its pings, as the client does.
    let code = loop {
        let frame = backend.frame();
        if frame.opcode == PING {
            backend.send_frame(&pong(&frame));
        } else {
            backend.send_frame(&Frame::server(frame.opcode, &frame.payload));
            break frame.close_code();
        }
    };
    drop(backend);
    assert_eq!(code, Some(1001));
    assert_eq!(client.closed(), 1001);
    assert!(begun.elapsed() >= Duration::from_millis(600));
    assert!(client.count("ping") >= 3, "it was pinged all the while");
    stage.ended(1.0, "idle_timeout");
    for side in ["client", "backend"] {
        assert!(round_trips(&stage.proxy, side) >= 3.0, "{side}");
    }
}

#[test]
fn a_silent_client_is_cut_after_interval_and_timeout_and_not_before() {
    let stage = Stage::with("ping_interval = \"200ms\"\nping_timeout = \"300ms\"");
    let (mut client, mut backend) = stage.tunnel();
    client.send_frame(&Frame::client(TEXT, "the last sign of life"));
    let begun = Instant::now();
    assert_eq!(client.frame().opcode, PING);
    assert!(
        begun.elapsed() >= Duration::from_millis(150),
        "{:?}",
        begun.elapsed()
    );
    // Cut, without a Close.
    client.expect_end();
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(450), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_eq!(backend.frame().opcode, TEXT);
    assert_eq!(backend.frame().close_code(), Some(1001));
}
