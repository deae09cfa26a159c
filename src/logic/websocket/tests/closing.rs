//! Every row of the table of ends: what each side hears, in what order, by when.

use super::*;
use crate::logic::reason::CloseCode;
use crate::logic::websocket::{CloseFrom, End};

#[test]
fn a_clients_close_and_the_answer_pass_and_the_backend_closes_first() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &close(Client, 4001));
    assert_eq!(rig.closes(Backend), [4001]);
    assert_eq!(rig.outputs(), (Output::Open, Output::Open));
    rig.feed(
        Backend,
        &[text(Backend, "last"), close(Backend, 4001)].concat(),
    );
    assert_eq!(rig.seen(Client).len(), 2);
    assert_eq!(rig.closes(Client), [4001]);
    assert_eq!(rig.outputs(), (Output::Finish, Output::Open));
    rig.end_of_stream(Backend);
    assert_eq!(rig.outputs(), (Output::Finish, Output::Finish));
    assert!(!rig.is_over());
    rig.end_of_stream(Client);
    let end = End {
        reason: EndReason::ClientClose,
        close_code: CloseCode::new(4001),
        close_from: Some(CloseFrom::Client),
    };
    assert_eq!(rig.session.end(), Some(end));
}

#[test]
fn a_backends_close_and_the_answer_pass() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &close(Backend, 1011));
    rig.feed(
        Client,
        &[text(Client, "crossing"), close(Client, 1011)].concat(),
    );
    assert_eq!(rig.closes(Client), [1011]);
    assert_eq!(rig.closes(Backend), [1011]);
    assert_eq!(
        rig.seen(Backend).len(),
        2,
        "the crossing message passes too"
    );
    rig.end_of_stream(Backend);
    rig.end_of_stream(Client);
    assert_eq!(
        rig.session.end().map(|end| end.close_from),
        Some(Some(CloseFrom::Backend))
    );
}

#[test]
fn a_close_passes_as_it_came_reason_text_included() {
    let sent = frame(Backend, true, Opcode::Close, b"\x03\xe8bye, \xc3\xbc");
    let mut rig = Rig::new(quiet());
    rig.trickle(Backend, &sent);
    assert_eq!(rig.reached.client, sent);
    let empty = frame(Client, true, Opcode::Close, b"");
    rig.feed(Client, &empty);
    assert_eq!(rig.reached.backend, empty);
}

#[test]
fn nothing_that_follows_a_close_is_forwarded_in_its_direction() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Client,
        &[close(Client, 1000), text(Client, "late")].concat(),
    );
    rig.feed(Client, &frame(Client, true, Opcode::Ping, b"later"));
    rig.feed(Client, &[0xff; 100]);
    assert_eq!(rig.reached.backend, close(Client, 1000));
    assert_eq!(rig.reason(), Some(EndReason::ClientClose));
}

#[test]
fn a_backend_that_does_not_close_first_is_given_a_second() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &close(Client, 1000));
    rig.feed(Backend, &close(Backend, 1000));
    rig.wait(Duration::from_millis(999));
    assert_eq!(rig.outputs().1, Output::Open);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.outputs().1, Output::Finish);
}

#[test]
fn an_unanswered_close_is_waited_for_five_seconds() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &close(Client, 1000));
    rig.wait(Duration::from_millis(4_999));
    assert!(!rig.is_over());
    rig.wait(Duration::from_millis(1));
    assert!(rig.is_over());
    assert_eq!(rig.outputs(), (Output::Cut, Output::Cut));
    assert_eq!(rig.session.deadline(), None);
}

#[test]
fn a_backend_that_ends_without_answering_leaves_the_answer_to_the_proxy() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &close(Client, 4001));
    rig.end_of_stream(Backend);
    assert_eq!(rig.closes(Client), [4001]);
    assert_eq!(rig.outputs(), (Output::Finish, Output::Finish));
    assert_eq!(rig.reason(), Some(EndReason::ClientClose));
}

