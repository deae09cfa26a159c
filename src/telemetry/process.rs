//! What the process itself uses, as Prometheus clients usually name it. Descriptors are counted
//! without listing them: with twenty thousand open, a list takes longer than all the rest of a scrape.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use Kind::{Counts, Stands};

/// What a figure is.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Counts,
    Stands,
}

/// The families: name, kind, help.
const FAMILIES: [(&str, Kind, &str); 7] = [
    (
        "process_cpu_seconds_total",
        Counts,
        "Total user and system CPU time spent in seconds.",
    ),
    (
        "process_open_fds",
        Stands,
        "Number of open file descriptors.",
    ),
    (
        "process_max_fds",
        Stands,
        "Maximum number of open file descriptors.",
    ),
    (
        "process_virtual_memory_bytes",
        Stands,
        "Virtual memory size in bytes.",
    ),
    (
        "process_resident_memory_bytes",
        Stands,
        "Resident memory size in bytes.",
    ),
    (
        "process_threads",
        Stands,
        "Number of OS threads in the process.",
    ),
    (
        "process_start_time_seconds",
        Stands,
        "Start time of the process since unix epoch in seconds.",
    ),
];

/// What the process uses at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// CPU time of all threads so far.
    pub cpu: Duration,
    /// Memory it has mapped.
    pub virtual_bytes: u64,
    /// Memory that is there.
    pub resident_bytes: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// How many there may be.
    pub max_descriptors: u64,
    /// Its threads.
    pub threads: u64,
}

impl Usage {
    /// What it uses now.
    pub fn now() -> Self {
        let (virtual_bytes, resident_bytes) = memory();
        Self {
            cpu: cpu_time(),
            virtual_bytes,
            resident_bytes,
            descriptors: descriptors(),
            max_descriptors: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            threads: entries("/proc/self/task"),
        }
    }
}

/// The collector.
#[derive(Clone, Debug)]
pub struct ProcessFigures {
    descriptions: Vec<Desc>,
    started: SystemTime,
}

impl ProcessFigures {
    /// Figures of a process that starts now.
    ///
    /// # Errors
    /// When a family's name is not valid in the exposition format.
    pub fn begin() -> prometheus::Result<Self> {
        let describe = |(name, _, help): &(&str, Kind, &str)| {
            Desc::new((*name).into(), (*help).into(), Vec::new(), HashMap::new())
        };
        Ok(Self {
            descriptions: FAMILIES
                .iter()
                .map(describe)
                .collect::<prometheus::Result<_>>()?,
            started: SystemTime::now(),
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a scrape carries floats")]
    fn values(&self) -> [f64; FAMILIES.len()] {
        let usage = Usage::now();
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        [
            usage.cpu.as_secs_f64(),
            usage.descriptors as f64,
            usage.max_descriptors as f64,
            usage.virtual_bytes as f64,
            usage.resident_bytes as f64,
            usage.threads as f64,
            started.as_secs_f64(),
        ]
    }
}

impl Collector for ProcessFigures {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = FAMILIES.iter().zip(self.values());
        families
            .filter_map(|((name, kind, help), value)| family(name, *kind, help, value).ok())
            .flatten()
            .collect()
    }
}

fn family(name: &str, kind: Kind, help: &str, value: f64) -> prometheus::Result<Vec<MetricFamily>> {
    let opts = Opts::new(name, help);
    Ok(match kind {
        Counts => {
            let counter = Counter::with_opts(opts)?;
            counter.inc_by(value);
            counter.collect()
        }
        Stands => {
            let gauge = Gauge::with_opts(opts)?;
            gauge.set(value);
            gauge.collect()
        }
    })
}

/// CPU time that all threads have used.
pub fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Mapped and resident bytes.
pub fn memory() -> (u64, u64) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let page_bytes = u64::try_from(rustix::param::page_size()).unwrap_or(0);
    let mut bytes = statm
        .split(' ')
        .map(|pages| pages.parse().unwrap_or(0u64).saturating_mul(page_bytes));
    (bytes.next().unwrap_or(0), bytes.next().unwrap_or(0))
}

/// Since Linux 6.2 the size of the directory is the number of descriptors; before, it is 0.
fn descriptors() -> u64 {
    match fs::metadata("/proc/self/fd").map_or(0, |directory| directory.len()) {
        // The directory's own handle is one of the entries.
        0 => entries("/proc/self/fd").saturating_sub(1),
        count => count,
    }
}

fn entries(directory: &str) -> u64 {
    fs::read_dir(directory).map_or(0, |entries| entries.fold(0, |count, _| count + 1))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn every_figure_of_a_living_process_is_there() {
        let figures = ProcessFigures::begin().unwrap();
        let families = figures.collect();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, FAMILIES.map(|(name, ..)| name));
        assert!(figures.values().iter().all(|value| *value > 0.0));
    }

    #[test]
    fn descriptors_are_counted_however_the_kernel_tells() {
        let before = descriptors();
        let held: Vec<File> = (0..100).map(|_| File::open("/dev/null").unwrap()).collect();
        assert!(descriptors() >= before + 90, "{before}");
        assert!(entries("/proc/self/fd").abs_diff(descriptors()) < 20);
        drop(held);
    }
}
