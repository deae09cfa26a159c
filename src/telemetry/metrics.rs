//! The collectors behind the families, and the registry that a scrape reads.

use std::sync::Arc;

use prometheus::core::Collector;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    Result,
};

use super::expose;
use super::families::{self, Family};
use super::global_stats::GlobalStats;
use super::process::{ProcessFigures, Usage};
use super::traffic::Traffic;

/// Buckets of handshakes, requests and pings: 0.5 ms to 10 s.
const LATENCY_SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Buckets of session lives: 1 s to a week.
const LIFE_SECONDS: &[f64] = &[
    1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0,
];

/// Every collector, by the name of its family.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "families.rs has each family's help")]
pub struct Metrics {
    pub connections: IntGaugeVec,
    pub connections_accepted: IntCounterVec,
    pub connections_refused: IntCounterVec,
    pub tls_handshakes: IntCounterVec,
    pub handshakes: IntCounterVec,
    pub handshake_duration: HistogramVec,
    pub websockets: IntGaugeVec,
    pub websockets_closed: IntCounterVec,
    pub close_codes: IntCounterVec,
    pub session_duration: HistogramVec,
    pub traffic: Traffic,
    pub ping_rtt: HistogramVec,
    pub requests: IntCounterVec,
    pub request_duration: HistogramVec,
    pub server_up: IntGaugeVec,
    pub server_connections: IntGaugeVec,
    pub server_failures: IntCounterVec,
    pub retries: IntCounterVec,
    pub draining: IntGaugeVec,
    pub queue_length: IntGaugeVec,
    pub health_checks: IntCounterVec,
    pub reloads: IntCounterVec,
    pub last_reload_timestamp: IntGauge,
    pub last_reload_successful: IntGauge,
    pub parked_bytes: IntGauge,
    pub access_log_dropped: IntCounter,
    pub trace_spans: IntCounterVec,
    pub worker_connections: IntGaugeVec,
    pub global_stats: Arc<GlobalStats>,
    file_descriptors: IntGaugeVec,
    registry: Registry,
}

impl Metrics {
    /// All families, registered, for a process with this many workers.
    ///
    /// # Errors
    /// When a family's name or labels are not valid in the exposition format, or stand twice.
    pub fn new(workers: usize) -> Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            connections: gauges(&registry, &families::CONNECTIONS)?,
            connections_accepted: counters(&registry, &families::CONNECTIONS_ACCEPTED)?,
            connections_refused: counters(&registry, &families::CONNECTIONS_REFUSED)?,
            tls_handshakes: counters(&registry, &families::TLS_HANDSHAKES)?,
            handshakes: counters(&registry, &families::HANDSHAKES)?,
            handshake_duration: histograms(
                &registry,
                &families::HANDSHAKE_DURATION,
                LATENCY_SECONDS,
            )?,
            websockets: gauges(&registry, &families::WEBSOCKETS)?,
            websockets_closed: counters(&registry, &families::WEBSOCKETS_CLOSED)?,
            close_codes: counters(&registry, &families::CLOSE_CODES)?,
            session_duration: histograms(&registry, &families::SESSION_DURATION, LIFE_SECONDS)?,
            traffic: register(&registry, Traffic::new(workers)?)?,
            ping_rtt: histograms(&registry, &families::PING_RTT, LATENCY_SECONDS)?,
            requests: counters(&registry, &families::REQUESTS)?,
            request_duration: histograms(&registry, &families::REQUEST_DURATION, LATENCY_SECONDS)?,
            server_up: gauges(&registry, &families::SERVER_UP)?,
            server_connections: gauges(&registry, &families::SERVER_CONNECTIONS)?,
            server_failures: counters(&registry, &families::SERVER_FAILURES)?,
            retries: counters(&registry, &families::RETRIES)?,
            draining: gauges(&registry, &families::DRAINING)?,
            queue_length: gauges(&registry, &families::QUEUE_LENGTH)?,
            health_checks: counters(&registry, &families::HEALTH_CHECKS)?,
            reloads: counters(&registry, &families::RELOADS)?,
            last_reload_timestamp: gauge(&registry, &families::LAST_RELOAD_TIMESTAMP)?,
            last_reload_successful: gauge(&registry, &families::LAST_RELOAD_SUCCESSFUL)?,
            parked_bytes: gauge(&registry, &families::PARKED_BYTES)?,
            access_log_dropped: counter(&registry, &families::ACCESS_LOG_DROPPED)?,
            trace_spans: counters(&registry, &families::TRACE_SPANS)?,
            worker_connections: gauges(&registry, &families::WORKER_CONNECTIONS)?,
            global_stats: Arc::default(),
            file_descriptors: gauges(&registry, &families::FILE_DESCRIPTORS)?,
            registry,
        };
        let count = i64::try_from(workers).unwrap_or(i64::MAX);
        gauge(&metrics.registry, &families::WORKERS)?.set(count);
        let build = gauges(&metrics.registry, &families::BUILD_INFO)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        register(&metrics.registry, ProcessFigures::begin()?)?;
        Ok(metrics)
    }

    /// The exposition, in Prometheus text or OpenMetrics.
    ///
    /// # Errors
    /// When a collector yields samples that do not fit its family.
    pub fn scrape(&self, format: expose::Format) -> Result<String> {
        let usage = Usage::now();
        for (kind, count) in [
            ("used", usage.descriptors),
            ("limit", usage.max_descriptors),
        ] {
            self.file_descriptors
                .with_label_values(&[kind])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        expose::encode(&self.registry.gather(), format)
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn counters(registry: &Registry, family: &Family) -> Result<IntCounterVec> {
    register(registry, IntCounterVec::new(opts(family), family.labels)?)
}

fn counter(registry: &Registry, family: &Family) -> Result<IntCounter> {
    register(registry, IntCounter::with_opts(opts(family))?)
}

fn gauges(registry: &Registry, family: &Family) -> Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(opts(family), family.labels)?)
}

fn gauge(registry: &Registry, family: &Family) -> Result<IntGauge> {
    register(registry, IntGauge::with_opts(opts(family))?)
}

fn histograms(registry: &Registry, family: &Family, buckets: &[f64]) -> Result<HistogramVec> {
    let opts = HistogramOpts::from(opts(family)).buckets(buckets.to_vec());
    register(registry, HistogramVec::new(opts, family.labels)?)
}

fn opts(family: &Family) -> Opts {
    Opts::new(family.name, family.help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_of_the_table_is_registered() {
        let metrics = Metrics::new(2).unwrap();
        let mut described: Vec<String> = families::FAMILIES
            .iter()
            .map(|family| family.name.to_owned())
            .collect();
        for family in metrics.registry.gather() {
            described.retain(|name| name != family.name());
        }
        // A family with labels shows up with its first child; without labels it is there at once.
        described.retain(|name| {
            families::FAMILIES
                .iter()
                .any(|f| f.name == name && f.labels.is_empty())
        });
        assert_eq!(described, Vec::<String>::new());
    }
}
