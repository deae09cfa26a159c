//! Hands spans to a collector over OTLP/HTTP, in batches; what it does not take is counted and lost.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use prometheus::IntCounterVec;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::logic::trace::Collector;
use crate::telemetry::trace::{DROPPED, EXPORTED, Span, otlp};

/// Handshakes and sessions whose spans go out together.
const BATCH: usize = 512;
/// How long spans wait for others to go out with them.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take for a batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The task that exports.
#[derive(Debug)]
pub struct Exporter {
    task: JoinHandle<()>,
    finish: oneshot::Sender<()>,
}

/// Why a batch was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Connect(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] hyper::http::Error),
    #[error("answered {0}")]
    Refused(StatusCode),
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Silent,
}

impl Exporter {
    /// Exports what comes until it is finished.
    pub fn start(
        spans: mpsc::Receiver<Vec<Span>>,
        collector: Collector,
        counts: IntCounterVec,
    ) -> Self {
        let (finish, finished) = oneshot::channel();
        let export = Export {
            spans,
            collector,
            counts,
            failing: false,
        };
        Self {
            task: tokio::spawn(export.run(finished)),
            finish,
        }
    }

    /// Exports what still waits, for so long at most.
    pub async fn finish(self, within: Duration) {
        // An exporter that is gone has nothing left to do.
        let _ = self.finish.send(());
        let _ = timeout(within, self.task).await;
    }
}

struct Export {
    spans: mpsc::Receiver<Vec<Span>>,
    collector: Collector,
    counts: IntCounterVec,
    /// The last batch was not taken.
    failing: bool,
}

impl Export {
    async fn run(mut self, mut finished: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut is_last = false;
        while !is_last {
            tokio::select! {
                count = self.spans.recv_many(&mut batch, BATCH) => is_last = count == 0,
                _ = &mut finished => is_last = true,
            }
            if !is_last {
                tokio::select! {
                    () = sleep(GATHER) => {}
                    _ = &mut finished => is_last = true,
                }
            }
            self.gather(&mut batch, is_last);
            let spans: Vec<Span> = batch.drain(..).flatten().collect();
            if !spans.is_empty() {
                self.hand_over(&spans).await;
            }
        }
    }

    /// Adds what waits to the batch; at the end all of it, which the queue bounds.
    fn gather(&mut self, batch: &mut Vec<Vec<Span>>, is_last: bool) {
        while is_last || batch.len() < BATCH {
            let Ok(spans) = self.spans.try_recv() else {
                return;
            };
            batch.push(spans);
        }
    }

    async fn hand_over(&mut self, spans: &[Span]) {
        let body = otlp::request(spans).to_string();
        let outcome = timeout(TIMEOUT, post(&self.collector, body)).await;
        let outcome = outcome.unwrap_or(Err(Failure::Silent));
        let result = if outcome.is_ok() { EXPORTED } else { DROPPED };
        (self.counts.with_label_values(&[result])).inc_by(spans.len() as u64);
        // Once for each change: a collector may be away for hours.
        match outcome {
            Err(error) if !self.failing => {
                warn!(collector = %self.collector, %error, "spans are lost");
            }
            Ok(()) if self.failing => info!(collector = %self.collector, "spans are taken again"),
            _ => {}
        }
        self.failing = result == DROPPED;
    }
}

async fn post(collector: &Collector, body: String) -> Result<(), Failure> {
    let stream = TcpStream::connect((&*collector.host, collector.port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::post(&*collector.path)
        .header(HOST, collector.authority())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(Failure::Refused(status)),
        }
    };
    tokio::pin!(exchange);
    // The connection moves the bytes for as long as the exchange waits for them.
    tokio::select! {
        outcome = &mut exchange => outcome,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}
