//! A plain request with both of its connections in the test's hands.

use std::io::Write as _;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::backend::Backend;
use super::connection::Connection;
use super::proxy::Tidegate;
use super::request::Request;
use super::setup::Setup;
use super::wait::{PATIENCE, stays_true};

/// A proxy in front of a backend whose connections are handed to the test.
pub struct Ends {
    /// The proxy.
    pub proxy: Tidegate,
    _backend: Backend,
    arrivals: Receiver<Connection>,
}

impl Ends {
    /// With these lines in `[route.http]`.
    pub fn with(lines: &str) -> Self {
        Self::of(|setup| setup.with("route.http", lines))
    }

    /// With this change to the configuration.
    pub fn of(change: impl FnOnce(Setup) -> Setup) -> Self {
        let (give, arrivals) = channel();
        let backend = Backend::script(move |visit| {
            let _ = give.send(visit.connection);
        });
        let setup = Setup::to(&[&backend]).with("server", "workers = 1");
        Self {
            proxy: Tidegate::start(&change(setup)),
            _backend: backend,
            arrivals,
        }
    }

    /// The backend's end of the next connection.
    #[track_caller]
    pub fn arrival(&self) -> Connection {
        self.arrivals
            .recv_timeout(PATIENCE)
            .expect("a connection at the backend")
    }

    /// A client that has sent this, and the backend's end once the request's head is there.
    #[track_caller]
    pub fn sent(&self, wire: impl AsRef<[u8]>) -> (Connection, Connection, String) {
        let mut client = self.proxy.connect();
        client.send(wire);
        let mut server = self.arrival();
        let head = server.read_head().expect("a request's head");
        (client, server, head)
    }

    /// Waits until so many requests of the route were counted with this status.
    #[track_caller]
    pub fn counted(&self, status: &str, count: f64) {
        let labels = [("route", "main"), ("status", status)];
        self.proxy
            .wait_for_metric("tidegate_requests_total", &labels, count);
    }
}

/// A POST with this framing line and this body as it stands on the wire.
pub fn post(line: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = Request::get("/").line("POST /post HTTP/1.1").with(line);
    [head.bytes(), body.as_ref().to_vec()].concat()
}

/// Sends until nothing on the way takes more.
#[track_caller]
pub fn fill(client: &Connection) {
    client.tcp().set_nonblocking(true).unwrap();
    let block = vec![b'x'; 1 << 20];
    let (mut sent, mut idle) = (0_usize, 0);
    while idle < 50 {
        match client.tcp().write(&block) {
            Ok(count) => (sent, idle) = (sent + count, 0),
            Err(_) => {
                idle += 1;
                stays_true(Duration::from_millis(10), "stalled", || true);
            }
        }
        assert!(sent < 500 << 20, "nothing pushed back");
    }
    client.tcp().set_nonblocking(false).unwrap();
}