#[test]
fn a_client_that_ends_without_answering_ends_the_backends_stream() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &close(Backend, 1000));
    rig.end_of_stream(Client);
    assert!(rig.closes(Backend).is_empty());
    assert_eq!(rig.outputs(), (Output::Finish, Output::Finish));
    rig.end_of_stream(Backend);
    assert!(rig.is_over());
}

#[test]
fn a_client_that_half_closes_still_hears_the_backend_out() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &text(Client, "last"));
    rig.end_of_stream(Client);
    assert_eq!(rig.outputs(), (Output::Open, Output::Finish));
    rig.feed(Backend, &text(Backend, "answer"));
    rig.wait_secs(29);
    rig.feed(Backend, &text(Backend, "more"));
    assert_eq!(rig.seen(Client).len(), 2);
    rig.end_of_stream(Backend);
    assert_eq!(rig.outputs(), (Output::Finish, Output::Finish));
    let end = End {
        reason: EndReason::ClientGone,
        close_code: None,
        close_from: None,
    };
    assert_eq!(rig.session.end(), Some(end));
}

#[test]
fn a_client_that_half_closed_is_gone_within_thirty_seconds() {
    let mut rig = Rig::new(quiet());
    rig.end_of_stream(Client);
    rig.wait_secs(30);
    assert!(rig.is_over());
    assert_eq!(rig.outputs(), (Output::Cut, Output::Cut));
}

#[test]
fn a_client_that_resets_takes_the_backend_with_it_within_a_second() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &text(Client, "last"));
    rig.broken(Client);
    assert_eq!(rig.outputs(), (Output::Cut, Output::Finish));
    assert!(rig.closes(Backend).is_empty());
    rig.wait_secs(1);
    assert!(rig.is_over());
    assert_eq!(rig.reason(), Some(EndReason::ClientGone));
}

#[test]
fn a_backend_that_vanishes_is_1014_to_the_client() {
    for reset in [false, true] {
        let mut rig = Rig::new(quiet());
        rig.feed(Backend, &text(Backend, "last"));
        if reset {
            rig.broken(Backend)
        } else {
            rig.end_of_stream(Backend)
        }
        assert_eq!(rig.seen(Client).len(), 2);
        assert_eq!(rig.closes(Client), [1014]);
        rig.feed(
            Client,
            &[text(Client, "to nobody"), close(Client, 1014)].concat(),
        );
        assert!(rig.reached.backend.is_empty());
        assert_eq!(rig.outputs().0, Output::Finish);
        rig.end_of_stream(Client);
        let end = End {
            reason: EndReason::BackendGone,
            close_code: CloseCode::new(1014),
            close_from: Some(CloseFrom::Proxy),
        };
        assert_eq!(rig.session.end(), Some(end));
    }
}

#[test]
fn a_backend_that_vanishes_inside_a_frame_leaves_no_place_for_a_close() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Binary, &[0; 100])[..50],
    );
    rig.end_of_stream(Backend);
    assert_eq!(rig.reached.client.len(), 50);
    assert_eq!(rig.outputs().0, Output::Finish);
    rig.wait_secs(5);
    assert!(rig.is_over());
    assert_eq!(rig.reached.client.len(), 50);
}

#[test]
fn a_backend_that_vanishes_inside_a_header_leaves_the_client_on_a_border() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Binary, &[0; 300])[..3],
    );
    rig.end_of_stream(Backend);
    assert!(rig.session.held(Backend).is_empty());
    assert_eq!(rig.closes(Client), [1014]);
}

