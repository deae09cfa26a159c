//! The thread that writes the access log: renders what was handed over, batch by batch, and is
//! the only one that waits for a slow disk or a reader that stalls.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::record::Record;
use super::sink::Sink;

/// What comes through the queue.
#[derive(Debug)]
pub(super) enum Message {
    /// A line to write.
    Line(Record),
    /// There is an order.
    Look,
}

/// What the writer is told to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Write there from now on.
    Direct(Sink),
    /// Write what is in the queue and end.
    Finish,
}

/// The last order that was not carried out yet; it overtakes lines that wait.
#[derive(Debug, Default)]
pub(super) struct Orders(Mutex<Option<Order>>);

/// The writer's state.
#[derive(Debug)]
pub(super) struct Writer {
    queue: mpsc::Receiver<Message>,
    orders: Arc<Orders>,
    sink: Sink,
    batch: Vec<u8>,
    dropped: IntCounter,
    /// The last write failed.
    is_failing: bool,
    /// The target ends in the middle of a line.
    is_torn: bool,
}

/// Bytes of lines that are written in one go.
const BATCH_BYTES: usize = 64 * 1024;
/// How long a target that takes nothing is waited for before orders are looked for.
const WAIT: Duration = Duration::from_millis(200);

impl Orders {
    pub(super) fn give(&self, order: Order) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
    }

    fn take(&self) -> Option<Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_waiting(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some()
    }
}

impl Writer {
    pub(super) const fn new(
        queue: mpsc::Receiver<Message>,
        orders: Arc<Orders>,
        sink: Sink,
        dropped: IntCounter,
    ) -> Self {
        Self {
            queue,
            orders,
            sink,
            batch: Vec::new(),
            dropped,
            is_failing: false,
            is_torn: false,
        }
    }

    /// Writes until told to finish, or until nobody can hand anything over any more.
    pub(super) fn run(mut self) {
        while let Some(message) = self.queue.blocking_recv() {
            self.gather(message);
            self.flush();
            match self.orders.take() {
                Some(Order::Direct(sink)) => self.turn_to(sink),
                Some(Order::Finish) => return self.finish(),
                None => {}
            }
        }
    }

    fn turn_to(&mut self, sink: Sink) {
        self.sink = sink;
        self.is_torn = false;
        self.is_failing = false;
    }

    fn finish(&mut self) {
        while let Ok(message) = self.queue.try_recv() {
            self.gather(message);
            self.flush();
        }
    }

    /// Renders a message and what waits behind it.
    fn gather(&mut self, first: Message) {
        let mut next = Some(first);
        while let Some(message) = next {
            if let Message::Line(record) = message {
                record.write_to(&mut self.batch);
            }
            next = match self.batch.len() {
                ..BATCH_BYTES => self.queue.try_recv().ok(),
                _ => None,
            };
        }
    }

    /// Writes the batch; what the target does not take is lost.
    fn flush(&mut self) {
        if self.is_torn && !self.batch.is_empty() {
            self.is_torn = self.write(b"\n") == 0;
        }
        let mut batch = std::mem::take(&mut self.batch);
        let written = if self.is_torn { 0 } else { self.write(&batch) };
        let lost = &batch[written..];
        self.is_torn |= written > 0 && batch[written - 1] != b'\n';
        let lines = memchr::memchr_iter(b'\n', lost).count();
        self.dropped.inc_by(lines as u64);
        batch.clear();
        batch.shrink_to(BATCH_BYTES);
        self.batch = batch;
    }

    /// Writes as much as the target takes; says how much.
    fn write(&mut self, batch: &[u8]) -> usize {
        let mut written = 0;
        while written < batch.len() {
            match self.sink.write(&batch[written..], WAIT) {
                Ok(0) => {
                    self.failed(&io::ErrorKind::WriteZero.into());
                    break;
                }
                Ok(count) => {
                    written += count;
                    self.succeeded();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Lines wait for as long as a reader stalls, orders do not.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.orders.is_waiting() {
                        break;
                    }
                }
                Err(error) => {
                    self.failed(&error);
                    break;
                }
            }
        }
        written
    }

    fn succeeded(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            info!("access log is written again");
        }
    }

    fn failed(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            warn!(%error, "access log can't be written, lines are dropped");
        }
    }
}
