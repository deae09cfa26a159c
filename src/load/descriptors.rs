//! How many connections the descriptor limit allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one and says how many connections fit below it.
pub fn raise_descriptor_limit() -> u64 {
    /// For standard streams, pollers, files of the report.
    const OWN: u64 = 64;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.map_or(u64::MAX, |descriptors| descriptors.saturating_sub(OWN))
}