#[test]
fn every_order_says_to_each_side_what_the_table_says() {
    for (reason, to_client, to_backend) in [
        (EndReason::IdleTimeout, 1001, 1001),
        (EndReason::MaxLifetime, 1012, 1001),
        (EndReason::ServerDrain, 1012, 1001),
        (EndReason::Rebalance, 1012, 1001),
        (EndReason::ServerDown, 1012, 1001),
        (EndReason::Shutdown, 1001, 1001),
        (EndReason::RateExceeded, 1008, 1001),
        (EndReason::TokenExpired, 3000, 1001),
        (EndReason::Killed, 1008, 1001),
        (EndReason::Overloaded, 1013, 1001),
        (EndReason::InternalError, 1011, 1001),
    ] {
        let mut rig = Rig::new(quiet());
        rig.order(reason);
        assert_eq!(
            (rig.closes(Client), rig.closes(Backend)),
            (vec![to_client], vec![to_backend])
        );
        rig.feed(Client, &close(Client, to_client));
        rig.feed(Backend, &close(Backend, to_backend));
        assert_eq!(rig.outputs(), (Output::Finish, Output::Open), "{reason}");
        rig.end_of_stream(Backend);
        rig.end_of_stream(Client);
        let end = rig.session.end().map(|end| (end.reason, end.close_from));
        assert_eq!(end, Some((reason, Some(CloseFrom::Proxy))));
        assert_eq!(
            (rig.closes(Client).len(), rig.closes(Backend).len()),
            (1, 1),
            "{reason}"
        );
    }
}

#[test]
fn the_first_reason_stays() {
    let mut rig = Rig::new(quiet());
    rig.order(EndReason::Shutdown);
    rig.order(EndReason::Killed);
    rig.feed(Client, &[0x83]);
    rig.broken(Backend);
    assert_eq!(rig.reason(), Some(EndReason::Shutdown));
    assert_eq!(rig.closes(Client), [1001]);
}

#[test]
fn a_message_under_way_is_let_through_first() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &frame(Backend, false, Opcode::Text, b"one "));
    rig.order(EndReason::Shutdown);
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![], vec![1001])
    );
    rig.wait(Duration::from_millis(900));
    let rest = [
        frame(Backend, true, Opcode::Continuation, b"two"),
        text(Backend, "next"),
    ]
    .concat();
    rig.feed(Backend, &rest);
    let seen: Vec<_> = rig
        .seen(Client)
        .into_iter()
        .map(|seen| (seen.opcode, seen.fin))
        .collect();
    let expected = [
        (Opcode::Text, false),
        (Opcode::Continuation, true),
        (Opcode::Close, true),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn after_a_second_a_close_stands_between_fragments() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &frame(Backend, false, Opcode::Text, b"one "));
    rig.order(EndReason::Shutdown);
    rig.wait(Duration::from_millis(999));
    assert!(rig.closes(Client).is_empty());
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.closes(Client), [1001]);
    rig.feed(Backend, &frame(Backend, true, Opcode::Continuation, b"two"));
    assert_eq!(rig.closes(Client).len() + 1, rig.seen(Client).len());
}

#[test]
fn a_close_never_stands_inside_a_frame_however_long_that_takes() {
    let long = frame(Backend, true, Opcode::Binary, &[7; 1000]);
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &long[..500]);
    rig.order(EndReason::Shutdown);
    rig.wait(Duration::from_millis(4_900));
    assert_eq!(rig.reached.client, &long[..500]);
    rig.feed(
        Backend,
        &[&long[500..], &text(Backend, "next")[..]].concat(),
    );
    assert_eq!(rig.reached.client[..long.len()], long);
    assert_eq!(rig.closes(Client), [1001]);
    assert_eq!(rig.seen(Client).len(), 2);
}

#[test]
fn a_direction_still_inside_a_frame_at_the_deadline_is_cut() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Binary, &[7; 1000])[..500],
    );
    rig.order(EndReason::Shutdown);
    rig.wait_secs(5);
    assert!(rig.is_over());
    assert_eq!(rig.reached.client.len(), 500);
    assert_eq!(rig.outputs(), (Output::Cut, Output::Cut));
}

