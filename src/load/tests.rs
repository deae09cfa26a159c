//! Whole runs against servers in this process, honest ones and others.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::connection::{Connection, Extent};
use super::plan::tests::plan;
use super::tls;
use super::*;
use crate::tls::NoVerify;

/// A server that handles each connection on a thread of its own; its URL.
fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(stream.unwrap()));
        }
    });
    Target::resolve(&url, None).unwrap()
}

/// Echoes what `twist` makes of each message; `None` says nothing.
fn echo_with(
    stream: impl Read + Write,
    twist: impl Fn(u64, Message) -> Option<Message>,
) -> Option<()> {
    let mut socket: WebSocket<_> = tungstenite::accept(stream).ok()?;
    let mut number = 0;
    loop {
        let message = socket.read().ok()?;
        if !message.is_binary() {
            continue;
        }
        number += 1;
        if let Some(answer) = twist(number, message) {
            socket.send(answer).ok()?;
        }
    }
}

fn echo(stream: impl Read + Write) {
    echo_with(stream, |_, message| Some(message));
}

fn run_one(plan: &Plan) -> Round {
    let mut rounds = run(plan, &mut |_| ControlFlow::Continue(())).unwrap();
    rounds.remove(0).remove(0)
}

fn faults_of(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> Vec<Fault> {
    let round = run_one(&plan(vec![serve(handle)]));
    round.tally.faults.into_keys().collect()
}

#[test]
fn a_closed_loop_keeps_its_messages_under_way() {
    for (in_flight, size) in [(1, 128), (8, 0), (3, 70_000)] {
        let mut plan = plan(vec![serve(echo)]);
        plan.mode = Mode::Echo(Pace::InFlight(in_flight));
        plan.message_bytes = size;
        let round = run_one(&plan);
        assert_eq!(round.tally.faults, [].into(), "{in_flight} {size}");
        assert_eq!(round.tally.opened, 4);
        assert!(
            round.tally.messages > u64::from(in_flight) * 4,
            "{}",
            round.tally.messages
        );
        assert_eq!(round.tally.bytes, round.tally.messages * size as u64);
        assert_eq!(round.tally.round_trip.len(), round.tally.messages);
        assert_eq!(round.tally.close_codes, [(Some(1000), 4)].into());
    }
}

#[test]
fn an_open_loop_sends_exactly_what_is_due() {
    let mut plan = plan(vec![serve(echo)]);
    plan.mode = Mode::Echo(Pace::Rate(NonZeroU64::new(2000).unwrap()));
    plan.connect_rate = NonZeroU64::new(200);
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert_eq!(round.tally.messages, 200);
    assert_eq!(round.tally.lateness.len(), 200);
}

#[test]
fn a_server_that_stalls_shows_in_every_message_that_was_due_meanwhile() {
    let target = serve(|stream| {
        echo_with(stream, |number, message| {
            if number == 5 {
                thread::sleep(Duration::from_millis(60));
            }
            Some(message)
        });
    });
    let mut plan = plan(vec![target]);
    (plan.connections, plan.threads) = (1, 1);
    plan.mode = Mode::Echo(Pace::Rate(NonZeroU64::new(1000).unwrap()));
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    let slow = round.tally.round_trip.count_between(20_000_000, u64::MAX);
    assert!(
        slow >= 30,
        "{slow} messages were due while the server slept"
    );
}

/// The same over TLS, with a certificate that nobody has issued.
fn serve_tls(
    handle: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> Target {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let mut target = serve(move |stream| {
        let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
        handle(StreamOwned::new(tls, stream));
    });
    target.secure = true;
    target.host = "localhost".to_owned();
    target
}

/// Takes any certificate.
fn no_verify() -> Option<Arc<dyn ServerCertVerifier>> {
    Some(Arc::new(NoVerify::new(Arc::new(default_provider()))))
}

#[test]
fn tls_is_spoken_and_resumed() {
    let target = serve_tls(echo);
    let mut plan = plan(vec![target]);
    (plan.message_bytes, plan.threads) = (100_000, 1);
    plan.tls.verifier = no_verify();
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert_eq!((round.tally.opened, round.tally.resumed), (4, 0));
    assert!(round.tally.messages > 4);

    plan.connect_rate = NonZeroU64::new(100);
    plan.tls.resume = true;
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert!(round.tally.resumed > 0);

    plan.tls.verifier = None;
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [(Fault::Certificate, 4)].into());
}
#[test]
fn what_a_peer_does_not_take_is_counted_over_tls_too() {
    let target = serve_tls(|mut stream| {
        // It shakes hands and reads nothing more.
        stream.flush().unwrap();
        thread::park();
    });
    let options = TlsOptions {
        verifier: no_verify(),
        ..TlsOptions::default()
    };
    let tls_client = tls::client(&target, &options, 1).unwrap();
    let mut connection = Connection::open(target.address, None, None, tls_client.as_ref()).unwrap();
    while connection.is_securing() {
        connection.flush().unwrap();
        connection
            .read(&mut [0; 16384], Extent::UntilEmpty, |_| Ok(()))
            .unwrap();
        thread::yield_now();
    }
    assert_eq!(connection.backlog(), 0);
    connection.send(&vec![0; 32 * 1024 * 1024]).unwrap();
    assert!(connection.backlog() > 0);
}

#[test]
fn an_echo_with_one_wrong_byte_is_noticed() {
    let faults = faults_of(|stream| {
        echo_with(stream, |number, message| {
            let mut bytes = message.into_data().to_vec();
            bytes[77] ^= u8::from(number == 3);
            Some(Message::binary(bytes))
        });
    });
    assert_eq!(faults, [Fault::WrongEcho]);
}

#[test]
fn echoes_out_of_order_are_noticed() {
    let target = serve(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        let first = socket.read().unwrap();
        let second = socket.read().unwrap();
        socket.send(second).unwrap();
        socket.send(first).unwrap();
    });
    let mut plan = plan(vec![target]);
    plan.mode = Mode::Echo(Pace::InFlight(2));
    plan.connections = 1;
    let round = run_one(&plan);
    assert_eq!(round.tally.faults[&Fault::WrongEcho], 2);
}

