//! How the proxy's own Close ends a session (CONTRACT section 4, last paragraph): after the message under way,
//! before a deadline nobody can move, and with nothing behind it.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::flow::{Flow, Sending};
use crate::support::frame::{BINARY, CLOSE, CONTINUATION, Frame, TEXT};
use crate::support::stage::last_word;
use crate::support::{Connection, Rest, Stage};

/// How long a closing handshake may take, and how much a busy machine may add.
const CLOSING: Duration = Duration::from_secs(5);
const SLACK: Duration = Duration::from_secs(3);

fn stage() -> Stage {
    Stage::with("ping_interval = \"off\"")
}

#[test]
fn a_message_that_ends_within_a_second_is_let_through_first() {
    let stage = stage();
    let (mut client, mut backend) = stage.tunnel();
    let down = [
        Frame::server(TEXT, "one ").unfinished(),
        Frame::server(CONTINUATION, "message"),
    ];
    let up = [
        Frame::client(TEXT, "another ").unfinished(),
        Frame::client(CONTINUATION, "message"),
    ];
    backend.send_frame(&down[0]);
    client.send_frame(&up[0]);
    assert_eq!(client.frame(), down[0]);
    assert_eq!(backend.frame(), up[0]);
    stage.remove_server();
    backend.send_frame(&down[1]);
    client.send_frame(&up[1]);
    assert_eq!(client.frame(), down[1]);
    assert_eq!(client.frame().close_code(), Some(1012));
    assert_eq!(backend.frame(), up[1]);
    assert_eq!(backend.frame().close_code(), Some(1001));
}

#[test]
fn after_a_second_the_close_stands_between_the_fragments() {
    let stage = stage();
    let (mut client, mut backend) = stage.tunnel();
    let begun = Frame::server(TEXT, "never ").unfinished();
    backend.send_frame(&begun);
    assert_eq!(client.frame(), begun);
    let start = Instant::now();
    stage.remove_server();
    // The direction without a message under way is told at once.
    assert_eq!(backend.frame().close_code(), Some(1001));
    assert_eq!(client.frame().close_code(), Some(1012));
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900), "{took:?}");
    assert!(took < CLOSING, "{took:?}");
}

#[test]
fn a_direction_that_stopped_inside_a_frame_is_cut() {
    let stage = stage();
    let (mut client, mut backend) = stage.tunnel();
    let wire = Frame::server(BINARY, vec![7; 1000]).encode();
    backend.send(&wire[..500]);
    assert_eq!(client.read_exactly(500), wire[..500]);
    let start = Instant::now();
    stage.remove_server();
    assert_eq!(backend.frame().close_code(), Some(1001));
    client.expect_end();
    assert!(start.elapsed() < CLOSING + SLACK, "{:?}", start.elapsed());
    stage.ended(1.0, "server_drain");
}

#[test]
fn nothing_of_the_other_peer_follows_the_proxys_close() {
    let stage = stage();
    let (mut client, mut backend) = stage.tunnel();
    stage.remove_server();
    assert_eq!(client.frame().close_code(), Some(1012));
    assert_eq!(backend.frame().close_code(), Some(1001));
    backend.send_frame(&Frame::server(TEXT, "too late"));
    client.send_frame(&Frame::client(TEXT, "too late"));
    backend.send_frame(&Frame::server(CLOSE, Frame::close_payload(1001, "")));
    client.send_frame(&Frame::client(CLOSE, Frame::close_payload(1012, "")));
    client.expect_end();
    backend.expect_end();
}

#[test]
fn a_peer_that_never_answers_the_close_is_left_after_five_seconds() {
    let stage = stage();
    let rest = Rest::of(&stage.proxy);
    let (mut client, mut backend) = stage.tunnel();
    stage.remove_server();
    let start = Instant::now();
    assert_eq!(client.frame().close_code(), Some(1012));
    assert_eq!(backend.frame().close_code(), Some(1001));
    client.expect_end();
    backend.expect_end();
    let took = start.elapsed();
    assert!(took < CLOSING + SLACK, "{took:?}");
    rest.is_back(&stage.proxy);
}

/// Whoever does not read, and whoever keeps sending: a closing session ends in time.
#[test]
fn a_stalled_peer_cannot_hold_a_closing_session_past_its_deadline() {
    let stage = stage();
    let rest = Rest::of(&stage.proxy);
    let (deaf_client, loud_backend) = stage.tunnel();
    let (loud_client, deaf_backend) = stage.tunnel();
    let floods = [
        Flow::of_server(64).send_over(&loud_backend),
        Flow::of_client(64).send_over(&loud_client),
    ];
    floods.iter().for_each(Sending::wait_for_stall);
    let start = Instant::now();
    stage.remove_server();
    stage.ended(2.0, "server_drain");
    let took = start.elapsed();
    assert!(took < CLOSING + SLACK, "{took:?}");
    rest.is_back(&stage.proxy);
    drop((deaf_client, deaf_backend));
    for flood in floods {
        // Cut in the middle.
        flood.sum();
    }
}

#[test]
fn a_peer_that_keeps_sending_after_the_close_gets_no_more_time() {
    let stage = stage();
    let rest = Rest::of(&stage.proxy);
    let (mut client, backend) = stage.tunnel();
    let mut reader = client.tcp().try_clone().map(Connection::over).unwrap();
    let chatter = thread::spawn(move || {
        let frame = Frame::client(TEXT, "and another thing").encode();
        while client.try_send(&frame).is_ok() {}
    });
    let listener = thread::spawn(move || {
        let mut backend = backend;
        last_word(&mut backend)
    });
    let start = Instant::now();
    stage.remove_server();
    assert_eq!(reader.frame().close_code(), Some(1012));
    assert_eq!(listener.join().unwrap(), Some(1001));
    chatter.join().unwrap();
    assert!(start.elapsed() < CLOSING + SLACK, "{:?}", start.elapsed());
    stage.ended(1.0, "server_drain");
    rest.is_back(&stage.proxy);
}
