//! What passes, and that nothing else does.

use super::*;
use crate::logic::websocket::frame::Violation;

#[test]
fn every_payload_length_passes_unchanged_in_one_byte_reads_and_at_every_cut() {
    for from in Side::BOTH {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let sent = frame(from, true, Opcode::Binary, &vec![0xa5; len]);
            let mut rig = Rig::new(quiet());
            rig.trickle(from, &sent);
            assert_eq!(
                rig.reached[from.other()],
                sent,
                "{len} bytes from {from:?}, a byte a read"
            );
            let step = (sent.len() / 300).max(1);
            for cut in (0..sent.len()).step_by(step) {
                let mut rig = Rig::new(quiet());
                rig.feed(from, &sent[..cut]);
                rig.feed(from, &sent[cut..]);
                assert_eq!(
                    rig.reached[from.other()],
                    sent,
                    "{len} bytes from {from:?}, cut at {cut}"
                );
            }
        }
    }
}

#[test]
fn masking_keys_and_payloads_are_left_alone() {
    for key in [[0; 4], [0xff; 4], [1, 2, 3, 4]] {
        let header = Header {
            fin: true,
            rsv1: false,
            opcode: Opcode::Text,
            mask: Some(key),
            payload_len: 2,
        };
        let mut sent = [0; Header::MAX_LEN];
        let len = header.write(&mut sent);
        let mut rig = Rig::new(quiet());
        // Not UTF-8: what a text says is the endpoints' business.
        let sent = [&sent[..len], &[0xc3, 0x28]].concat();
        rig.feed(Client, &sent);
        assert_eq!(rig.reached.backend, sent);
    }
}

#[test]
fn half_a_header_waits_and_never_goes_out() {
    let sent = frame(Client, true, Opcode::Binary, &[7; 300]);
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &sent[..7]);
    assert!(rig.reached.backend.is_empty());
    assert_eq!(rig.session.held(Client), &sent[..7]);
    rig.feed(Client, &sent[7..8]);
    assert_eq!(rig.reached.backend, &sent[..8]);
    assert!(rig.session.held(Client).is_empty());
}

#[test]
fn a_control_frame_waits_until_it_is_whole() {
    let sent = frame(Client, true, Opcode::Ping, &[7; 125]);
    let mut rig = Rig::new(quiet());
    rig.trickle(Client, &sent[..130]);
    assert!(rig.reached.backend.is_empty());
    rig.feed(Client, &sent[130..]);
    assert_eq!(rig.reached.backend, sent);
}

#[test]
fn a_violation_of_the_clients_is_1002_to_it_and_1001_to_the_backend() {
    let masked = |bytes: &[u8]| bytes.to_vec();
    for (sent, violation) in [
        (masked(b"\x81\x05hello"), Violation::Unmasked),
        (
            masked(b"GET /secret/x HTTP/1.1\r\nHost: a\r\n\r\n"),
            Violation::ReservedOpcode(7),
        ),
        (masked(&[0x89, 0xfe, 0, 126]), Violation::OversizedControl),
        (masked(&[0x80, 0x80]), Violation::NothingToContinue),
        (close(Client, 1005), Violation::BadCloseCode(1005)),
        (
            frame(Client, true, Opcode::Close, &[3]),
            Violation::HalfCloseCode,
        ),
        (
            frame(Client, true, Opcode::Close, &[3, 0xe8, 0xc3, 0x28]),
            Violation::BadCloseReason,
        ),
    ] {
        let mut rig = Rig::new(quiet());
        rig.feed(Client, &[text(Client, "good"), sent].concat());
        assert_eq!(
            rig.reason(),
            Some(EndReason::ClientProtocolError),
            "{violation}"
        );
        assert_eq!(rig.session.violation(), Some(violation));
        assert_eq!(
            (rig.closes(Client), rig.closes(Backend)),
            (vec![1002], vec![1001])
        );
        assert_eq!(rig.seen(Backend).len(), 2, "the good message and the Close");
        assert_eq!(rig.outputs(), (Output::Finish, Output::Open));
    }
}

#[test]
fn a_violation_of_the_backends_is_1014_to_the_client_and_1002_to_it() {
    for sent in [
        &b"\x81\x85\0\0\0\0hello"[..],
        b"HTTP/1.1 200 OK\r\n\r\n",
        &[0x83],
        &[0x88, 1],
    ] {
        let mut rig = Rig::new(quiet());
        rig.feed(Backend, sent);
        assert_eq!(rig.reason(), Some(EndReason::BackendProtocolError));
        assert_eq!(
            (rig.closes(Client), rig.closes(Backend)),
            (vec![1014], vec![1002])
        );
        assert_eq!(rig.outputs(), (Output::Open, Output::Finish));
    }
}

#[test]
fn what_follows_a_violation_is_read_and_forgotten() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &[0x83]);
    let reached = rig.reached.clone();
    rig.feed(Client, &text(Client, "late"));
    rig.feed(Client, &close(Client, 1000));
    assert_eq!(rig.reached, reached);
    assert!(rig.session.held(Client).is_empty());
}

#[test]
fn every_legal_close_code_passes_and_every_other_is_a_violation() {
    for code in 0..=u16::MAX {
        let legal = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let mut rig = Rig::new(quiet());
        rig.feed(Backend, &close(Backend, code));
        assert_eq!(rig.closes(Client), [if legal { code } else { 1014 }]);
    }
}

#[test]
fn pings_and_pongs_of_the_peers_pass_end_to_end_also_between_fragments() {
    let sent = [
        frame(Client, false, Opcode::Text, b"a"),
        frame(Client, true, Opcode::Ping, b"mine"),
        frame(Client, true, Opcode::Pong, b"12345678"),
        frame(Client, true, Opcode::Continuation, b"b"),
    ]
    .concat();
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &sent);
    assert_eq!(rig.reached.backend, sent);
}

#[test]
fn the_tally_counts_messages_by_their_final_frame_and_payload_as_it_passes() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &frame(Client, false, Opcode::Text, b"abc"));
    assert_eq!(
        (
            rig.session.tally().client.text,
            rig.session.tally().client.payload_bytes
        ),
        (0, 3)
    );
    rig.feed(Client, &frame(Client, true, Opcode::Continuation, b"de"));
    rig.feed(Client, &frame(Client, true, Opcode::Binary, b""));
    rig.feed(Client, &frame(Client, true, Opcode::Ping, b"x"));
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Binary, &[0; 99])[..50],
    );
    rig.feed(Backend, &[0; 51]);
    rig.feed(Backend, &close(Backend, 1000));
    let (client, backend) = (rig.session.tally().client, rig.session.tally().backend);
    assert_eq!(
        (
            client.text,
            client.binary,
            client.ping,
            client.payload_bytes
        ),
        (1, 1, 1, 5)
    );
    assert_eq!(client.messages(), 2);
    assert_eq!(
        (backend.binary, backend.close, backend.payload_bytes),
        (1, 1, 99)
    );
}

#[test]
fn a_compressed_message_passes_where_compression_was_negotiated() {
    let sent = [0xc1, 0x03, 1, 2, 3];
    let mut rig = Rig::with(quiet(), Extensions { rsv1: true });
    rig.feed(Backend, &sent);
    assert_eq!(rig.reached.client, sent);
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &sent);
    assert_eq!(
        rig.session.violation(),
        Some(Violation::ReservedBits(0b100))
    );
}

#[test]
fn a_session_is_small() {
    assert!(
        size_of::<Session>() <= 400,
        "{} bytes",
        size_of::<Session>()
    );
}
