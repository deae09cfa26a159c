//! The way to the access log: a bounded queue in front of the thread that writes. Nobody who
//! hands a line over ever waits; what does not fit is dropped and counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::mpsc;

use crate::config::defaults::ACCESS_LOG_QUEUE;

use super::record::Record;
use super::sink::Sink;
use super::writer::{Message, Order, Orders, Writer};

/// The access log of the process; clones are the same one.
#[derive(Clone, Debug)]
pub struct AccessLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    on: AtomicBool,
    queue: mpsc::Sender<Message>,
    orders: Arc<Orders>,
    dropped: IntCounter,
}

/// The thread that writes.
#[derive(Debug)]
pub struct WriterThread {
    log: AccessLog,
    ended: std_mpsc::Receiver<()>,
}

impl AccessLog {
    /// Starts the thread that writes to `sink`; `dropped` counts the lines that are lost.
    ///
    /// # Errors
    /// When the thread can't be made.
    pub fn start(sink: Sink, dropped: IntCounter) -> io::Result<(Self, WriterThread)> {
        let (queue, receiver) = mpsc::channel(ACCESS_LOG_QUEUE);
        let orders = Arc::<Orders>::default();
        let shared = Shared {
            on: AtomicBool::new(sink.is_on()),
            queue,
            orders: Arc::clone(&orders),
            dropped: dropped.clone(),
        };
        let log = Self {
            shared: Arc::new(shared),
        };
        let writer = Writer::new(receiver, orders, sink, dropped);
        let (end, ended) = std_mpsc::channel();
        thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                writer.run();
                drop(end);
            })?;
        let thread = WriterThread {
            log: log.clone(),
            ended,
        };
        Ok((log, thread))
    }

    /// Whether lines go anywhere. Where they do not, nobody needs to gather what they would say.
    pub fn is_on(&self) -> bool {
        self.shared.on.load(Relaxed)
    }

    /// Hands a line over, if the log is on.
    pub fn record(&self, record: Record) {
        if self.is_on() && self.shared.queue.try_send(Message::Line(record)).is_err() {
            self.shared.dropped.inc();
        }
    }

    /// From now on lines go to `sink`.
    pub fn direct(&self, sink: Sink) {
        self.shared.on.store(sink.is_on(), Relaxed);
        self.order(Order::Direct(sink));
    }

    fn order(&self, order: Order) {
        self.shared.orders.give(order);
        // A full queue needs no wake-up: the writer looks for orders after each batch.
        let _ = self.shared.queue.try_send(Message::Look);
    }
}

impl WriterThread {
    /// Writes what was handed over so far and ends, `within` this time or else without the rest.
    pub fn finish(self, within: Duration) {
        self.log.order(Order::Finish);
        // An error tells that the thread has ended, which is what was waited for.
        let _ = self.ended.recv_timeout(within);
    }
}
