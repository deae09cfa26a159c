//! Every end has one reason (CONTRACT section 4), a row of the table per test: what a foreign client and the
//! backend hear, and that exactly this reason was counted.
//!
//! No row here, as nothing causes them yet: `token_expired`, `overloaded`, `internal_error`.

use std::thread;

use rustix::process::Signal;
use tidegate::logic::reason::EndReason;

use crate::support::frame::{BINARY, CLOSE, Frame, TEXT};
use crate::support::peers::Library::{self, Node, Python};
use crate::support::proxy::tidegate;
use crate::support::stage::last_word;
use crate::support::wait::wait_for;
use crate::support::{Connection, Echo, Puppet, Setup, Stage};

/// One session on its way to its end.
struct Scene {
    stage: Stage,
    client: Puppet,
    /// `None` once it has vanished.
    backend: Option<Connection>,
}

/// What both peers hear, the client through a foreign library; `None` is an end without a Close.
struct Row {
    reason: &'static str,
    client: Option<u16>,
    backend: Option<u16>,
}

impl Row {
    /// Plays it with both libraries.
    fn shows(&self, setup: impl Fn(Setup) -> Setup + Sync, cause: impl Fn(&mut Scene) + Sync) {
        with_both(|library| {
            let stage = Stage::of(&setup);
            let (client, backend) = stage.foreign(library);
            self.play(stage, client, backend, &cause);
        });
    }

    /// The same with lines of `[route.websocket]`.
    fn shows_with(&self, lines: &str, cause: impl Fn(&mut Scene) + Sync) {
        self.shows(|setup| setup.with("route.websocket", lines), cause);
    }

    #[track_caller]
    fn play(&self, stage: Stage, client: Puppet, backend: Connection, cause: impl Fn(&mut Scene)) {
        let mut scene = Scene {
            stage,
            client,
            backend: Some(backend),
        };
        cause(&mut scene);
        if let Some(backend) = &mut scene.backend {
            assert_eq!(last_word(backend), self.backend, "to the backend");
        }
        let expected = self.client.map_or(1006, u64::from);
        assert_eq!(scene.client.closed(), expected, "to the client");
        scene.stage.ended(1.0, self.reason);
        self.counts_its_code(&scene);
    }

    /// The code of the Close that the client saw is counted once, with who sent it.
    #[track_caller]
    fn counts_its_code(&self, scene: &Scene) {
        let metrics = scene.stage.proxy.metrics();
        let count = |labels: &[(&str, &str)]| metrics.sum("tidegate_close_codes_total", labels);
        let Some(code) = self.client else {
            assert!(count(&[]) < 0.5, "a code was counted where there was none");
            return;
        };
        let code = code.to_string();
        let from = match self.reason {
            "client_close" => "client",
            "backend_close" => "backend",
            _ => "proxy",
        };
        let labels = [("route", "main"), ("code", &code), ("from", from)];
        assert!((count(&labels) - 1.0).abs() < 0.5, "{code} from {from}");
        assert!((count(&[]) - 1.0).abs() < 0.5, "more than one code");
    }
}

impl Scene {
    fn backend(&mut self) -> &mut Connection {
        self.backend.as_mut().expect("a backend")
    }
}

const fn row(reason: &'static str, client: u16, backend: u16) -> Row {
    Row {
        reason,
        client: Some(client),
        backend: Some(backend),
    }
}

/// Plays with both libraries at once.
fn with_both(play: impl Fn(Library) + Sync) {
    thread::scope(|scope| {
        scope.spawn(|| play(Python));
        play(Node);
    });
}

fn unchanged(setup: Setup) -> Setup {
    setup
}

#[test]
fn client_close_is_passed_on() {
    row("client_close", 4001, 4001).shows(unchanged, |scene| {
        scene.client.does("close 4001 enough");
    });
}

#[test]
fn backend_close_is_passed_on() {
    row("backend_close", 4002, 4002).shows(unchanged, |scene| {
        let close = Frame::server(CLOSE, Frame::close_payload(4002, "enough"));
        scene.backend().send_frame(&close);
    });
}

#[test]
fn client_gone_ends_the_backend_without_a_close() {
    for vanish in [drop, Connection::reset] {
        let stage = Stage::of(unchanged);
        let (client, mut backend) = stage.tunnel();
        vanish(client);
        assert_eq!(last_word(&mut backend), None);
        drop(backend);
        stage.ended(1.0, "client_gone");
    }
}

#[test]
fn backend_gone_is_1014() {
    for vanish in [drop, Connection::reset] {
        row("backend_gone", 1014, 0).shows(unchanged, |scene| {
            vanish(scene.backend.take().expect("a backend"));
        });
    }
}

#[test]
fn idle_timeout_is_1001_to_both() {
    row("idle_timeout", 1001, 1001).shows_with("idle_timeout = \"300ms\"", |_| {});
}

#[test]
fn ping_timeout_cuts_the_client_and_is_1001_to_the_backend() {
    let stage = Stage::with("ping_interval = \"100ms\"\nping_timeout = \"200ms\"");
    let client = Puppet::open_mute(&stage.url());
    let backend = stage.arrival();
    let row = Row {
        reason: "ping_timeout",
        client: None,
        backend: Some(1001),
    };
    row.play(stage, client, backend, |_| {});
}

