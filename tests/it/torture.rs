//! Sessions on a bad day (ATTACKS F16, F17, F28, G07, G08, G13, G14): every cut, every phase, everything at once;
//! nothing is lost, and the process is at rest again after each of them.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::support::certificates::Authority;
use crate::support::flow::Flow;
use crate::support::frame::{BINARY, CLOSE, Frame, PING, TEXT};
use crate::support::stage::last_word;
use crate::support::swarm::join;
use crate::support::wait::{wait_until, wait_within};
use crate::support::{Backend, Connection, Echo, Request, Rest, Setup, Stage, Tidegate};

/// Timers that fire all the time and end nothing.
const PINGS: &str = "ping_interval = \"10ms\"\nping_timeout = \"60s\"\nping_backend = true";
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(2);

/// A direction of a session: who sends, who receives, and how a frame of the sender looks.
struct Direction {
    name: &'static str,
    from: Connection,
    to: Connection,
    make: fn(u8, &[u8]) -> Frame,
}

/// A session of its own for each direction.
fn directions(stage: &Stage) -> [Direction; 2] {
    let (client, backend) = stage.tunnel();
    let up = Direction {
        name: "to the backend",
        from: client,
        to: backend,
        make: |opcode, payload| Frame::client(opcode, payload),
    };
    let (client, backend) = stage.tunnel();
    let down = Direction {
        name: "to the client",
        from: backend,
        to: client,
        make: |opcode, payload| Frame::server(opcode, payload),
    };
    [up, down]
}

/// The next frame that is no ping of the proxy's own. They are not answered: whatever moves is a sign of life.
#[track_caller]
fn next_but_pings(connection: &mut Connection) -> Frame {
    loop {
        let frame = connection.frame();
        if !is_ping(&frame) {
            return frame;
        }
    }
}

fn is_ping(frame: &Frame) -> bool {
    frame.opcode == PING && frame.payload.len() == 8
}

fn payload(length: usize) -> Vec<u8> {
    (0..length).map(|at| at.to_le_bytes()[0]).collect()
}

#[test]
fn every_length_passes_in_one_byte_segments_while_pings_fire() {
    let stage = Stage::with(PINGS);
    let rest = Rest::of(&stage.proxy);
    thread::scope(|scope| {
        for mut direction in directions(&stage) {
            scope.spawn(move || {
                for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
                    let frame = (direction.make)(BINARY, &payload(length));
                    direction.from.dribble(frame.encode());
                    let came = next_but_pings(&mut direction.to);
                    assert!(came == frame, "{length} bytes {}", direction.name);
                }
            });
        }
    });
    rest.is_back(&stage.proxy);
}

#[test]
fn a_ping_that_fires_at_any_cut_of_a_frame_costs_no_byte() {
    let stage = Stage::with(PINGS);
    let rest = Rest::of(&stage.proxy);
    thread::scope(|scope| {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536] {
            for direction in directions(&stage) {
                scope.spawn(move || pause_at_every_cut(direction, length));
            }
        }
    });
    rest.is_back(&stage.proxy);
}

/// Half a frame, a pause in which the proxy pings the sender, the other half.
fn pause_at_every_cut(mut direction: Direction, length: usize) {
    let frame = (direction.make)(BINARY, &payload(length));
    let wire = frame.encode();
    // All of a small frame; of a large one its header and a little more.
    for cut in 1..wire.len().min(140) {
        direction.from.send(&wire[..cut]);
        let ping = direction.from.frame();
        assert!(is_ping(&ping), "{ping:?}");
        direction.from.send(&wire[cut..]);
        let came = next_but_pings(&mut direction.to);
        assert!(
            came == frame,
            "{length} bytes {} cut at {cut}",
            direction.name
        );
    }
}

