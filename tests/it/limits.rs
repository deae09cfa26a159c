//! What a session may carry (CONTRACT section 2: `max_frame`, `max_message`, `client_messages`, `client_bytes`):
//! exactly the limit passes, one more does not, and throttling loses nothing.

use std::thread;
use std::time::{Duration, Instant};

use crate::support::frame::{BINARY, CONTINUATION, Frame, PING, PONG, TEXT};
use crate::support::stage::last_word;
use crate::support::{Connection, Stage};

/// What a side sends.
type Make = fn(u8, Vec<u8>) -> Frame;

const SIDES: [(&str, Make); 2] = [
    ("the client", |opcode, payload| {
        Frame::client(opcode, payload)
    }),
    ("the backend", |opcode, payload| {
        Frame::server(opcode, payload)
    }),
];

/// Sends frames from one side; says what came of them on the other, and what both heard in the end.
#[track_caller]
fn both_ways(stage: &Stage, frames: impl Fn(Make) -> Vec<Frame>, passing: usize, case: &str) {
    for (side, make) in SIDES {
        let (client, backend) = stage.tunnel();
        let (mut from, mut to) = match side {
            "the client" => (client, backend),
            _ => (backend, client),
        };
        let frames = frames(make);
        for frame in &frames {
            from.send_frame(frame);
        }
        for frame in &frames[..passing] {
            assert!(to.frame() == *frame, "{case} from {side}");
        }
        if passing < frames.len() {
            assert_eq!(last_word(&mut to), Some(1009), "{case} from {side}");
            assert_eq!(last_word(&mut from), Some(1009), "{case} from {side}");
        } else {
            assert!(to.is_silent_for(Duration::from_millis(50)));
        }
    }
}

#[test]
fn a_frame_of_just_max_frame_passes_and_one_byte_more_is_1009() {
    for limit in [125, 126, 65_535, 65_536] {
        let stage = Stage::with(&format!("max_frame = {limit}\nmax_message = \"1MiB\""));
        let frame = |size| move |make: Make| vec![make(BINARY, vec![7; size])];
        both_ways(&stage, frame(limit), 1, &format!("{limit}"));
        both_ways(&stage, frame(limit + 1), 0, &format!("{limit} + 1"));
        // Two frames of the limit make one message that is no larger than allowed.
        let message = |make: Make| {
            vec![
                make(BINARY, vec![7; limit]).unfinished(),
                make(CONTINUATION, vec![7; limit]),
            ]
        };
        both_ways(&stage, message, 2, &format!("twice {limit}"));
    }
}

#[test]
fn a_message_of_just_max_message_passes_and_one_byte_more_is_1009() {
    let stage = Stage::with("max_message = 1000");
    let whole = |size| move |make: Make| vec![make(BINARY, vec![7; size])];
    both_ways(&stage, whole(1000), 1, "1000 in one");
    both_ways(&stage, whole(1001), 0, "1001 in one");
    let in_three = |last| {
        move |make: Make| {
            vec![
                make(TEXT, vec![b'x'; 400]).unfinished(),
                make(CONTINUATION, vec![b'x'; 400]).unfinished(),
                // Control frames are no part of it.
                make(PING, vec![7; 125]),
                make(CONTINUATION, vec![b'x'; last]),
            ]
        }
    };
    both_ways(&stage, in_three(200), 4, "1000 in three");
    both_ways(&stage, in_three(201), 3, "1001 in three");
}

#[test]
fn throttled_messages_come_late_in_order_and_all_of_them() {
    let stage = Stage::with("client_messages = \"50/s burst 5\"\non_excess = \"throttle\"");
    let (mut client, mut backend) = stage.tunnel();
    let texts: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
    let begun = Instant::now();
    let wire: Vec<u8> = texts
        .iter()
        .flat_map(|text| Frame::client(TEXT, text).encode())
        .collect();
    client.send(wire);
    for text in &texts {
        assert_eq!(backend.frame().text(), text);
    }
    // 5 at once, 35 at 50/s.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(650), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    backend.send_frame(&Frame::server(TEXT, "the other way is free"));
    assert_eq!(client.frame().text(), "the other way is free");
}

#[test]
fn a_throttled_client_stalls_and_costs_no_processor_time() {
    let stage = Stage::with("client_messages = \"5/s burst 1\"\non_excess = \"throttle\"");
    let (mut client, mut backend) = stage.tunnel();
    let socket = client.tcp().try_clone().unwrap();
    socket
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let message = Frame::client(BINARY, vec![7; 32 << 10]).encode();
    let taken = (0..2000)
        .take_while(|_| client.try_send(&message).is_ok())
        .count();
    assert!(taken < 2000, "64 MB were read of a throttled client");
    let (begun, before) = (Instant::now(), stage.proxy.process().busy());
    for _ in 0..5 {
        assert_eq!(backend.frame().payload.len(), 32 << 10);
    }
    let (took, busy) = (begun.elapsed(), stage.proxy.process().busy() - before);
    assert!(busy < took / 10, "{busy:?} of {took:?}");
}

#[test]
fn control_frames_and_the_backends_messages_are_not_rated() {
    let stage = Stage::with("client_messages = \"1/s burst 1\"");
    let (mut client, mut backend) = stage.tunnel();
    client.send_frame(&Frame::client(TEXT, "the only one"));
    assert_eq!(backend.frame().text(), "the only one");
    for opcode in [PING, PONG].repeat(10) {
        client.send_frame(&Frame::client(opcode, "free"));
        assert_eq!(backend.frame().opcode, opcode);
    }
    for _ in 0..20 {
        backend.send_frame(&Frame::server(TEXT, "free"));
        assert_eq!(client.frame().text(), "free");
    }
    client.send_frame(&Frame::client(TEXT, "one too many"));
    assert_eq!(last_word(&mut client), Some(1008));
    assert_eq!(last_word(&mut backend), Some(1001));
}

#[test]
fn a_fragmented_message_is_one() {
    let stage = Stage::with("client_messages = \"1/s burst 2\"");
    let (mut client, mut backend) = stage.tunnel();
    let mut frames = vec![Frame::client(TEXT, "one").unfinished()];
    frames.extend((0..20).map(|_| Frame::client(CONTINUATION, "more").unfinished()));
    frames.push(Frame::client(CONTINUATION, "last"));
    for frame in &frames {
        client.send_frame(frame);
    }
    for frame in &frames {
        assert_eq!(backend.frame(), *frame);
    }
}

#[test]
fn bytes_beyond_their_rate_come_late_and_all_of_them() {
    // Half a MiB a second, 64 KiB at once, 64 KiB of overshoot.
    let stage = Stage::with("client_bytes = \"512KiB/s burst 64KiB\"");
    let (mut client, mut backend) = stage.tunnel();
    let frame = Frame::client(BINARY, pattern(640 << 10));
    let begun = Instant::now();
    let sender = thread::spawn({
        let wire = frame.encode();
        move || {
            client.try_send(&wire).unwrap();
            client
        }
    });
    assert!(backend.frame() == frame);
    // 640 KiB less 128 at 512 KiB/s.
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(950), "{took:?}");
    assert!(took < Duration::from_secs(6), "{took:?}");
    let mut client: Connection = sender.join().unwrap();
    backend.send_frame(&Frame::server(TEXT, "never closed"));
    assert_eq!(client.frame().text(), "never closed");
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|at| at.to_le_bytes()[at % 3]).collect()
}
