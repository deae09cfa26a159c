//! File descriptors: how many there are, and how many sessions that allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for what is not a session: listeners, workers, probes, admin, logs, reloads.
const RESERVED: u64 = 256;
/// Where the limit is small, no more than one in so many of it is kept.
const RESERVED_SHARE: u64 = 4;
/// Descriptors of one session: the client's socket and the server's.
const PER_SESSION: u64 = 2;

/// Raises the soft limit to the hard one, as proxies do, and says what it is then.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    current.unwrap_or(u64::MAX)
}

/// How many sessions fit below a limit of descriptors.
pub fn sessions(limit: u64) -> usize {
    let reserved = RESERVED.min(limit / RESERVED_SHARE);
    let sessions = (limit - reserved) / PER_SESSION;
    usize::try_from(sessions.max(1)).unwrap_or(usize::MAX)
}