#[test]
fn a_drain_that_comes_at_any_cut_of_a_frame_closes_on_its_border() {
    const HEADER: usize = 8;
    let stage = Stage::with(PINGS);
    let rest = Rest::of(&stage.proxy);
    let frame = Frame::client(BINARY, payload(130));
    let wire = frame.encode();
    let cuts = (1..=HEADER + 2)
        .chain((20..wire.len()).step_by(20))
        .chain([wire.len() - 1]);
    let rows: Vec<_> = cuts
        .flat_map(|cut| [(cut, true), (cut, false)])
        .map(|(cut, ends)| {
            let (mut client, mut backend) = stage.tunnel();
            client.send(&wire[..cut]);
            // Once its header is whole, a frame is on its way.
            let begun = if cut < HEADER { 0 } else { cut };
            let begun = after_pings(&mut backend, begun);
            (cut, ends, client, backend, begun)
        })
        .collect();
    stage.remove_server();
    let rows = rows
        .into_iter()
        .map(|(cut, ends, mut client, backend, begun)| {
            if ends {
                client.send(&wire[cut..]);
            }
            (cut, ends, client, backend, begun)
        });
    for (cut, ends, mut client, mut backend, mut received) in rows.collect::<Vec<_>>() {
        let case = format!("cut at {cut}, {}", if ends { "ended" } else { "left" });
        if received.is_empty() {
            assert_eq!(last_word(&mut backend), Some(1001), "{case}");
        } else if ends {
            received.extend(backend.read_exactly(wire.len() - cut));
            assert!(received == wire, "{case}");
            assert_eq!(last_word(&mut backend), Some(1001), "{case}");
        } else {
            assert_eq!(last_word(&mut backend), None, "{case}");
        }
        assert_eq!(last_word(&mut client), Some(1012), "{case}");
    }
    rest.is_back(&stage.proxy);
}

/// This many bytes of the other peer, behind the pings of the proxy's own.
fn after_pings(connection: &mut Connection, bytes: usize) -> Vec<u8> {
    const MASKED_PING: [u8; 2] = [0x89, 0x88];
    const REST: usize = 12;
    if bytes == 0 {
        return Vec::new();
    }
    loop {
        let mut begin = connection.read_exactly(2);
        if begin == MASKED_PING {
            connection.read_exactly(REST);
            continue;
        }
        begin.extend(connection.read_exactly(bytes - 2));
        return begin;
    }
}

#[test]
fn hundreds_of_mebibytes_pass_both_ways_whole_under_load() {
    const SESSIONS: usize = 3;
    const BLOCKS: u64 = 40;
    let stage = Stage::with(PINGS);
    let rest = Rest::of(&stage.proxy);
    let begun = Instant::now();
    let sessions: Vec<_> = (0..SESSIONS)
        .map(|_| {
            let (client, backend) = stage.tunnel();
            let (up, down) = (Flow::of_client(BLOCKS), Flow::of_server(BLOCKS));
            let flows = [
                (up.send_over(&client), up.receive_over(&backend)),
                (down.send_over(&backend), down.receive_over(&client)),
            ];
            (client, backend, flows, up.len() + down.len())
        })
        .collect();
    let mut bytes = 0;
    for (client, backend, flows, count) in sessions {
        for (sending, receiving) in flows {
            assert_eq!(receiving.sum(), sending.sum());
        }
        bytes += count;
        drop((client, backend));
    }
    eprintln!("{} MiB in {:?}", bytes >> 20, begun.elapsed());
    rest.is_back(&stage.proxy);
}

#[test]
fn what_was_on_its_way_before_a_fin_is_delivered_both_ways() {
    let stage = Stage::with("ping_interval = \"off\"");
    let rest = Rest::of(&stage.proxy);
    for reason in ["client_gone", "backend_gone"] {
        let (client, backend) = stage.tunnel();
        let (flow, from, mut to) = match reason {
            "client_gone" => (Flow::of_client(3), client, backend),
            _ => (Flow::of_server(3), backend, client),
        };
        // It fits into what the kernel and the proxy hold, so that all of it waits when the FIN comes.
        let sent = flow.send_over(&from).sum();
        from.finish();
        assert_eq!(flow.receive_over(&to).sum(), sent, "{reason}");
        let told = (reason == "backend_gone").then_some(1014);
        assert_eq!(last_word(&mut to), told, "{reason}");
        drop((from, to));
        let labels = [("reason", reason)];
        stage
            .proxy
            .wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
        rest.is_back(&stage.proxy);
    }
}

