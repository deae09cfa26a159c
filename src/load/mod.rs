//! The load generator: opens WebSockets by the thousand, checks every echo, and says what it cost.

mod campaign;
mod client;
mod clock;
mod descriptors;
mod driver;
mod fault;
mod handshake;
mod incoming;
mod link;
mod mode;
mod payload;
mod plan;
mod poller;
mod process;
mod report;
mod schedule;
mod secure;
mod sessions;
mod tally;
mod target;

pub use campaign::{Memory, Progress, Round, RunError, Sample, run};
pub use descriptors::raise_descriptor_limit;
pub use fault::Fault;
pub use plan::{Mode, Pace, Plan, Target, TlsOptions};
pub use report::{MemoryReport, Percentiles, Report, Spread, TargetReport};
pub use secure::SecureError;
pub use tally::Tally;
pub use target::TargetError;

#[cfg(test)]
mod tests;
