//! Frames after the 101: what passes untouched, what ends the session and with which codes
//! (RFC 6455 sections 5 to 7, ATTACKS section F).

use std::sync::mpsc;
use std::time::Duration;

use crate::support::frame::{BINARY, CLOSE, CONTINUATION, Frame, PING, PONG, TEXT};
use crate::support::wait::PATIENCE;
use crate::support::{Backend, Connection, Echo, Setup, Tidegate};

/// A tunnel with both of its ends in the test's hands.
struct Tunnel {
    client: Connection,
    backend: Connection,
    proxy: Tidegate,
    _listening: Backend,
}

impl Tunnel {
    fn open() -> Self {
        Self::with(|setup| setup)
    }

    fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (give, take) = mpsc::channel();
        let listening = Backend::accepting(move |visit| give.send(visit.connection).unwrap());
        let proxy = Tidegate::start(&change(Setup::to(&[&listening])));
        let client = proxy.tunnel();
        let backend = take.recv_timeout(PATIENCE).unwrap();
        Self {
            client,
            backend,
            proxy,
            _listening: listening,
        }
    }

    /// Expects these codes, and the reason once in the metrics.
    #[track_caller]
    fn ends(mut self, name: &str, reason: &str, client: u16, backend: u16) {
        assert_eq!(
            close_code(&mut self.client),
            Some(client),
            "{name}: to the client"
        );
        let (code, masked) = close_and_mask(&mut self.backend);
        assert_eq!(code, Some(backend), "{name}: to the backend");
        assert!(
            masked,
            "{name}: RFC 6455 s5.3: towards a backend we are the client"
        );
        // Nobody answers our Close: hanging up ends the wait for it.
        drop((self.client, self.backend));
        let labels = [("reason", reason), ("route", "main"), ("upstream", "echo")];
        self.proxy
            .wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
    }
}

/// The code of the next Close, past what came before it.
fn close_code(connection: &mut Connection) -> Option<u16> {
    close_and_mask(connection).0
}

fn close_and_mask(connection: &mut Connection) -> (Option<u16>, bool) {
    loop {
        match connection.read_frame() {
            Some(frame) if frame.opcode == CLOSE => {
                return (frame.close_code(), frame.mask.is_some());
            }
            Some(_) => {}
            None => return (None, false),
        }
    }
}

fn with_opcode(opcode: u8, fin: bool) -> Vec<u8> {
    Frame {
        fin,
        ..Frame::client(opcode, "")
    }
    .encode()
}

