//! Pings of the proxy's own, the pongs to them, silence, and old age.

use super::*;
use crate::logic::websocket::CloseFrom;

fn pinging() -> Settings {
    Settings {
        ping_interval: Some(Duration::from_secs(30)),
        ..quiet()
    }
}

fn pong(from: Side, payload: &[u8]) -> Vec<u8> {
    frame(from, true, Opcode::Pong, payload)
}

#[test]
fn a_silent_client_is_pinged_and_its_pong_goes_no_further() {
    let mut rig = Rig::new(pinging());
    rig.wait(Duration::from_millis(29_999));
    assert_eq!(rig.pings(Client).len(), 0);
    rig.wait(Duration::from_millis(1));
    let pings = rig.pings(Client);
    assert_eq!(pings.len(), 1);
    rig.wait(Duration::from_millis(120));
    rig.feed(Client, &pong(Client, &pings[0]));
    assert!(rig.reached.backend.is_empty());
    assert_eq!(
        rig.session.ping_rtt(Client),
        Some(Duration::from_millis(120))
    );
    assert_eq!(
        rig.session.take_ping_rtt(Client),
        Some(Duration::from_millis(120))
    );
    assert_eq!(rig.session.take_ping_rtt(Client), None, "told once");
    assert_eq!(rig.session.tally().client.pong, 0);
    rig.wait_secs(30);
    assert_eq!(rig.pings(Client).len(), 2);
    assert_ne!(rig.pings(Client)[1], pings[0]);
}

#[test]
fn the_backend_is_pinged_where_asked_masked_and_under_fresh_keys() {
    let mut rig = Rig::new(Settings {
        ping_backend: true,
        ..pinging()
    });
    for beat in 1..=100 {
        rig.wait_secs(30);
        let (to_client, to_backend) = (rig.pings(Client), rig.pings(Backend));
        assert_eq!((to_client.len(), to_backend.len()), (beat, beat));
        rig.feed(Client, &pong(Client, &to_client[beat - 1]));
        rig.feed(Backend, &pong(Backend, &to_backend[beat - 1]));
    }
    let mut keys: Vec<_> = rig
        .reached
        .backend
        .chunks(14)
        .map(|ping| ping[2..6].to_vec())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 100);
}

#[test]
fn a_client_that_does_not_answer_is_cut_and_the_backend_told() {
    let mut rig = Rig::new(pinging());
    rig.wait(Duration::from_millis(44_999));
    assert_eq!(rig.reason(), None);
    rig.wait(Duration::from_millis(1));
    assert_eq!(rig.reason(), Some(EndReason::PingTimeout));
    assert_eq!(rig.outputs(), (Output::Cut, Output::Open));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![], vec![1001])
    );
    assert_eq!(rig.session.reason().and_then(|end| end.close_from), None);
}

#[test]
fn a_backend_that_does_not_answer_is_cut_and_the_client_told() {
    let mut rig = Rig::new(Settings {
        ping_backend: true,
        ..pinging()
    });
    rig.wait_secs(40);
    rig.feed(Client, &text(Client, "here"));
    rig.wait_secs(5);
    assert_eq!(rig.reason(), Some(EndReason::BackendPingTimeout));
    assert_eq!(rig.outputs(), (Output::Open, Output::Cut));
    assert_eq!(rig.closes(Client), [1014]);
    assert_eq!(
        rig.session.reason().and_then(|end| end.close_from),
        Some(CloseFrom::Proxy)
    );
}

#[test]
fn any_byte_proves_life_and_a_late_pong_is_still_ours() {
    let mut rig = Rig::new(pinging());
    rig.wait_secs(44);
    rig.feed(Client, &text(Client, "busy")[..1]);
    rig.wait_secs(29);
    assert_eq!((rig.reason(), rig.pings(Client).len()), (None, 1));
    let late = pong(Client, &rig.pings(Client)[0]);
    rig.feed(
        Client,
        &[&text(Client, "busy")[1..], &late, &text(Client, "still")].concat(),
    );
    let sent = [text(Client, "busy"), text(Client, "still")].concat();
    assert_eq!(rig.reached.backend, sent);
}

#[test]
fn a_talking_client_is_never_pinged() {
    let mut rig = Rig::new(pinging());
    for _ in 0..10 {
        rig.wait_secs(29);
        rig.feed(Client, &text(Client, "here"));
    }
    assert_eq!(rig.pings(Client).len(), 0);
}

#[test]
fn a_pong_that_is_not_quite_ours_passes() {
    let mut rig = Rig::new(pinging());
    rig.wait_secs(30);
    let ours = rig.pings(Client).remove(0);
    let mut future = ours.clone();
    future[7] += 1;
    let mut foreign = ours.clone();
    foreign[0] ^= 1;
    for payload in [&future[..], &foreign, &ours[..7], &[]] {
        let sent = pong(Client, payload);
        rig.reached.backend.clear();
        rig.feed(Client, &sent);
        assert_eq!(rig.reached.backend, sent, "{payload:?}");
    }
}

#[test]
fn a_ping_waits_for_the_end_of_a_frame_but_not_of_a_message() {
    let fragment = frame(Backend, false, Opcode::Text, &[b'a'; 100]);
    let mut rig = Rig::new(pinging());
    rig.feed(Backend, &fragment[..50]);
    rig.wait_secs(300);
    assert_eq!(rig.reached.client.len(), 50);
    assert_eq!(rig.reason(), None);
    rig.feed(Backend, &fragment[50..]);
    assert_eq!(rig.pings(Client).len(), 1);
    let rest = frame(Backend, true, Opcode::Continuation, b"b");
    rig.feed(Backend, &rest);
    assert!(rig.reached.client.ends_with(&rest));
}

