//! More frames than anyone wants to keep: sent at random cuts, received by hash.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::digest::{Digest, Sum};
use super::frame::{BINARY, CONTINUATION, Frame};
use super::wait::wait_until;

/// A stream of frames that its seed decides: numbered blocks of about a MiB.
#[derive(Clone, Debug)]
pub struct Flow {
    blocks: u64,
    masked: bool,
    seed: u64,
    /// What every block has behind its number.
    body: Arc<[u8]>,
}

/// A flow on its way out.
pub struct Sending {
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Sum>,
}

/// A flow on its way in.
pub struct Receiving(JoinHandle<Sum>);

/// About how large a block is.
const BLOCK_BYTES: usize = 1 << 20;
/// Nothing was taken for so long: the peer is stalled.
const STALL: Duration = Duration::from_millis(300);

impl Flow {
    /// What a client sends.
    pub fn of_client(blocks: u64) -> Self {
        Self::new(blocks, true)
    }

    /// What a server sends.
    pub fn of_server(blocks: u64) -> Self {
        Self::new(blocks, false)
    }

    fn new(blocks: u64, masked: bool) -> Self {
        let seed = fastrand::u64(..);
        eprintln!("flow of seed {seed}");
        Self {
            blocks,
            masked,
            seed,
            body: body(masked, &mut fastrand::Rng::with_seed(seed)).into(),
        }
    }

    /// How many bytes it has.
    pub fn len(&self) -> u64 {
        self.blocks * u64::try_from(self.block(0).len()).unwrap()
    }

    /// Sends it on a thread of its own; ends early where the connection does.
    pub fn send_over(&self, connection: &Connection) -> Sending {
        let (flow, mut tcp) = (self.clone(), connection.tcp().try_clone().unwrap());
        tcp.set_write_timeout(None).unwrap();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let thread = thread::spawn(move || flow.send(&mut tcp, &counter));
        Sending { sent, thread }
    }

    /// Receives as much on a thread of its own.
    pub fn receive_over(&self, connection: &Connection) -> Receiving {
        let (bytes, tcp) = (self.len(), connection.tcp().try_clone().unwrap());
        Receiving(thread::spawn(move || receive(tcp, bytes)))
    }

    fn send(&self, tcp: &mut TcpStream, sent: &AtomicU64) -> Sum {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut digest = Digest::new();
        for number in 0..self.blocks {
            let block = self.block(number);
            digest.add(&block);
            let mut rest = &block[..];
            while !rest.is_empty() {
                let most = if rng.bool() { 64 << 10 } else { 200 };
                let (cut, later) = rest.split_at(rng.usize(1..=most).min(rest.len()));
                if tcp.write_all(cut).is_err() {
                    return digest.sum();
                }
                sent.fetch_add(cut.len().try_into().unwrap(), Ordering::AcqRel);
                rest = later;
            }
        }
        digest.sum()
    }

    fn block(&self, number: u64) -> Vec<u8> {
        let number = number.to_be_bytes();
        let frame = match self.masked {
            true => Frame::client(BINARY, number),
            false => Frame::server(BINARY, number),
        };
        [&frame.encode(), &self.body[..]].concat()
    }
}

impl Sending {
    /// How many bytes were taken so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }

    /// Waits until nothing more is taken.
    #[track_caller]
    pub fn wait_for_stall(&self) {
        let (mut last, mut since) = (0, Instant::now());
        wait_until("the sender to be stalled", || {
            let sent = self.sent();
            if sent != last {
                (last, since) = (sent, Instant::now());
            }
            sent > 0 && since.elapsed() >= STALL
        });
    }

    /// Waits for its end; the hash of what was sent.
    pub fn sum(self) -> Sum {
        self.thread.join().unwrap()
    }
}

impl Receiving {
    /// Waits for its end; the hash of what came.
    #[track_caller]
    pub fn sum(self) -> Sum {
        self.0.join().expect("all of the flow")
    }
}

fn receive(mut tcp: TcpStream, bytes: u64) -> Sum {
    let (mut digest, mut left) = (Digest::new(), bytes);
    let mut chunk = vec![0; 64 << 10];
    while left > 0 {
        let most = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = tcp.read(&mut chunk[..most]).unwrap();
        assert!(count > 0, "the stream ended with {left} bytes to come");
        digest.add(&chunk[..count]);
        left -= u64::try_from(count).unwrap();
    }
    digest.sum()
}

/// Frames of all sizes, some of them fragments, ending with a whole message.
fn body(masked: bool, rng: &mut fastrand::Rng) -> Vec<u8> {
    let (mut wire, mut inside) = (Vec::with_capacity(BLOCK_BYTES), false);
    while wire.len() < BLOCK_BYTES || inside {
        let size = match rng.u8(..4) {
            0 => rng.usize(..4),
            1 => rng.usize(120..130),
            2 => rng.usize(65_530..65_540),
            _ => rng.usize(..100_000),
        };
        let mut payload = vec![0; size];
        rng.fill(&mut payload);
        let fin = wire.len() >= BLOCK_BYTES || rng.bool();
        let frame = Frame {
            fin,
            mask: masked.then(|| rng.u32(..).to_be_bytes()),
            ..Frame::server(if inside { CONTINUATION } else { BINARY }, payload)
        };
        wire.extend(frame.encode());
        inside = !fin;
    }
    wire
}
