//! Messages and bytes per route, counted without sharing: each worker writes a stripe of its own
//! and a scrape adds the stripes up, so a figure moves while its socket is open and costs no
//! contended atomic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

use super::families::{BYTES, Family, MESSAGES};

/// The labels of `direction`, indexed by [`Stripe`]'s order.
pub const DIRECTIONS: [&str; 2] = ["to_backend", "to_client"];
/// The labels of `kind`, in [`Stripe`]'s order.
pub const KINDS: [&str; 5] = ["text", "binary", "close", "ping", "pong"];

/// How many of them, from the first, carry data.
pub const DATA_KINDS: usize = 2;

/// What all routes have carried, by [`DIRECTIONS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Data messages.
    pub messages: [u64; DIRECTIONS.len()],
    /// Their payload bytes.
    pub bytes: [u64; DIRECTIONS.len()],
}

/// One worker's counters of one route; on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Stripe {
    messages: [[AtomicU64; KINDS.len()]; DIRECTIONS.len()],
    bytes: [AtomicU64; DIRECTIONS.len()],
}

impl Stripe {
    /// Adds messages of a kind in a direction. Only the owning worker calls it.
    pub fn add_messages(&self, direction: usize, kind: usize, count: u64) {
        add(&self.messages[direction][kind], count);
    }

    /// Adds payload bytes in a direction. Only the owning worker calls it.
    pub fn add_bytes(&self, direction: usize, count: u64) {
        add(&self.bytes[direction], count);
    }

    fn data_messages(&self, direction: usize) -> u64 {
        let data = &self.messages[direction][..DATA_KINDS];
        data.iter().map(|count| count.load(Relaxed)).sum()
    }
}

// A stripe has one writer, so a load and a store do what a locked add would.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

/// All routes' stripes; outlives reloads.
#[derive(Clone, Debug)]
pub struct Traffic {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    workers: usize,
    routes: Mutex<HashMap<Arc<str>, Arc<[Stripe]>>>,
    messages: Desc,
    bytes: Desc,
}

impl Traffic {
    /// Counters for this many workers.
    ///
    /// # Errors
    /// When the families' names or labels are not valid in the exposition format.
    pub fn new(workers: usize) -> prometheus::Result<Self> {
        let inner = Inner {
            workers,
            routes: Mutex::default(),
            messages: describe(&MESSAGES)?,
            bytes: describe(&BYTES)?,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The stripes of a route, one per worker; the same ones for the same name.
    pub fn route(&self, name: &Arc<str>) -> Arc<[Stripe]> {
        let mut routes = self
            .inner
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let fresh = || (0..self.inner.workers).map(|_| Stripe::default()).collect();
        Arc::clone(routes.entry(Arc::clone(name)).or_insert_with(fresh))
    }

    /// Data messages and payload bytes of all routes.
    pub fn totals(&self) -> Totals {
        let routes = self
            .inner
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut totals = Totals::default();
        for stripe in routes.values().flat_map(|stripes| stripes.iter()) {
            for direction in 0..DIRECTIONS.len() {
                let messages = stripe.data_messages(direction);
                totals.messages[direction] = totals.messages[direction].wrapping_add(messages);
                let bytes = stripe.bytes[direction].load(Relaxed);
                totals.bytes[direction] = totals.bytes[direction].wrapping_add(bytes);
            }
        }
        totals
    }
}

impl Collector for Traffic {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.inner.messages, &self.inner.bytes]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (mut messages, mut bytes) = (Vec::new(), Vec::new());
        let routes = self
            .inner
            .routes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (route, stripes) in routes.iter() {
            for (d, direction) in DIRECTIONS.iter().enumerate() {
                for (k, kind) in KINDS.iter().enumerate() {
                    let count = sum(stripes, |stripe| &stripe.messages[d][k]);
                    messages.push(sample(
                        &[
                            ("direction", *direction),
                            ("kind", *kind),
                            ("route", route.as_ref()),
                        ],
                        count,
                    ));
                }
                let count = sum(stripes, |stripe| &stripe.bytes[d]);
                bytes.push(sample(
                    &[("direction", *direction), ("route", route.as_ref())],
                    count,
                ));
            }
        }
        vec![family(&MESSAGES, messages), family(&BYTES, bytes)]
    }
}

fn describe(family: &Family) -> prometheus::Result<Desc> {
    let labels = family
        .labels
        .iter()
        .map(|label| (*label).to_owned())
        .collect();
    Desc::new(
        family.name.to_owned(),
        family.help.to_owned(),
        labels,
        HashMap::new(),
    )
}

fn sum(stripes: &[Stripe], counter: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
    stripes
        .iter()
        .map(|stripe| counter(stripe).load(Relaxed))
        .fold(0, u64::wrapping_add)
}

fn sample(labels: &[(&str, &str)], count: u64) -> Metric {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut counter = Counter::default();
    #[expect(clippy::cast_precision_loss, reason = "a scrape carries floats")]
    counter.set_value(count as f64);
    let mut metric = Metric::default();
    metric.set_label(labels.iter().map(pair).collect());
    metric.set_counter(counter);
    metric
}

fn family(of: &Family, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(of.name.to_owned());
    family.set_help(of.help.to_owned());
    family.set_field_type(MetricType::COUNTER);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_adds_the_workers_up() {
        let traffic = Traffic::new(2).unwrap();
        let route = Arc::from("chat");
        traffic.route(&route)[0].add_messages(0, 0, 3);
        traffic.route(&route)[1].add_messages(0, 0, 4);
        let families = traffic.collect();
        let total: f64 = families[0]
            .get_metric()
            .iter()
            .map(|m| m.get_counter().get_value())
            .sum();
        assert!((total - 7.0).abs() < f64::EPSILON);
    }
}
