//! The access log: what is said of each request and session, and the thread that writes it.

pub mod json;
pub mod log;
pub mod record;
pub mod sink;
mod writer;

pub use log::{AccessLog, WriterThread};
pub use record::{Ending, Event, FIELDS, Facts, Record, Served};
pub use sink::Sink;
