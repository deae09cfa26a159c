//! Clients as they are in the field: told to go, they come back at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::wait::{wait_for, wait_until};
use super::websocket::WebSocket;

/// Clients that each hold a WebSocket, and whether they open another when it is closed.
pub struct Fleet {
    closes: Arc<Mutex<Vec<Close>>>,
}

/// A Close that a client got.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// When it came.
    pub at: Instant,
    /// Its code.
    pub code: u16,
}

impl Fleet {
    /// Opens `size` WebSockets one after the other; each is opened again when it was closed.
    pub fn returning(address: SocketAddr, size: usize) -> Self {
        Self::open(address, size, true)
    }

    /// The same, but a client that was sent away stays away.
    pub fn leaving(address: SocketAddr, size: usize) -> Self {
        Self::open(address, size, false)
    }

    fn open(address: SocketAddr, size: usize, returns: bool) -> Self {
        let closes = Arc::<Mutex<Vec<Close>>>::default();
        for _ in 0..size {
            let mut socket = WebSocket::open(Connection::open(address), "/");
            let closes = Arc::clone(&closes);
            thread::spawn(move || {
                // Without a Close the proxy is gone, and the test over.
                while let Some((code, _)) = socket.closed() {
                    let at = Instant::now();
                    closes.lock().unwrap().push(Close { at, code });
                    if !returns {
                        return;
                    }
                    socket = WebSocket::open(Connection::open(address), "/");
                }
            });
        }
        Self { closes }
    }

    /// The Closes that came so far.
    pub fn closes(&self) -> Vec<Close> {
        self.closes.lock().unwrap().clone()
    }

    /// Waits until as many Closes have come.
    #[track_caller]
    pub fn wait_for_closes(&self, count: usize) -> Vec<Close> {
        wait_until("clients to be told", || self.closes().len() >= count);
        wait_for("their Closes", || Some(self.closes()))
    }
}

/// Fails when the Closes since `start` came faster than `count` evenly spread over `within`.
#[track_caller]
pub fn assert_paced(closes: &[Close], start: Instant, count: usize, within: Duration) {
    let share = within / u32::try_from(count).unwrap();
    for (at, close) in closes.iter().enumerate() {
        // What a busy machine delays only makes a Close later.
        let earliest = share * u32::try_from(at.saturating_sub(1)).unwrap();
        let came = close.at.saturating_duration_since(start);
        assert!(
            came >= earliest,
            "Close {at} came after {came:?}, not {earliest:?}"
        );
    }
}
