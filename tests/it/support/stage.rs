//! The proxy with both ends of every session in the test's hands.

use std::sync::mpsc::{Receiver, channel};

use super::backend::Backend;
use super::connection::Connection;
use super::frame::{CLOSE, Frame};
use super::peers::Library;
use super::proxy::Tidegate;
use super::puppet::Puppet;
use super::setup::Setup;
use super::wait::PATIENCE;

/// A proxy in front of a backend whose connections are handed to the test.
pub struct Stage {
    /// The proxy.
    pub proxy: Tidegate,
    /// Where it forwards to; `None` once it no longer listens.
    pub backend: Option<Backend>,
    setup: Setup,
    arrivals: Receiver<Connection>,
}

impl Stage {
    /// With these lines in `[route.websocket]`; drains take no time.
    pub fn with(lines: &str) -> Self {
        Self::of(|setup| setup.with("route.websocket", lines))
    }

    /// With this change to the configuration; drains take no time.
    pub fn of(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (give, arrivals) = channel();
        let backend = Backend::accepting(move |visit| {
            let _ = give.send(visit.connection);
        });
        let setup = Setup::to(&[&backend]).with("upstream.echo", "drain = \"0s\"");
        let setup = change(setup);
        Self {
            proxy: Tidegate::start(&setup),
            backend: Some(backend),
            setup,
            arrivals,
        }
    }

    /// A session between two bare connections: the client's, the backend's.
    #[track_caller]
    pub fn tunnel(&self) -> (Connection, Connection) {
        let client = self.proxy.tunnel();
        (client, self.arrival())
    }

    /// A session between a foreign client and a bare backend.
    #[track_caller]
    pub fn foreign(&self, library: Library) -> (Puppet, Connection) {
        let client = Puppet::open(library, &self.url());
        (client, self.arrival())
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("ws://{}/", self.proxy.address())
    }

    /// The backend's end of the next session.
    #[track_caller]
    pub fn arrival(&self) -> Connection {
        self.arrivals
            .recv_timeout(PATIENCE)
            .expect("a session at the backend")
    }

    /// Takes the server out of the configuration, which ends its sessions with `server_drain`.
    #[track_caller]
    pub fn remove_server(&self) {
        let elsewhere = "servers = [\"127.0.0.1:1\"]";
        self.proxy
            .reload_with(&self.setup.clone().with("upstream.echo", elsewhere));
    }

    /// Puts a further server into the configuration.
    #[track_caller]
    pub fn add_server(&self, server: impl std::fmt::Display) {
        let backend = self.backend.as_ref().expect("a listening backend");
        let both = format!("servers = [\"{backend}\", \"{server}\"]");
        self.proxy
            .reload_with(&self.setup.clone().with("upstream.echo", &both));
    }

    /// Waits until `count` sessions have ended, every one of them for `reason`.
    #[track_caller]
    pub fn ended(&self, count: f64, reason: &str) {
        const CLOSED: &str = "tidegate_websockets_closed_total";
        let labels = [("reason", reason), ("route", "main"), ("upstream", "echo")];
        self.proxy.wait_for_metric(CLOSED, &labels, count);
        let all = self.proxy.metrics().sum(CLOSED, &[]);
        assert!(
            (all - count).abs() < 0.5,
            "{all} ends, {count} for {reason}"
        );
    }
}

/// Reads on to the Close, answers it and hangs up; its code, `None` for an end without a Close.
#[track_caller]
pub fn last_word(connection: &mut Connection) -> Option<u16> {
    while let Some(frame) = connection.read_frame() {
        if frame.opcode == CLOSE {
            let answer = match frame.mask {
                Some(_) => Frame::server(CLOSE, &frame.payload),
                None => Frame::client(CLOSE, &frame.payload),
            };
            connection.send_frame(&answer);
            connection.finish();
            return frame.close_code();
        }
    }
    None
}
