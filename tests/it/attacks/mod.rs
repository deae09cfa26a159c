//! What a hostile client, a lying server or a bad day does, one test for each case that has no
//! home in another module; `docs/attacks.md` lists them all.

use std::time::{Duration, Instant};

use crate::support::wait::wait_until;
use crate::support::{Echo, Setup, Tidegate};

mod books;
mod clients;
mod machine;
mod secure;
mod servers;

/// Of every [`Setup`] here.
const WORKERS: usize = 2;

/// How soon a good client must be served after any attack.
const PROMPT: Duration = Duration::from_secs(5);

/// What a proxy holds while nothing is wrong, to be held against what it holds afterwards.
struct Calm {
    echo: Echo,
    descriptors: usize,
    memory_kib: usize,
}

impl Calm {
    /// Adds a good server to the setup, at `/calm`, and starts.
    fn before(setup: &Setup) -> (Tidegate, Self) {
        let echo = Echo::start();
        let setup = setup
            .clone()
            .route_before("name = \"calm\"\npath = \"/calm\"\nupstream = \"calm\"")
            .with("upstream.calm", &format!("servers = [\"{echo}\"]"))
            .with("log", &format!("access = \"{}\"", books::ACCESS_LOG));
        let proxy = Tidegate::start(&setup);
        proxy.websocket("/calm").close();
        proxy.wait_for_metric("tidegate_connections", &[], 0.0);
        let process = proxy.process();
        // Each has its name from itself, a moment after it began.
        wait_until("both workers", || process.workers() == WORKERS);
        let calm = Self {
            echo,
            descriptors: process.descriptors(),
            memory_kib: process.memory_kib(),
        };
        (proxy, calm)
    }

    /// Nothing is left of the attack: a good client is served at once, nobody is connected,
    /// descriptors, threads and memory are what they were, and each end and each answer has its
    /// line and is counted once. That nothing panicked and nobody died is seen when the proxy is
    /// dropped.
    #[track_caller]
    fn returns(&self, proxy: &Tidegate) {
        let begun = Instant::now();
        proxy.websocket("/calm").echo("calm");
        assert!(
            begun.elapsed() < PROMPT,
            "a good client waited {:?}",
            begun.elapsed()
        );
        for gauge in [
            "connections",
            "websockets",
            "server_connections",
            "parked_bytes",
        ] {
            proxy.wait_for_metric(&format!("tidegate_{gauge}"), &[], 0.0);
        }
        let process = proxy.process();
        // A scrape has a descriptor of its own while it lasts.
        wait_until("the descriptors of before", || {
            process.descriptors() <= self.descriptors + 1
        });
        assert_eq!(process.workers(), WORKERS);
        let grown = process.memory_kib().saturating_sub(self.memory_kib);
        assert!(grown < MOST_GROWTH_KIB, "{grown} KiB more than before");
        assert!(self.echo.accepted() > 0);
        books::agree(proxy);
    }
}

/// What allocators keep of what was given back.
const MOST_GROWTH_KIB: usize = 16 * 1024;

/// In front of nobody but the good server of [`Calm`].
fn alone() -> Setup {
    Setup::to(&["127.0.0.1:1"])
}
