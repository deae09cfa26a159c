//! Spans of handshakes and sessions on their way to a collector: a bounded queue that never makes
//! a session wait, and the encoding that OpenTelemetry collectors take.

pub mod otlp;
mod span;

use prometheus::IntCounterVec;
use tokio::sync::mpsc;

use crate::logic::trace::Share;

pub use span::{Span, SpanKind, Value};

/// Batches of spans that wait for the collector: those of a handshake, or of a session.
const WAITING: usize = 4096;

/// What became of a span, as the metric has it.
pub const EXPORTED: &str = "exported";
/// The same, lost.
pub const DROPPED: &str = "dropped";

/// Takes spans; clones share the queue.
#[derive(Clone, Debug)]
pub struct Tracer {
    queue: mpsc::Sender<Vec<Span>>,
    share: Share,
    counts: IntCounterVec,
}

impl Tracer {
    /// A tracer that keeps this share, and where its spans come out.
    pub fn new(share: Share, counts: &IntCounterVec) -> (Self, mpsc::Receiver<Vec<Span>>) {
        let (queue, spans) = mpsc::channel(WAITING);
        let tracer = Self {
            queue,
            share,
            counts: counts.clone(),
        };
        (tracer, spans)
    }

    /// Which requests are traced that nobody asked to trace.
    pub const fn share(&self) -> Share {
        self.share
    }

    /// Hands spans over; they are dropped, and counted, where the queue is full.
    pub fn emit(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.queue.try_send(spans).is_err() {
            self.counts.with_label_values(&[DROPPED]).inc_by(count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn spans_that_nobody_takes_are_counted_and_not_kept() {
        let metrics = Metrics::new(1).unwrap();
        let (tracer, mut spans) = Tracer::new(Share::ALL, &metrics.trace_spans);
        for _ in 0..WAITING + 3 {
            tracer.emit(vec![Span::example()]);
        }
        let dropped = metrics.trace_spans.with_label_values(&[DROPPED]).get();
        assert_eq!(dropped, 3);
        let kept = std::iter::from_fn(|| spans.try_recv().ok()).count();
        assert_eq!(kept, WAITING);
    }
}
