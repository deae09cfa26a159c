//! What the kernel's books say of a process and all its descendants.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::param::clock_ticks_per_second;

/// A process that is accounted, with its descendants.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessTree {
    root: u32,
}

impl ProcessTree {
    /// The tree that begins with this process.
    ///
    /// # Errors
    /// When there is no such process, or it may not be looked at.
    pub(super) fn of(root: u32) -> io::Result<Self> {
        let tree = Self { root };
        pss_bytes(root)?;
        Ok(tree)
    }

    /// CPU time spent so far, that of threads and children that have ended included; `None` when
    /// the process itself has ended.
    pub(super) fn cpu_time(self) -> Option<Duration> {
        let processes = self.processes()?;
        let booked: Duration = processes.iter().map(|stat| stat.cpu_time).sum();
        let exact: Duration = processes
            .iter()
            .map(|stat| threads_cpu_time(stat.pid))
            .sum();
        // The books count hundredths of a second but forget nobody; the scheduler counts
        // nanoseconds, of the living.
        Some(booked.max(exact))
    }

    /// Memory in bytes, what is shared counted by its part (PSS); `None` as above.
    pub(super) fn memory_bytes(self) -> Option<u64> {
        let processes = self.processes()?;
        let sizes = processes.iter().filter_map(|stat| pss_bytes(stat.pid).ok());
        Some(sizes.sum())
    }

    fn processes(self) -> Option<Vec<Stat>> {
        let mut by_parent: HashMap<u32, Vec<Stat>> = HashMap::new();
        let mut found = Vec::new();
        for stat in numbered(Path::new("/proc")).filter_map(|path| Stat::read(&path)) {
            if stat.pid == self.root {
                found.push(stat);
            } else {
                by_parent.entry(stat.parent).or_default().push(stat);
            }
        }
        let mut next = 0;
        while let Some(parent) = found.get(next).map(|stat| stat.pid) {
            found.extend(by_parent.remove(&parent).unwrap_or_default());
            next += 1;
        }
        found
            .first()
            .is_some_and(|root| !root.ended)
            .then_some(found)
    }
}

/// How long the calling thread has been ready to run and had no core to run on.
pub(super) fn thread_wait() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(waited.unwrap_or_default())
}

/// Bytes that the kernel holds for TCP sockets, on the whole machine.
pub(super) fn tcp_memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("TCP: "))
        .unwrap_or_default();
    let mut words = line
        .split_ascii_whitespace()
        .skip_while(|&word| word != "mem");
    let pages: u64 = words
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

/// What is read of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// Whether it is only waited for.
    ended: bool,
    cpu_time: Duration,
}

impl Stat {
    fn read(folder: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(folder.join("stat")).ok()?)
    }

    /// proc(5): the name in parentheses may hold anything; what follows are fields from the third on.
    fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(" (")?;
        let (_, fields) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        // Own time in user and kernel mode, then that of children that were waited for.
        let ticks: u64 = fields
            .get(11..15)?
            .iter()
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        Some(Self {
            pid: pid.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            ended: matches!(*fields.first()?, "Z" | "X"),
            cpu_time: Duration::from_millis(ticks * 1000 / clock_ticks_per_second()),
        })
    }
}

/// The living threads' time as the scheduler knows it.
fn threads_cpu_time(pid: u32) -> Duration {
    numbered(&PathBuf::from(format!("/proc/{pid}/task")))
        .filter_map(|task| fs::read_to_string(task.join("schedstat")).ok())
        .filter_map(|text| text.split(' ').next()?.parse().ok())
        .map(Duration::from_nanos)
        .sum()
}

fn pss_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .unwrap_or_default();
    let kib: u64 = line
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap_or_default();
    Ok(kib * 1024)
}

/// The sub-folders that are called by a number.
fn numbered(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .as_encoded_bytes()
                .iter()
                .all(u8::is_ascii_digit)
        })
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn names_do_not_confuse_the_books() {
        let text = "42 (a) R (b) S 7 42 42 0 -1 4194560 1 2 3 4 100 50 25 5 20 0 1 0 9 1 1";
        let stat = Stat::parse(text).unwrap();
        assert_eq!((stat.pid, stat.parent), (42, 7));
        assert_eq!(
            stat.cpu_time,
            Duration::from_millis(180_000 / clock_ticks_per_second())
        );
    }

    #[test]
    fn our_own_books_move() {
        let tree = ProcessTree::of(std::process::id()).unwrap();
        let before = tree.cpu_time().unwrap();
        let mut sum = 0u64;
        while tree.cpu_time().unwrap() < before + Duration::from_millis(20) {
            sum = (0..100_000).fold(sum, |sum, n| sum.rotate_left(3) ^ n);
        }
        assert!(tree.memory_bytes() > Some(100_000));
    }

    #[test]
    fn children_belong_to_the_tree() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let tree = ProcessTree {
            root: std::process::id(),
        };
        let processes = tree.processes().unwrap();
        let found = processes.iter().any(|stat| stat.pid == child.id());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn a_process_that_has_ended_has_no_figures() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let tree = ProcessTree::of(child.id()).unwrap();
        assert!(tree.cpu_time().is_some());
        child.kill().unwrap();
        // It stays in the books until it is waited for.
        while tree.cpu_time().is_some() {
            std::thread::yield_now();
        }
        assert_eq!(tree.memory_bytes(), None);
        child.wait().unwrap();
        assert_eq!((tree.cpu_time(), tree.memory_bytes()), (None, None));
    }

    #[test]
    fn nobody_is_not_accounted() {
        assert!(ProcessTree::of(u32::MAX).is_err());
    }
}
