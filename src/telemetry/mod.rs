//! What the process says of itself: metric families, the log, the access log.

pub mod access;
pub mod expose;
pub mod families;
pub mod global_stats;
pub mod log;
pub mod metrics;
pub mod process;
pub mod trace;
pub mod traffic;

pub use metrics::Metrics;