#[test]
fn a_peer_that_half_closes_and_stays_is_left_within_the_linger() {
    let stage = Stage::with("ping_interval = \"off\"");
    let rest = Rest::of(&stage.proxy);
    let (client, mut its_backend) = stage.tunnel();
    let (mut its_client, backend) = stage.tunnel();
    client.finish();
    backend.finish();
    // Neither gives up its own direction: the other peers hear of it, and nothing stays in CLOSE_WAIT.
    assert_eq!(last_word(&mut its_backend), None);
    assert_eq!(last_word(&mut its_client), Some(1014));
    drop((its_backend, its_client));
    rest.is_back(&stage.proxy);
}

/// The client's connection, and its backend's where there is one yet.
type Ends = (Connection, Option<Connection>);
/// How it gets there.
type Reach = fn(&Stage) -> Ends;

/// Where a client is when it resets its connection.
const PHASES: [(&str, Reach); 8] = [
    ("just accepted", |stage| (stage.proxy.connect(), None)),
    ("in its head", |stage| {
        let mut client = stage.proxy.connect();
        client.send("GET /ws HTTP/1.1\r\nHo");
        (client, None)
    }),
    ("behind its head", |stage| {
        let mut client = stage.proxy.connect();
        client.send(Request::upgrade().bytes());
        (client, Some(stage.arrival()))
    }),
    ("in the tunnel", |stage| both(stage.tunnel())),
    ("in a frame of its own", |stage| {
        let (mut client, backend) = stage.tunnel();
        client.send(&Frame::client(BINARY, payload(1000)).encode()[..500]);
        both((client, backend))
    }),
    ("in a frame of its backend", |stage| {
        let (mut client, mut backend) = stage.tunnel();
        backend.send(&Frame::server(BINARY, payload(1000)).encode()[..500]);
        client.read_exactly(500);
        both((client, backend))
    }),
    ("behind its Close", |stage| {
        let (mut client, mut backend) = stage.tunnel();
        let close = Frame::client(CLOSE, Frame::close_payload(1000, ""));
        client.send_frame(&close);
        assert_eq!(backend.frame(), close);
        both((client, backend))
    }),
    ("behind its backend's Close", |stage| {
        let (mut client, mut backend) = stage.tunnel();
        let close = Frame::server(CLOSE, Frame::close_payload(1000, ""));
        backend.send_frame(&close);
        assert_eq!(client.frame(), close);
        both((client, backend))
    }),
];

fn both((client, backend): (Connection, Connection)) -> Ends {
    (client, Some(backend))
}

#[test]
fn a_reset_at_any_phase_takes_the_backend_along_within_a_second() {
    let stage = Stage::with("ping_interval = \"off\"");
    let rest = Rest::of(&stage.proxy);
    for (phase, reach) in PHASES {
        let (client, backend) = reach(&stage);
        let start = Instant::now();
        client.reset();
        if let Some(mut backend) = backend {
            backend.read_to_end();
            let took = start.elapsed();
            assert!(took < Duration::from_secs(1) + SLACK, "{phase}: {took:?}");
        }
        rest.is_back(&stage.proxy);
    }
    stage.tunnel();
}

#[test]
fn a_reset_in_the_backends_handshake_leaves_no_connect_running() {
    let backend = Backend::silent();
    let setup = Setup::to(&[&backend]).with("upstream.echo", "handshake_timeout = \"60s\"");
    let proxy = Tidegate::start(&setup);
    let rest = Rest::of(&proxy);
    let mut client = proxy.connect();
    client.send(Request::upgrade().bytes());
    wait_until("the handshake to be under way", || backend.visits() == 1);
    client.reset();
    rest.is_back(&proxy);
}