#[test]
fn bytes_stuck_on_their_way_to_a_peer_are_its_ping() {
    let mut rig = Rig::new(pinging());
    rig.feed(
        Backend,
        &frame(Backend, true, Opcode::Binary, &[0; 100])[..50],
    );
    rig.parked(Client, 50);
    rig.wait_secs(44);
    rig.parked(Client, 49);
    rig.wait_secs(44);
    assert_eq!((rig.reason(), rig.pings(Client).len()), (None, 0));
    rig.wait_secs(1);
    assert_eq!(rig.reason(), Some(EndReason::PingTimeout));
}

#[test]
fn a_client_that_is_not_read_is_not_called_dead() {
    let mut rig = Rig::new(pinging());
    rig.wait_secs(30);
    let ping = rig.pings(Client).remove(0);
    rig.parked(Backend, 1000);
    rig.wait_secs(3600);
    assert_eq!(rig.reason(), None);
    rig.parked(Backend, 0);
    rig.wait_secs(14);
    rig.feed(Client, &pong(Client, &ping));
    assert_eq!(rig.reason(), None);
}

#[test]
fn silence_of_both_sides_is_1001_to_both() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(60)),
        ..quiet()
    });
    rig.wait_secs(59);
    rig.feed(Backend, &text(Backend, "x"));
    rig.wait_secs(59);
    rig.feed(Client, &text(Client, "x"));
    rig.wait_secs(59);
    assert_eq!(rig.reason(), None);
    rig.wait_secs(1);
    assert_eq!(rig.reason(), Some(EndReason::IdleTimeout));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![1001], vec![1001])
    );
}

#[test]
fn our_pings_and_their_pongs_are_no_activity_however_they_are_cut() {
    let settings = Settings {
        idle_timeout: Some(Duration::from_secs(100)),
        ..pinging()
    };
    let mut rig = Rig::new(settings);
    for beat in 0..3 {
        rig.wait_secs(30);
        let answer = pong(Client, &rig.pings(Client)[beat]);
        rig.trickle(Client, &answer);
    }
    rig.wait_secs(10);
    assert_eq!(rig.reason(), Some(EndReason::IdleTimeout));
}

#[test]
fn a_frame_that_stalls_half_way_ends_by_the_idle_timeout() {
    let mut rig = Rig::new(Settings {
        idle_timeout: Some(Duration::from_secs(60)),
        ..quiet()
    });
    rig.feed(
        Client,
        &frame(Client, true, Opcode::Binary, &[0; 5000])[..10],
    );
    rig.wait_secs(60);
    assert_eq!(rig.reason(), Some(EndReason::IdleTimeout));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![1001], vec![])
    );
    rig.wait_secs(5);
    assert!(rig.is_over());
}

#[test]
fn lives_end_evenly_within_a_tenth_of_max_lifetime() {
    let life = Duration::from_secs(1000);
    let settings = Arc::new(Settings {
        max_lifetime: Some(life),
        ..quiet()
    });
    let now = Instant::now();
    let mut tenths = [0_u32; 10];
    for seed in 0..10_000 {
        let session = Session::new(Arc::clone(&settings), Extensions::default(), now, seed);
        let lives = session.deadline().unwrap() - now;
        let above = lives.checked_sub(Duration::from_secs(900)).unwrap();
        tenths[usize::try_from(above.as_secs() / 20).unwrap()] += 1;
    }
    assert!(
        tenths.iter().all(|count| (850..1150).contains(count)),
        "{tenths:?}"
    );
}

#[test]
fn an_old_session_is_1012_to_the_client() {
    let mut rig = Rig::new(Settings {
        max_lifetime: Some(Duration::from_secs(100)),
        ..quiet()
    });
    rig.wait_secs(110);
    assert_eq!(rig.reason(), Some(EndReason::MaxLifetime));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![1012], vec![1001])
    );
}

#[test]
fn a_session_whose_token_ran_out_is_3000_to_the_client() {
    let mut rig = Rig::new(quiet());
    let ends = rig.now + Duration::from_secs(100);
    rig.session.expire_at(ends, EndReason::TokenExpired);
    rig.session
        .expire_at(ends + Duration::from_secs(1), EndReason::MaxLifetime);
    assert_eq!(rig.session.deadline(), Some(ends));
    rig.wait_secs(99);
    assert_eq!(rig.reason(), None);
    rig.wait_secs(1);
    assert_eq!(rig.reason(), Some(EndReason::TokenExpired));
    assert_eq!(
        (rig.closes(Client), rig.closes(Backend)),
        (vec![3000], vec![1001])
    );
}

#[test]
fn durations_beyond_all_clocks_never_end_a_session() {
    let rig = Rig::new(Settings {
        idle_timeout: Some(Duration::MAX),
        max_lifetime: Some(Duration::MAX),
        ping_interval: Some(Duration::MAX),
        ..quiet()
    });
    assert_eq!(rig.session.deadline(), None);
}

#[test]
fn a_session_without_timers_asks_for_none() {
    assert_eq!(Rig::new(quiet()).session.deadline(), None);
}