#[test]
fn a_message_too_many_is_noticed() {
    let faults = faults_of(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send(Message::binary(vec![0; 128])).unwrap();
        socket.read().unwrap();
    });
    assert!(faults.contains(&Fault::Unasked), "{faults:?}");
}

#[test]
fn a_close_in_mid_load_is_counted_with_its_code_and_what_it_lost() {
    let target = serve(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.read().unwrap();
        let close = CloseFrame {
            code: 1013.into(),
            reason: "".into(),
        };
        socket.close(Some(close)).unwrap();
        while socket.read().is_ok() {}
    });
    let round = run_one(&plan(vec![target]));
    assert_eq!(
        round.tally.faults,
        [(Fault::ClosedEarly, 4), (Fault::Lost, 4)].into()
    );
    assert_eq!(round.tally.close_codes, [(Some(1013), 4)].into());
}

#[test]
fn a_connection_cut_in_mid_load_is_a_fault() {
    let faults = faults_of(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.read().unwrap();
    });
    assert_eq!(faults, [Fault::EndedEarly, Fault::Lost]);
}

#[test]
fn refused_handshakes_are_counted_by_status() {
    let faults = faults_of(|mut stream| {
        stream
            .write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        let _ = stream.read_to_end(&mut vec![]);
    });
    assert_eq!(faults, [Fault::Status(503)]);
}

#[test]
fn nobody_at_the_port_is_a_fault_and_no_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let plan = plan(vec![Target::resolve(&url, None).unwrap()]);
    let round = run_one(&plan);
    let refused = Fault::Connect(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(round.tally.faults, [(refused, 4)].into());
    assert!(!Report::new(&plan, &[vec![round]]).is_clean());
}

