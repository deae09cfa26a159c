//! A bad day, all of it at once: clients and servers that reset, stall, vanish and lie at every
//! phase, reloads meanwhile. Seeded; `TIDEGATE_CHAOS_SEED` repeats a day, `TIDEGATE_CHAOS_SECONDS`
//! makes it longer.

mod client;
mod server;
mod slowloris;

use std::env;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::certificates::Authority;
use crate::support::swarm::Swarm;
use crate::support::wait::{PATIENCE, wait_until};
use crate::support::{Backend, Echo, Rest, Setup, Tidegate};

/// How long the day lasts unless said.
const SECONDS: u64 = 15;
/// Clients that come again and again.
const CLIENTS: u64 = 32;
/// Clients whose conversations nothing may disturb.
const STEADY: usize = 20;
/// Every deadline of the proxy is over within a few seconds, so that who stalls is seen to go.
const DEADLINES: [(&str, &str); 5] = [
    (
        "listener.public",
        "header_timeout = \"500ms\"\nkeepalive_timeout = \"500ms\"",
    ),
    (
        "listener.secure",
        "header_timeout = \"500ms\"\nkeepalive_timeout = \"500ms\"",
    ),
    ("listener.secure.tls", "handshake_timeout = \"500ms\""),
    (
        "upstream.moody",
        "connect_timeout = \"500ms\"\nhandshake_timeout = \"500ms\"",
    ),
    ("upstream.moody.passive", "failures = 0"),
];
/// The route of those who misbehave.
const CHAOS: &str = "name = \"chaos\"\npath = \"/chaos\"\nupstream = \"moody\"\n\
    websocket = { idle_timeout = \"1s\", max_lifetime = \"2s\", ping_interval = \"200ms\", ping_timeout = \"300ms\" }\n\
    http = { response_timeout = \"500ms\", body_timeout = \"500ms\", send_timeout = \"500ms\" }";

/// How somebody stops in the middle of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Ends its direction and reads out the other.
    Finish,
    /// Resets the connection.
    Reset,
    /// Does nothing more.
    Stall,
}

impl Way {
    const ALL: [Self; 3] = [Self::Finish, Self::Reset, Self::Stall];
}

/// What went on, and what should not have.
#[derive(Default)]
struct Day {
    seed: u64,
    visits: AtomicU64,
    echoes: AtomicU64,
    faults: Mutex<Vec<String>>,
}

impl Day {
    /// Chance of its own for one connection.
    fn dice(&self) -> fastrand::Rng {
        let number = self.visits.fetch_add(1, Ordering::AcqRel);
        fastrand::Rng::with_seed(self.seed.wrapping_add(number))
    }

    fn blame(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }
}

/// Stops in this way, and waits for the peer to let go. Who resets has said so when it connected.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, way: Way) -> Result<(), String> {
    match way {
        Way::Reset => return Ok(()),
        Way::Finish => drop(stream.shutdown().await),
        Way::Stall => {}
    }
    let mut chunk = [0; 4096];
    let end = async { while matches!(stream.read(&mut chunk).await, Ok(1..)) {} };
    match timeout(PATIENCE, end).await {
        Ok(()) => Ok(()),
        Err(_) => Err(format!("still held after {way:?}")),
    }
}

/// From now on closing the connection resets it.
fn close_by_reset(tcp: &TcpStream) {
    let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    env::var(name).ok()?.parse().ok()
}

/// The proxy in the middle of it.
struct Scene {
    setup: Setup,
    proxy: Tidegate,
    secure: SocketAddr,
    authority: Authority,
}

