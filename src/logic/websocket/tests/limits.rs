//! Sizes and rates.

use super::*;

#[test]
fn a_frame_of_exactly_the_limit_passes_and_one_byte_more_is_1009_to_both() {
    for from in Side::BOTH {
        let limits = Settings {
            max_frame_bytes: 1000,
            max_message_bytes: 5000,
            ..quiet()
        };
        let mut rig = Rig::new(limits);
        rig.feed(from, &frame(from, true, Opcode::Binary, &[0; 1000]));
        assert_eq!(rig.reason(), None);
        let before = rig.reached[from.other()].len();
        rig.feed(from, &frame(from, true, Opcode::Binary, &[0; 1001]));
        assert_eq!(rig.reason(), Some(EndReason::MessageTooBig));
        assert_eq!(
            (rig.closes(Client), rig.closes(Backend)),
            (vec![1009], vec![1009])
        );
        let close_len = if from == Client { 8 } else { 4 };
        assert_eq!(
            rig.reached[from.other()].len(),
            before + close_len,
            "nothing of it passed"
        );
    }
}

#[test]
fn fragments_count_together() {
    let limits = Settings {
        max_frame_bytes: 1000,
        max_message_bytes: 2000,
        ..quiet()
    };
    let begin = frame(Client, false, Opcode::Text, &[b'a'; 1000]);
    let mut rig = Rig::new(limits.clone());
    rig.feed(Client, &begin);
    rig.feed(
        Client,
        &frame(Client, true, Opcode::Continuation, &[b'a'; 1000]),
    );
    rig.feed(Client, &begin);
    assert_eq!(rig.reason(), None);
    rig.feed(
        Client,
        &frame(Client, true, Opcode::Continuation, &[b'a'; 1001]),
    );
    assert_eq!(rig.reason(), Some(EndReason::MessageTooBig));
    let mut rig = Rig::new(limits);
    rig.feed(Client, &begin);
    rig.feed(
        Client,
        &frame(Client, false, Opcode::Continuation, &[b'a'; 1000]),
    );
    rig.feed(Client, &frame(Client, true, Opcode::Continuation, b"a"));
    assert_eq!(rig.closes(Backend), [1009]);
}

#[test]
fn announced_sizes_are_refused_before_a_byte_of_them_came() {
    for len in [(16 << 20) + 1, 1 << 32, (1 << 53) + 1, u64::MAX >> 1] {
        let mut header = [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
        header[2..10].copy_from_slice(&u64::to_be_bytes(len));
        let mut rig = Rig::new(quiet());
        rig.feed(Client, &header);
        assert_eq!(rig.closes(Client), [1009], "{len}");
    }
}

#[test]
fn the_answer_to_1009_is_heard_behind_the_frame_that_was_too_big() {
    let mut rig = Rig::new(Settings {
        max_frame_bytes: 10,
        ..quiet()
    });
    rig.feed(
        Client,
        &[text(Client, "far too long a text"), close(Client, 1009)].concat(),
    );
    assert_eq!(rig.outputs().0, Output::Finish);
    assert_eq!(rig.closes(Backend), [1009]);
}

#[test]
fn a_burst_of_exactly_the_allowed_messages_passes_and_the_next_is_1008() {
    let rates = Settings {
        client_messages: Some(rate(50, 100)),
        ..quiet()
    };
    let mut rig = Rig::new(rates);
    rig.feed(Client, &text(Client, "m").repeat(100));
    assert_eq!(rig.reason(), None);
    rig.feed(
        Client,
        &frame(Client, true, Opcode::Ping, b"free").repeat(50),
    );
    rig.feed(Client, &text(Client, "m"));
    assert_eq!(rig.reason(), Some(EndReason::RateExceeded));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![1008], vec![1001])
    );
    assert_eq!(rig.session.tally().client.messages(), 100);
}

#[test]
fn a_message_too_many_is_refused_by_its_header() {
    let mut rig = Rig::new(Settings {
        client_messages: Some(rate(1, 1)),
        ..quiet()
    });
    let message = frame(Client, true, Opcode::Binary, &[0; 100]);
    rig.feed(Client, &[&message[..], &message[..50]].concat());
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![1008], vec![1001])
    );
    rig.feed(Client, &[&message[50..], &close(Client, 1008)].concat());
    assert_eq!(rig.outputs().0, Output::Finish);
}

#[test]
fn a_message_too_many_is_1008_however_much_comes_behind_it() {
    let limits = Settings {
        client_messages: Some(rate(10, 2)),
        ..quiet()
    };
    let large = frame(Client, true, Opcode::Binary, &[7; 2 * Session::HEADROOM]);
    let mut rig = Rig::new(limits);
    rig.feed(Client, &large.repeat(3));
    assert_eq!(rig.reason(), Some(EndReason::RateExceeded));
    assert_eq!(rig.closes(Client), [1008]);
    let passed = rig.reached[Backend].len();
    assert!(passed < 3 * large.len(), "the third one passed");
}