#[test]
fn a_client_that_breaks_the_framing_hears_1002_and_its_backend_1001() {
    let masked = |head: &[u8]| [head, &[0; 4]].concat();
    let rsv = |rsv| {
        Frame {
            rsv,
            ..Frame::client(TEXT, "x")
        }
        .encode()
    };
    let text = |fin| {
        Frame {
            fin,
            ..Frame::client(TEXT, "x")
        }
        .encode()
    };
    let mut rows: Vec<(String, Vec<u8>)> = [
        ("unmasked", Frame::server(TEXT, "hello").encode()),
        ("rsv1 without an extension", rsv(4)),
        ("rsv2", rsv(2)),
        ("rsv3", rsv(1)),
        ("a ping of 126 bytes", masked(&[0x89, 0xfe, 0, 126])),
        (
            "a pong in the 64-bit form",
            masked(&[0x8a, 0xff, 0, 0, 0, 0, 0, 0, 0, 1]),
        ),
        ("a Close of 126 bytes", masked(&[0x88, 0xfe, 0, 126])),
        (
            "a fragmented ping",
            Frame::client(PING, "").unfinished().encode(),
        ),
        (
            "a fragmented Close",
            Frame::client(CLOSE, "").unfinished().encode(),
        ),
        (
            "the top bit of a length",
            masked(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (
            "16 bits for a length below 126",
            masked(&[0x82, 0xfe, 0, 125]),
        ),
        (
            "64 bits for a length below 65536",
            masked(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
        ),
        ("a continuation first", with_opcode(CONTINUATION, true)),
        (
            "an open continuation first",
            with_opcode(CONTINUATION, false),
        ),
        ("text inside a message", [text(false), text(true)].concat()),
        (
            "a continuation after the end",
            [text(true), with_opcode(CONTINUATION, true)].concat(),
        ),
        ("a Close of one byte", Frame::client(CLOSE, "x").encode()),
        (
            "a Close reason that is no UTF-8",
            Frame::client(CLOSE, [3, 232, 0xc3, 0x28]).encode(),
        ),
        ("plain text", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
    ]
    .map(|(name, bytes)| (name.to_owned(), bytes))
    .into();
    for opcode in (3..=7).chain(11..=15) {
        rows.push((format!("opcode {opcode}"), with_opcode(opcode, true)));
        rows.push((
            format!("opcode {opcode}, not final"),
            with_opcode(opcode, false),
        ));
    }
    // One proxy for all: each row counts once, in order.
    for (name, bytes) in rows {
        let mut tunnel = Tunnel::open();
        tunnel.client.send(bytes);
        tunnel.ends(&name, "client_protocol_error", 1002, 1001);
    }
}

#[test]
fn a_close_code_that_may_not_stand_on_the_wire_is_a_protocol_error() {
    for code in [
        0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535,
    ] {
        let mut tunnel = Tunnel::open();
        tunnel
            .client
            .send_frame(&Frame::client(CLOSE, Frame::close_payload(code, "")));
        tunnel.ends(&code.to_string(), "client_protocol_error", 1002, 1001);
    }
}

#[test]
fn a_backend_that_breaks_the_framing_hears_1002_and_its_client_1014() {
    let rows = [
        ("masked", Frame::client(TEXT, "hello").encode()),
        (
            "rsv1 without an extension",
            Frame {
                rsv: 4,
                ..Frame::server(TEXT, "x")
            }
            .encode(),
        ),
        ("an unknown opcode", Frame::server(3, "").encode()),
        (
            "a long ping",
            [&[0x89, 126, 0, 126][..], &[0; 126]].concat(),
        ),
        (
            "a bad close code",
            Frame::server(CLOSE, Frame::close_payload(1005, "")).encode(),
        ),
    ];
    for (name, bytes) in rows {
        let mut tunnel = Tunnel::open();
        tunnel.backend.send(bytes);
        tunnel.ends(name, "backend_protocol_error", 1014, 1002);
    }
}

#[test]
fn every_close_code_that_may_stand_on_the_wire_passes_both_ways() {
    for code in (1000..=1003)
        .chain(1007..=1014)
        .chain([3000, 3999, 4000, 4999])
    {
        let mut tunnel = Tunnel::open();
        let close = Frame::client(CLOSE, Frame::close_payload(code, "bye"));
        tunnel.client.send_frame(&close);
        assert_eq!(tunnel.backend.frame(), close);
        let answer = Frame::server(CLOSE, Frame::close_payload(code, "bye too"));
        tunnel.backend.send_frame(&answer);
        assert_eq!(tunnel.client.frame(), answer);
        drop(tunnel.backend);
        tunnel.client.expect_end();
        drop(tunnel.client);
        let labels = [("reason", "client_close")];
        tunnel
            .proxy
            .wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
    }
}

#[test]
fn a_close_without_a_code_passes_without_one() {
    let mut tunnel = Tunnel::open();
    tunnel.backend.send_frame(&Frame::server(CLOSE, ""));
    assert_eq!(tunnel.client.frame(), Frame::server(CLOSE, ""));
    let answer = Frame::client(CLOSE, "");
    tunnel.client.send_frame(&answer);
    assert_eq!(tunnel.backend.frame(), answer);
    let labels = [("reason", "backend_close")];
    tunnel
        .proxy
        .wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
}

#[test]
fn nothing_that_follows_a_close_is_forwarded() {
    let mut tunnel = Tunnel::open();
    let close = Frame::client(CLOSE, Frame::close_payload(1000, ""));
    let mut bytes = close.encode();
    bytes.extend(Frame::client(TEXT, "same segment").encode());
    tunnel.client.send(bytes);
    tunnel
        .client
        .send_frame(&Frame::client(PING, "next segment"));
    assert_eq!(tunnel.backend.frame(), close);
    assert!(tunnel.backend.is_silent_for(Duration::from_millis(300)));
    // The backend never answers the Close: both connections end all the same.
    tunnel.client.read_to_end();
    tunnel.backend.expect_end();
}

#[test]
fn the_other_direction_flows_on_until_its_own_close() {
    let mut tunnel = Tunnel::open();
    tunnel
        .client
        .send_frame(&Frame::client(CLOSE, Frame::close_payload(1000, "")));
    assert_eq!(tunnel.backend.frame().close_code(), Some(1000));
    tunnel
        .backend
        .send_frame(&Frame::server(TEXT, "one more thing"));
    assert_eq!(tunnel.client.frame().text(), "one more thing");
    tunnel
        .backend
        .send_frame(&Frame::server(CLOSE, Frame::close_payload(1000, "")));
    assert_eq!(tunnel.client.frame().close_code(), Some(1000));
}

#[test]
fn every_length_passes_byte_for_byte_at_every_cut() {
    let mut tunnel = Tunnel::open();
    for length in [0, 1, 125, 126, 127, 300] {
        for mask in [[0; 4], [0xff; 4], [0x12, 0x34, 0x56, 0x78]] {
            let frame = Frame {
                mask: Some(mask),
                ..Frame::client(BINARY, vec![0x81; length])
            };
            tunnel.client.dribble(frame.encode());
            assert_eq!(tunnel.backend.frame(), frame);
        }
    }
    for length in [65_535, 65_536, 1 << 20] {
        let frame = Frame::client(BINARY, vec![0x81; length]);
        let wire = frame.encode();
        for cut in [1, 2, 3, 9, 10, 13, 14, length / 2] {
            tunnel.client.send(&wire[..cut]);
            tunnel.client.send(&wire[cut..]);
            assert!(
                tunnel.backend.frame() == frame,
                "{length} bytes cut at {cut}"
            );
        }
    }
}

#[test]
fn text_that_is_no_utf8_reaches_the_endpoint_unread() {
    let mut tunnel = Tunnel::open();
    for payload in [
        &b"\xc3\x28"[..],
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"\xe2\x82",
    ] {
        let frame = Frame::client(TEXT, payload);
        tunnel.client.send_frame(&frame);
        assert_eq!(tunnel.backend.frame(), frame);
    }
    let verdict = Frame::server(CLOSE, Frame::close_payload(1007, ""));
    tunnel.backend.send_frame(&verdict);
    assert_eq!(tunnel.client.frame(), verdict);
}

#[test]
fn control_frames_pass_between_fragments() {
    let mut tunnel = Tunnel::open();
    let frames = [
        Frame::client(TEXT, "one ").unfinished(),
        Frame::client(PING, "still there?"),
        Frame::client(CONTINUATION, "two ").unfinished(),
        Frame::client(PONG, "unasked"),
        Frame::client(CONTINUATION, "three"),
    ];
    for frame in &frames {
        tunnel.client.send_frame(frame);
    }
    for frame in frames {
        assert_eq!(tunnel.backend.frame(), frame);
    }
}

#[test]
fn rsv1_passes_where_permessage_deflate_was_negotiated() {
    let backend = Backend::script(|mut visit| {
        let deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n";
        if visit.accept(deflate).is_some() {
            let frame = visit.connection.frame();
            visit.connection.send_frame(&Frame {
                mask: None,
                ..frame
            });
            visit.hold();
        }
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    let mut client = proxy.connect();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    client.send(crate::support::Request::upgrade().with(offer).bytes());
    assert_eq!(client.answer().status, 101);
    client.send_frame(&Frame {
        rsv: 4,
        ..Frame::client(TEXT, "x")
    });
    assert_eq!(
        client.frame(),
        Frame {
            rsv: 4,
            ..Frame::server(TEXT, "x")
        }
    );
}

#[test]
fn a_frame_that_announces_more_than_may_pass_hears_1009_before_it_is_sent() {
    for length in [
        (16_u64 << 20) + 1,
        1 << 32,
        (1 << 53) + 1,
        0x7fff_ffff_ffff_ffff,
    ] {
        let mut tunnel = Tunnel::open();
        let before = tunnel.proxy.process().memory_kib();
        let head = [&[0x82, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
        tunnel.client.send(head);
        assert!(tunnel.proxy.process().memory_kib() < before + 4 * 1024);
        tunnel.ends(&length.to_string(), "message_too_big", 1009, 1009);
    }
}

#[test]
fn a_client_that_hangs_up_without_a_close_takes_its_backend_along() {
    for how in [Connection::reset, drop] {
        let mut tunnel = Tunnel::open();
        tunnel.client.send_frame(&Frame::client(TEXT, "last words"));
        assert_eq!(tunnel.backend.frame().text(), "last words");
        how(tunnel.client);
        tunnel.backend.expect_end();
        drop(tunnel.backend);
        let labels = [("reason", "client_gone")];
        tunnel
            .proxy
            .wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
    }
}

#[test]
fn what_came_before_a_fin_is_delivered() {
    let mut tunnel = Tunnel::open();
    let frame = Frame::client(BINARY, vec![7; 200_000]);
    tunnel.client.send_frame(&frame);
    tunnel.client.finish();
    assert!(tunnel.backend.frame() == frame);
    tunnel.backend.send_frame(&Frame::server(TEXT, "an answer"));
    assert_eq!(tunnel.client.frame().text(), "an answer");
    tunnel.backend.expect_end();
}

#[test]
fn a_backend_that_vanishes_is_a_1014() {
    for how in [Connection::reset, drop] {
        let mut tunnel = Tunnel::open();
        how(tunnel.backend);
        assert_eq!(close_code(&mut tunnel.client), Some(1014));
        tunnel.client.expect_end();
    }
}

#[test]
fn a_backend_that_vanishes_inside_a_frame_cuts_the_client() {
    let mut tunnel = Tunnel::open();
    let wire = Frame::server(BINARY, vec![7; 1000]).encode();
    tunnel.backend.send(&wire[..500]);
    assert_eq!(tunnel.client.read_exactly(500), wire[..500]);
    drop(tunnel.backend);
    // A Close in the middle of a payload would be read as payload.
    tunnel.client.expect_end();
}

#[test]
fn a_client_that_does_not_read_stalls_its_backend_and_nobody_else() {
    let mut tunnel = Tunnel::with(|setup| {
        setup
            .with("listener.public", "")
            .with("upstream.echo", "receive_buffer = \"64KiB\"")
    });
    let before = tunnel.proxy.process().memory_kib();
    let socket = tunnel.backend.tcp().try_clone().unwrap();
    socket
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let frame = Frame::server(BINARY, vec![7; 1 << 20]).encode();
    let sent = (0..64)
        .take_while(|_| tunnel.backend.try_send(&frame).is_ok())
        .count();
    assert!(
        sent < 64,
        "64 MiB were taken for a client that does not read"
    );
    assert!(tunnel.proxy.process().memory_kib() < before + 4 * 1024);
    let echo = Echo::start();
    tunnel.proxy.reload_with(&Setup::to(&[&echo]));
    tunnel.proxy.websocket("/").echo("others flow");
}
