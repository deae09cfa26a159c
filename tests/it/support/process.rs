//! A process as the kernel sees it.

use std::fs;

/// A running process, by its id.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// How many threads it has.
    pub fn threads(self) -> usize {
        self.status("Threads:")
    }

    /// How much memory it holds, in KiB.
    pub fn memory_kib(self) -> usize {
        self.status("VmRSS:")
    }

    /// How many descriptors it has open.
    pub fn descriptors(self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.0))
            .unwrap()
            .count()
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