#[test]
fn a_close_takes_the_first_message_border_of_a_flood_that_always_ends_inside_a_frame() {
    let flood = frame(Backend, true, Opcode::Binary, &[7; 100]).repeat(10);
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &flood[..50]);
    rig.order(EndReason::Shutdown);
    rig.feed(Backend, &flood[50..950]);
    assert_eq!(rig.seen(Client).len(), 2);
    assert_eq!(rig.closes(Client), [1001]);
}

#[test]
fn closes_that_cross_are_not_passed_on() {
    let mut rig = Rig::new(quiet());
    rig.order(EndReason::Shutdown);
    rig.feed(Client, &close(Client, 4000));
    rig.feed(Backend, &close(Backend, 4001));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![1001], vec![1001])
    );
}

#[test]
fn a_peers_close_in_place_of_the_rest_of_its_message_does_not_hold_ours_up() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &frame(Client, false, Opcode::Text, b"never ended"));
    rig.order(EndReason::Shutdown);
    assert!(rig.closes(Backend).is_empty());
    rig.feed(Client, &close(Client, 1001));
    assert_eq!(rig.closes(Backend), [1001]);
}

#[test]
fn a_message_whose_source_died_is_not_waited_for() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &frame(Client, false, Opcode::Text, b"never ended"));
    rig.feed(Client, &[0x83]);
    assert_eq!(rig.closes(Backend), [1001]);
}

#[test]
fn a_violation_waits_for_the_message_on_its_way_to_the_offender() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &frame(Backend, false, Opcode::Text, b"one "));
    rig.feed(Client, &[0x83]);
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![], vec![1001])
    );
    rig.feed(Backend, &frame(Backend, true, Opcode::Continuation, b"two"));
    assert_eq!(rig.closes(Client), [1002]);
    assert_eq!(rig.outputs().0, Output::Finish);
}

#[test]
fn a_stalled_peer_cannot_hold_an_ordered_end_past_its_deadline() {
    let mut rig = Rig::new(quiet());
    rig.parked(Client, 65_536);
    rig.order(EndReason::Shutdown);
    rig.wait_secs(4);
    rig.parked(Client, 1000);
    rig.wait_secs(1);
    assert_eq!(rig.outputs(), (Output::Cut, Output::Cut));
}

#[test]
fn what_a_backend_said_before_it_closed_has_thirty_seconds_to_be_delivered() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Backend,
        &[text(Backend, "much"), close(Backend, 1000)].concat(),
    );
    rig.parked(Client, 65_536);
    rig.wait_secs(20);
    rig.parked(Client, 1);
    rig.wait_secs(5);
    assert_eq!(rig.outputs().0, Output::Open);
    rig.parked(Client, 0);
    rig.wait(Duration::from_millis(4_999));
    assert!(!rig.is_over());
    rig.wait(Duration::from_millis(1));
    assert!(rig.is_over());
}

#[test]
fn an_end_under_way_reads_on_past_what_is_parked_once_nothing_more_is_forwarded() {
    let mut rig = Rig::new(quiet());
    rig.parked(Backend, 10);
    assert!(!rig.session.reads(Client));
    rig.order(EndReason::Shutdown);
    assert!(rig.session.reads(Client));
    rig.feed(Client, &close(Client, 1001));
    assert_eq!(rig.outputs().0, Output::Finish);
}

#[test]
fn who_leaves_while_the_other_takes_nothing_is_gone_within_thirty_seconds() {
    for (side, reason) in [
        (Client, EndReason::ClientGone),
        (Backend, EndReason::BackendGone),
    ] {
        let mut rig = Rig::new(quiet());
        rig.parked(side.other(), 10);
        rig.session.leaves(side, rig.now);
        rig.wait_secs(20);
        assert_eq!(rig.reason(), None, "what it sent may still be taken");
        rig.wait_secs(10);
        assert!(rig.is_over());
        assert_eq!(rig.reason(), Some(reason));
    }
}