#[test]
fn messages_at_the_rate_pass_for_ever() {
    let mut rig = Rig::new(Settings {
        client_messages: Some(rate(50, 1)),
        ..quiet()
    });
    for _ in 0..1000 {
        rig.trickle(Client, &text(Client, "m"));
        rig.wait(Duration::from_millis(20));
    }
    assert_eq!(rig.reason(), None);
}

fn throttled() -> Settings {
    Settings {
        client_messages: Some(rate(50, 100)),
        on_excess: OnExcess::Throttle,
        ..quiet()
    }
}

/// Lets time go by and gives withheld messages their turn, as the relay does.
fn drain(rig: &mut Rig, time: Duration) {
    let until = rig.now + time;
    while let Some(deadline) = rig.session.deadline().filter(|&deadline| deadline <= until) {
        let step = deadline.saturating_duration_since(rig.now);
        rig.wait(step);
        while rig.session.resumes(Client) {
            rig.turn();
        }
    }
    let rest = until - rig.now;
    rig.wait(rest);
}

impl Rig {
    fn turn(&mut self) {
        let mut chunk = self.session.held(Client).to_vec();
        let passed = self.session.receive(Client, &mut chunk, self.now);
        self.reached.backend.extend_from_slice(&chunk[..passed]);
        self.inject();
    }
}

#[test]
fn a_throttled_client_keeps_to_its_rate_and_loses_nothing() {
    let sent = text(Client, "a message").repeat(300);
    let mut rig = Rig::new(throttled());
    assert!(sent.len() <= rig.session.read_limit(Client));
    rig.feed(Client, &sent);
    assert_eq!(rig.session.tally().client.messages(), 100);
    assert!(!rig.session.reads(Client));
    drain(&mut rig, Duration::from_secs(2));
    assert_eq!(rig.session.tally().client.messages(), 200);
    drain(&mut rig, Duration::from_secs(2));
    assert_eq!(rig.reached.backend, sent);
    assert!(rig.session.reads(Client));
    assert_eq!(rig.session.deadline(), None);
}

#[test]
fn a_throttled_client_does_not_read_as_dead() {
    let mut rig = Rig::new(Settings {
        client_messages: Some(rate(1, 1)),
        ping_interval: Some(Duration::from_secs(5)),
        ping_timeout: Duration::from_secs(5),
        ..throttled()
    });
    rig.feed(Client, &text(Client, "m").repeat(60));
    drain(&mut rig, Duration::from_secs(50));
    assert_eq!(rig.reason(), None);
    assert_eq!(rig.pings(Client).len(), 0);
}

#[test]
fn an_order_lets_withheld_messages_go_so_that_a_close_behind_them_is_seen() {
    let mut rig = Rig::new(throttled());
    rig.feed(
        Client,
        &[text(Client, "m").repeat(101), close(Client, 1000)].concat(),
    );
    assert!(!rig.session.resumes(Client));
    rig.order(EndReason::Shutdown);
    assert!(rig.session.resumes(Client));
    rig.turn();
    assert_eq!(rig.outputs().0, Output::Finish);
    assert_eq!(rig.session.tally().client.messages(), 100);
}

#[test]
fn bytes_beyond_their_rate_stop_the_reading_and_never_close() {
    let mut rig = Rig::new(Settings {
        client_bytes: Some(rate(1 << 20, 4 << 20)),
        ..quiet()
    });
    let chunk = frame(Client, true, Opcode::Binary, &[0; (64 << 10) - 14]);
    let (mut read, start) = (0, rig.now);
    while rig.now - start < Duration::from_secs(10) {
        while rig.session.reads(Client) {
            rig.feed(Client, &chunk);
            read += chunk.len();
        }
        assert!(
            read <= (4 << 20)
                + (64 << 10)
                + usize::try_from((rig.now - start).as_millis()).unwrap() * 1050
        );
        rig.wait(Duration::from_millis(10));
    }
    assert!(read >= 13 << 20, "{read}");
    assert_eq!(rig.reason(), None);
    assert_eq!(rig.reached.backend.len(), read);
}

#[test]
fn a_backend_has_no_rate() {
    let mut rig = Rig::new(Settings {
        client_messages: Some(rate(1, 1)),
        ..quiet()
    });
    rig.feed(Backend, &text(Backend, "m").repeat(10_000));
    assert_eq!(rig.reason(), None);
    assert_eq!(rig.session.read_limit(Backend), usize::MAX);
}
