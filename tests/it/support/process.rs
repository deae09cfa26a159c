//! A process as the kernel sees it.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// A running process, by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// How many threads it has.
    pub fn threads(self) -> usize {
        self.status("Threads:")
    }

    /// How many of its threads are workers; others come and go with the work there is for them.
    pub fn workers(self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0)).unwrap();
        tasks
            .flatten()
            .flat_map(|task| fs::read_to_string(task.path().join("comm")))
            .filter(|name| name.starts_with("worker-"))
            .count()
    }

    /// How much memory it holds, in KiB.
    pub fn memory_kib(self) -> usize {
        self.status("VmRSS:")
    }

    /// How much memory it ever held, in KiB.
    pub fn peak_memory_kib(self) -> usize {
        self.status("VmHWM:")
    }

    /// How many descriptors it has open.
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0))
            .unwrap()
            .count()
    }

    /// Whether a signal has stopped it.
    pub fn is_stopped(self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        // The state follows the name in parentheses, which may hold anything.
        (stat.rsplit_once(") ")).is_some_and(|(_, fields)| fields.starts_with('T'))
    }

    /// How much processor time it has used.
    pub fn busy(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        // The name in parentheses may hold anything; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks: u64 = fields
            .split(' ')
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().unwrap())
            .sum();
        Duration::from_secs(1) * u32::try_from(ticks).unwrap()
            / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap()
    }

    /// Lets it have no more than so many descriptors; gives the limit that it had.
    pub fn limit_descriptors(self, limit: u64) -> u64 {
        let id = Pid::from_raw(self.0.try_into().unwrap());
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.0)).unwrap();
        let line = (limits.lines()).find_map(|line| line.strip_prefix("Max open files"));
        let mut figures = line.unwrap().split_whitespace();
        // The hard limit stays: lowered, it could not be raised again.
        let maximum = figures.nth(1).and_then(|hard| hard.parse().ok());
        let current = Some(limit);
        let before = prlimit(id, Resource::Nofile, Rlimit { current, maximum }).unwrap();
        before.current.unwrap()
    }

    fn status(self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }
}

/// Lets the test's own process have so many descriptors: both ends of every connection live in it.
pub fn allow_descriptors(count: u64) {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        let raised = Rlimit {
            current: limit
                .maximum
                .map_or(Some(count), |most| Some(most.min(count))),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).unwrap();
    }
}