#[test]
fn both_ends_gone_is_over_at_once() {
    let mut rig = Rig::new(quiet());
    rig.broken(Client);
    rig.broken(Backend);
    assert!(rig.is_over());
    assert_eq!(rig.session.deadline(), None);
    assert_eq!(rig.reason(), Some(EndReason::ClientGone));
}

#[test]
fn a_client_reset_in_the_closing_handshake_ends_it_within_a_second() {
    let mut rig = Rig::new(quiet());
    rig.order(EndReason::Shutdown);
    rig.broken(Client);
    assert!(
        rig.session
            .deadline()
            .is_some_and(|deadline| deadline <= rig.now + Duration::from_secs(1))
    );
}

#[test]
fn a_backend_that_breaks_after_its_close_takes_no_time_from_the_client() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &close(Backend, 1000));
    rig.broken(Backend);
    rig.wait_secs(4);
    assert!(!rig.is_over());
    rig.feed(Client, &close(Client, 1000));
    rig.end_of_stream(Client);
    assert_eq!(
        rig.session.end().map(|end| end.reason),
        Some(EndReason::BackendClose)
    );
}

#[test]
fn an_order_shortens_an_end_that_takes_its_time() {
    let mut rig = Rig::new(quiet());
    rig.end_of_stream(Client);
    rig.wait_secs(1);
    rig.order(EndReason::Shutdown);
    rig.wait_secs(5);
    assert!(rig.is_over());
    assert_eq!(rig.reason(), Some(EndReason::ClientGone));
}

#[test]
fn a_close_that_found_no_place_is_not_reported_as_sent() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Binary, &[0; 100])[..50],
    );
    rig.order(EndReason::Killed);
    rig.wait_secs(5);
    let end = End {
        reason: EndReason::Killed,
        close_code: None,
        close_from: None,
    };
    assert_eq!(rig.session.end(), Some(end));
}

#[test]
fn a_wake_that_comes_an_hour_late_ends_for_one_reason_and_in_time() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(60)),
        max_lifetime: Some(Duration::from_secs(60)),
        ping_interval: Some(Duration::from_secs(60)),
        ping_backend: true,
        ..quiet()
    });
    rig.now += Duration::from_secs(3600);
    rig.session.elapsed(rig.now);
    rig.inject();
    assert_eq!(rig.reason(), Some(EndReason::MaxLifetime));
    assert_eq!(
        (rig.closes(Client).len(), rig.closes(Backend).len()),
        (1, 1)
    );
    rig.wait_secs(5);
    assert!(rig.is_over());
}

#[test]
fn patience_and_deadline_that_pass_together_cut() {
    let mut rig = Rig::new(quiet());
    rig.feed(Backend, &frame(Backend, false, Opcode::Text, b"one "));
    rig.order(EndReason::Shutdown);
    rig.now += Duration::from_secs(60);
    rig.session.elapsed(rig.now);
    rig.inject();
    assert_eq!(rig.outputs(), (Output::Cut, Output::Cut));
    assert!(rig.closes(Client).is_empty());
}

#[test]
fn a_close_and_an_order_in_one_instant_end_by_the_first() {
    let mut rig = Rig::new(quiet());
    rig.feed(Client, &close(Client, 1000));
    rig.order(EndReason::Shutdown);
    rig.end_of_stream(Client);
    assert_eq!(rig.reason(), Some(EndReason::ClientClose));
    assert_eq!(rig.closes(Backend), [1000]);
    rig.feed(Backend, &close(Backend, 1000));
    assert_eq!(rig.closes(Client), [1000]);
}

#[test]
fn a_call_in_between_never_hurts() {
    let mut rig = Rig::new(quiet());
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Text, &[b'a'; 100])[..50],
    );
    for _ in 0..3 {
        rig.session.elapsed(rig.now);
        rig.inject();
    }
    rig.feed(Backend, &[b'a'; 52]);
    assert_eq!((rig.reason(), rig.seen(Client).len()), (None, 1));
}
