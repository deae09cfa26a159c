//! The load generator: opens WebSockets by the thousand, checks every echo, and says what it cost.

mod client;
mod clock;
mod connection;
mod descriptors;
mod driver;
mod fault;
mod frame_reader;
mod handshake;
mod mode;
mod payload;
mod plan;
mod poller;
mod process;
mod report;
mod run;
mod schedule;
mod tally;
mod target;
mod tls;
mod tls_sessions;

pub use descriptors::raise_descriptor_limit;
pub use driver::{END_TIMEOUT, OPEN_TIMEOUT};
pub use fault::Fault;
pub use plan::{Mode, Pace, Plan, Target, TlsOptions};
pub use report::{MemoryReport, Percentiles, Report, Spread, TargetReport};
pub use run::{Memory, Progress, Round, RunError, Sample, Stage, run};
pub use tally::Tally;
pub use target::TargetError;
pub use tls::TlsError;

#[cfg(test)]
mod tests;