#[test]
fn pings_are_answered() {
    let target = serve(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        socket.send(Message::Ping("life".into())).unwrap();
        let mut answered = false;
        while let Ok(message) = socket.read() {
            match message {
                Message::Pong(payload) => answered = payload == "life",
                Message::Binary(_) if answered => socket.send(message).unwrap(),
                _ => {}
            }
        }
    });
    let round = run_one(&plan(vec![target]));
    assert!(round.tally.messages > 0);
}

#[test]
fn targets_take_turns_and_are_compared() {
    let mut plan = plan(vec![serve(echo), serve(echo)]);
    plan.targets[0].pid = Some(std::process::id());
    plan.rounds = 2;
    let mut turns = vec![];
    let rounds = run(&plan, &mut |progress| {
        turns.push((progress.round, progress.target));
        ControlFlow::Continue(())
    })
    .unwrap();
    turns.dedup();
    assert_eq!(turns, [(0, 0), (0, 1), (1, 0), (1, 1)]);

    let report = Report::new(&plan, &rounds);
    assert!(report.is_clean());
    assert!(report.targets[0].cpu_us_per_message.unwrap().median > 0.0);
    assert!(report.targets[1].cpu_us_per_message.is_none());
    let text = report.to_string();
    for part in [
        &plan.targets[0].url,
        &plan.targets[1].url,
        "x)",
        "nothing was lost or wrong",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn idle_clients_stay_and_say_goodbye() {
    let mut plan = plan(vec![serve(echo)]);
    plan.mode = Mode::Idle;
    plan.targets[0].pid = Some(std::process::id());
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert_eq!(round.tally.close_codes, [(Some(1000), 4)].into());
    assert!(round.memory_loaded.process_bytes.unwrap() > 0);
}

#[test]
fn connecting_goes_on_until_the_end_and_leaves_nobody_behind() {
    let mut plan = plan(vec![serve(echo)]);
    plan.mode = Mode::Connect;
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert!(round.tally.opened > 8, "{}", round.tally.opened);
    assert_eq!(
        round.tally.close_codes,
        [(Some(1000), round.tally.opened)].into()
    );
    assert_eq!(round.tally.opening.len(), round.tally.opened);
}

#[test]
fn connecting_keeps_to_its_rate() {
    let mut plan = plan(vec![serve(echo)]);
    plan.mode = Mode::Connect;
    plan.connect_rate = NonZeroU64::new(200);
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert!(
        (1..=20).contains(&round.tally.opened),
        "{}",
        round.tally.opened
    );
}

#[test]
fn what_a_server_pushes_goes_down_the_sink() {
    let target = serve(|stream| {
        let mut socket = tungstenite::accept(stream).unwrap();
        for _ in 0..10 {
            socket.send(Message::binary(vec![7; 300])).unwrap();
        }
        while socket.read().is_ok() {}
    });
    let mut plan = plan(vec![target]);
    plan.mode = Mode::Sink;
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    assert_eq!((round.tally.messages, round.tally.bytes), (40, 12_000));
}

#[test]
fn a_storm_brings_everybody_back() {
    let mut plan = plan(vec![serve(echo)]);
    plan.mode = Mode::Storm;
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    let storms = round.tally.recovery.len();
    assert_eq!(
        round.tally.opened,
        4 + 2 * storms,
        "each thread brings its two back"
    );
    assert_eq!(round.tally.opening.len(), 2 * storms);
}

#[test]
fn slow_readers_stall_and_are_no_fault() {
    let mut plan = plan(vec![serve(echo)]);
    plan.mode = Mode::SlowReader(1000);
    plan.message_bytes = 100_000;
    plan.duration = Duration::from_millis(500);
    let round = run_one(&plan);
    assert_eq!(round.tally.faults, [].into());
    let read = round.tally.bytes;
    assert!((1..=4000).contains(&read), "{read} bytes read");
}
