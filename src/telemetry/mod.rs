//! What the process says of itself: metric families and the log.

pub mod expose;
pub mod families;
pub mod log;
pub mod metrics;
pub mod traffic;

pub use metrics::Metrics;