#[test]
fn backend_ping_timeout_is_1014_and_cuts_the_backend() {
    let row = Row {
        reason: "backend_ping_timeout",
        client: Some(1014),
        backend: None,
    };
    let pings = "ping_interval = \"100ms\"\nping_timeout = \"200ms\"\nping_backend = true";
    row.shows_with(pings, |_| {});
}

#[test]
fn max_lifetime_is_1012_and_1001() {
    row("max_lifetime", 1012, 1001).shows_with("max_lifetime = \"300ms\"", |_| {});
}

#[test]
fn server_drain_is_1012_and_1001() {
    row("server_drain", 1012, 1001).shows(unchanged, |scene| scene.stage.remove_server());
}

#[test]
fn rebalance_is_1012_and_1001() {
    with_both(|library| {
        let (stage, echo) = (Stage::of(unchanged), Echo::start());
        let mut sessions = vec![stage.foreign(library), stage.foreign(library)];
        stage.add_server(&echo);
        let admin = format!("http://{}", stage.proxy.listener("admin"));
        // The command returns after the last close, in which the backend has a word.
        let command = thread::spawn(move || {
            tidegate(&["rebalance", "echo", "--within", "0s", "--admin", &admin])
        });
        // The lot decides which of the two.
        let moved = wait_for("one of them to be moved", || {
            sessions
                .iter()
                .position(|(client, _)| client.count("close") == 1)
        });
        let (client, backend) = sessions.swap_remove(moved);
        row("rebalance", 1012, 1001).play(stage, client, backend, |_| {});
        command.join().unwrap();
    });
}

#[test]
fn killed_is_1008_and_1001() {
    row("killed", 1008, 1001).shows(unchanged, |scene| {
        let shown = scene.stage.proxy.api("/api/v1/connections");
        let id = &shown["connections"][0]["id"];
        let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        scene.stage.proxy.told(&["connections", "--kill", &id]);
    });
}

#[test]
fn server_down_is_1012_and_1001_where_it_closes() {
    let closes = |setup: Setup| {
        let check = "type = \"tcp\"\ninterval = \"50ms\"\nfall = 1";
        setup
            .with("upstream.echo", "on_server_down = \"close\"")
            .with("upstream.echo.health_check", check)
    };
    row("server_down", 1012, 1001).shows(closes, |scene| {
        drop(scene.stage.backend.take());
    });
}

#[test]
fn shutdown_is_1001_to_both() {
    with_both(|library| {
        let mut stage = Stage::of(|setup| setup.with("server", "shutdown_grace = \"4s\""));
        // It does not answer its Close: the process stays to be asked what it counted.
        let _holding = stage.tunnel();
        let (client, mut backend) = stage.foreign(library);
        stage.proxy.signal(Signal::TERM);
        assert_eq!(last_word(&mut backend), Some(1001));
        assert_eq!(client.closed(), 1001);
        stage.ended(1.0, "shutdown");
        assert!(stage.proxy.wait_for_exit().success());
    });
}

#[test]
fn client_protocol_error_is_1002_and_1001() {
    let unmasked = Frame::server(TEXT, "hello").encode();
    let hex: String = unmasked.iter().map(|byte| format!("{byte:02x}")).collect();
    row("client_protocol_error", 1002, 1001).shows(unchanged, |scene| {
        scene.client.does(&format!("raw {hex}"));
    });
}

#[test]
fn backend_protocol_error_is_1014_and_1002() {
    row("backend_protocol_error", 1014, 1002).shows(unchanged, |scene| {
        scene.backend().send_frame(&Frame::client(TEXT, "masked"));
    });
}

#[test]
fn message_too_big_is_1009_to_both_whoever_sent_it() {
    let limit = "max_message = \"1KiB\"";
    row("message_too_big", 1009, 1009).shows_with(limit, |scene| {
        scene.client.does("binary 1025");
    });
    row("message_too_big", 1009, 1009).shows_with(limit, |scene| {
        let frame = Frame::server(BINARY, [7; 1025]);
        scene.backend().send_frame(&frame);
    });
}

#[test]
fn rate_exceeded_is_1008_and_1001() {
    let rate = "client_messages = \"1/s burst 3\"";
    row("rate_exceeded", 1008, 1001).shows_with(rate, |scene| {
        for _ in 0..6 {
            scene.client.does("text again");
        }
    });
}

#[test]
fn every_reason_of_the_closed_list_has_its_row_or_no_cause() {
    const NO_CAUSE: [&str; 3] = ["token_expired", "overloaded", "internal_error"];
    let table = include_str!("reasons.rs");
    for reason in EndReason::ALL {
        let word = reason.word();
        let shown = ["row(", "reason: ", "ended(1.0, "]
            .iter()
            .any(|how| table.contains(&format!("{how}\"{word}\"")));
        assert!(shown != NO_CAUSE.contains(&word), "{word}");
    }
}