impl Scene {
    fn set(echo: &Echo, moody: &[SocketAddr]) -> Self {
        let authority = Authority::new();
        let certificate = authority.issue(&["localhost"]).toml();
        let servers: Vec<String> = moody.iter().map(|server| format!("\"{server}\"")).collect();
        let mut setup = Setup::to(&[echo])
            .with("log", "level = \"info\"")
            .with("listener.secure", "bind = \"127.0.0.1:0\"")
            .with(
                "listener.secure.tls",
                &format!("certificates = [{certificate}]"),
            )
            .with(
                "upstream.moody",
                &format!("servers = [{}]", servers.join(", ")),
            )
            .route_before(CHAOS);
        for (section, lines) in DEADLINES {
            setup = setup.with(section, lines);
        }
        let proxy = Tidegate::start(&setup);
        let secure = proxy.listener("secure");
        Self {
            setup,
            proxy,
            secure,
            authority,
        }
    }

    /// Reloads until the day is over, as fast as the steady ones talk: a listener comes and goes,
    /// limits change.
    fn reload_until(&self, end: Instant, steady: &Swarm) -> u32 {
        let mut reloads = 0;
        while Instant::now() < end {
            steady.wait_for_rounds(1);
            let setup = match reloads % 2 {
                0 => self
                    .setup
                    .clone()
                    .with("listener.third", "bind = \"127.0.0.1:0\"")
                    .with("upstream.moody", "retries = 1"),
                _ => self.setup.clone(),
            };
            self.proxy.reload_with(&setup);
            reloads += 1;
        }
        reloads
    }
}

/// The clients, on a thread of their own.
fn crowd(scene: &Scene, day: &Arc<Day>, end: Instant) -> JoinHandle<()> {
    let (plain, secure) = (scene.proxy.address(), scene.secure);
    let (tls, day) = (scene.authority.client(), Arc::clone(day));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut clients = JoinSet::new();
            for _ in 0..CLIENTS {
                let (day, tls) = (Arc::clone(&day), Arc::clone(&tls));
                clients.spawn(async move {
                    while Instant::now() < end {
                        let visit = client::Visit::draw(&day, &tls);
                        visit.pay(plain, secure).await;
                    }
                });
            }
            clients.join_all().await;
        });
    })
}

#[test]
fn a_bad_day_ends_with_nothing_lost_and_nothing_left_under_load() {
    let seed = setting("TIDEGATE_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..));
    let seconds = setting("TIDEGATE_CHAOS_SECONDS").unwrap_or(SECONDS);
    eprintln!("chaos of seed {seed}, {seconds} s");
    let day = Arc::new(Day {
        seed,
        ..Day::default()
    });
    let echo = Echo::start();
    let moody = [server::Moody::start(&day), server::Moody::start(&day)];
    let refusing = Backend::refusing();
    let [one, two] = moody.each_ref().map(server::Moody::address);
    let scene = Scene::set(&echo, &[one, two, refusing.address()]);
    let rest = Rest::of(&scene.proxy);

    let steady = Swarm::open(
        scene.proxy.address(),
        STEADY,
        Some(Duration::from_millis(50)),
    );
    let end = Instant::now() + Duration::from_secs(seconds);
    let clients = crowd(&scene, &day, end);
    let reloads = scene.reload_until(end, &steady);
    clients.join().unwrap();
    steady.finish().assert_flawless();

    let faults = std::mem::take(&mut *day.faults.lock().unwrap());
    let (visits, echoes) = (&day.visits, &day.echoes);
    eprintln!("{reloads} reloads, {visits:?} connections, {echoes:?} echoes");
    assert!(faults.is_empty(), "{} faults: {faults:#?}", faults.len());
    assert!(
        echoes.load(Ordering::Acquire) > 100,
        "hardly anybody was served"
    );
    wait_until("the last session to end", || {
        let live = scene.proxy.api("/api/v1/connections");
        live["connections"].as_array().is_some_and(Vec::is_empty)
    });
    // Connections that are kept for plain requests go with their servers.
    let elsewhere = "servers = [\"127.0.0.1:1\"]";
    let emptied = scene.setup.clone().with("upstream.moody", elsewhere);
    scene
        .proxy
        .reload_with(&emptied.with("upstream.echo", elsewhere));
    rest.is_back(&scene.proxy);
}
