//! Thousands that hold a connection and give nothing for it, in every phase at once: the others are
//! served meanwhile, and each is gone by its deadline (ATTACKS G01, G02).

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::certificates::Authority;
use crate::support::process::allow_descriptors;
use crate::support::swarm::Swarm;
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{Echo, Request, Rest, Setup, Tidegate};

/// Of each kind.
const EACH: usize = 1000;
/// How many come at a time.
const COMING: usize = 64;
/// Round trips of the well-behaved while all the others hold on.
const ROUNDS: usize = 20;
/// Long enough for all to be there before the first has to go.
const DEADLINES: [(&str, &str); 6] = [
    ("listener.public", "header_timeout = \"15s\""),
    ("listener.secure", "bind = \"127.0.0.1:0\""),
    ("listener.secure.tls", "handshake_timeout = \"15s\""),
    (
        "route.websocket",
        "ping_interval = \"10s\"\nping_timeout = \"5s\"",
    ),
    ("route.http", "body_timeout = \"15s\""),
    ("log", "level = \"info\""),
];

/// Where somebody stops.
#[derive(Clone, Copy, Debug)]
enum Phase {
    Accept,
    Hello,
    Head,
    Body,
    Tunnel,
}

const PHASES: [Phase; 5] = [
    Phase::Accept,
    Phase::Hello,
    Phase::Head,
    Phase::Body,
    Phase::Tunnel,
];

/// Sends what belongs before the phase and a part of the phase itself.
async fn stop_in(
    phase: Phase,
    to: [SocketAddr; 2],
    hello: Arc<[u8]>,
) -> std::io::Result<TcpStream> {
    let [plain, secure] = to;
    let (address, bytes) = match phase {
        Phase::Accept => (plain, Vec::new()),
        Phase::Hello => (secure, hello[..hello.len() / 2].to_vec()),
        Phase::Head => (plain, b"GET /ws HTTP/1.1\r\nHost: a\r\nX: ".to_vec()),
        Phase::Body => {
            let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome of it";
            (plain, head.to_vec())
        }
        Phase::Tunnel => (plain, Request::upgrade().bytes()),
    };
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&bytes).await?;
    Ok(stream)
}

/// Comes in all the phases, says when all are there, and waits until all are gone.
fn besiege(to: [SocketAddr; 2], hello: Arc<[u8]>, all_there: std::sync::mpsc::Sender<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let gate = Arc::new(Semaphore::new(COMING));
        let mut coming = JoinSet::new();
        for number in 0..EACH * PHASES.len() {
            let (gate, hello) = (Arc::clone(&gate), Arc::clone(&hello));
            coming.spawn(async move {
                let _permit = gate.acquire_owned().await;
                stop_in(PHASES[number % PHASES.len()], to, hello)
                    .await
                    .unwrap()
            });
        }
        let streams = coming.join_all().await;
        all_there.send(()).unwrap();
        for mut stream in streams {
            let mut heard = Vec::new();
            let gone = timeout(2 * PATIENCE, stream.read_to_end(&mut heard)).await;
            assert!(gone.is_ok(), "still held");
        }
    });
}

fn hello(config: &Arc<ClientConfig>) -> Arc<[u8]> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello.into()
}

#[test]
fn five_thousand_that_hang_on_keep_nobody_from_being_served_and_are_gone_under_load() {
    let besiegers = EACH * PHASES.len();
    allow_descriptors(3 * u64::try_from(besiegers).unwrap());
    let authority = Authority::new();
    let certificate = authority.issue(&["localhost"]).toml();
    let echo = Echo::start();
    let mut setup = Setup::to(&[&echo]);
    for (section, lines) in DEADLINES {
        setup = setup.with(section, lines);
    }
    let setup = setup.with(
        "listener.secure.tls",
        &format!("certificates = [{certificate}]"),
    );
    let proxy = Tidegate::start(&setup);
    let rest = Rest::of(&proxy);
    let steady = Swarm::open(
        proxy.address(),
        1,
        Some(std::time::Duration::from_millis(20)),
    );

    let to = [proxy.address(), proxy.listener("secure")];
    let (tell, all_there) = std::sync::mpsc::channel();
    let hello = hello(&authority.client());
    let siege = thread::spawn(move || besiege(to, hello, tell));
    all_there.recv().expect("all of them connected");
    wait_until("all of them to be held at once", || {
        let held = proxy.metrics().sum("tidegate_connections", &[]);
        held > besiegers as f64
    });
    steady.wait_for_rounds(ROUNDS);
    proxy.websocket("/").echo("and a new one");
    siege.join().unwrap();
    steady.wait_for_rounds(1);
    steady.finish().assert_flawless();
    rest.is_back(&proxy);
}