#[test]
fn a_reset_at_any_phase_of_tls_leaves_nothing_behind() {
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]);
    let echo = Echo::start();
    let tls = format!("certificates = [{}]", certificate.toml());
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("listener.public.tls", &tls));
    let rest = Rest::of(&proxy);
    let connect = || proxy.connect_tls("localhost", &authority.client());
    let phases: [&dyn Fn() -> Connection; 4] = [
        &|| {
            let mut client = proxy.connect();
            client.send([0x16, 3, 1, 2, 0]);
            client
        },
        &|| {
            let mut client = connect();
            client.dribble_handshake();
            client
        },
        &|| {
            let mut client = connect();
            client.tls();
            client
        },
        &|| {
            let mut client = connect();
            client.send(Request::upgrade().bytes());
            assert_eq!(client.answer().status, 101);
            client.send(&Frame::client(TEXT, "half a frame").encode()[..5]);
            client
        },
    ];
    for reach in phases {
        reach().reset();
        rest.is_back(&proxy);
        wait_until("the backend to be left", || echo.open() == 0);
    }
}

#[test]
fn a_client_that_still_sends_reads_the_close_all_the_same() {
    let stage = Stage::with("client_messages = \"1/s burst 1\"");
    let rest = Rest::of(&stage.proxy);
    let (mut client, mut backend) = stage.tunnel();
    let message = Frame::client(BINARY, payload(64 << 10)).encode();
    for _ in 0..200 {
        client.try_send(&message).expect("what it sends is taken");
    }
    // RFC 6455 s7.1.1: a reset would have destroyed the Close under way.
    assert_eq!(last_word(&mut client), Some(1008));
    assert_eq!(next_but_pings(&mut backend).opcode, BINARY);
    assert_eq!(last_word(&mut backend), Some(1001));
    drop((client, backend));
    stage.ended(1.0, "rate_exceeded");
    rest.is_back(&stage.proxy);
}

#[test]
fn two_thousand_idle_sessions_that_speak_at_once_lose_nothing_under_load() {
    const MEMBERS: usize = 2000;
    const GROWTH_KIB: usize = 16 << 10;
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("log", "level = \"info\"");
    let proxy = Tidegate::start(&setup);
    let rest = Rest::of(&proxy);
    let address = proxy.address();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let mut members = JoinSet::new();
        let (idle, spoken) = (
            Arc::new(Barrier::new(MEMBERS + 1)),
            Arc::new(Barrier::new(MEMBERS + 1)),
        );
        for number in 0..MEMBERS {
            let mut stream = join(address).await.unwrap();
            let (idle, spoken) = (Arc::clone(&idle), Arc::clone(&spoken));
            members.spawn(async move {
                let said = payload(16 << 10 | number);
                let wire = Frame::client(BINARY, &said).encode();
                idle.wait().await;
                stream.write_all(&wire).await.unwrap();
                let mut unread = Vec::new();
                let heard = loop {
                    if let Some((frame, _)) = Frame::decode(&unread) {
                        break frame;
                    }
                    assert!(stream.read_buf(&mut unread).await.unwrap() > 0);
                };
                assert!(heard == Frame::server(BINARY, said), "member {number}");
                spoken.wait().await;
            });
        }
        let before = proxy.process().memory_kib();
        idle.wait().await;
        spoken.wait().await;
        let after = wait_within(
            Duration::from_secs(20),
            "the memory to be given back",
            || {
                let now = proxy.process().memory_kib();
                (now < before + GROWTH_KIB).then_some(now)
            },
        );
        eprintln!("{MEMBERS} sessions: {before} KiB idle, {after} KiB after all spoke at once");
        members.join_all().await;
    });
    rest.is_back(&proxy);
}
