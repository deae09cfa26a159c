//! The process's own log, on standard error: text for people, JSON for machines.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::model::{Log, LogFormat, LogLevel};

/// Lines that may wait for standard error; beyond it they are dropped and counted.
const QUEUE_LINES: usize = 8192;

/// Changes the level of the running log; its format is fixed at start.
#[derive(Debug)]
pub struct LogControl {
    level: Handle<LevelFilter, Registry>,
    dropped: ErrorCounter,
    /// Writes what waits when the process ends.
    _writer: WorkerGuard,
}

impl LogControl {
    /// Starts the log of this process.
    ///
    /// # Errors
    /// When a log was started before.
    pub fn start(log: &Log) -> Result<Self, TryInitError> {
        // A thread of its own writes: a pipe that nobody reads must stop nothing else.
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUE_LINES)
            .thread_name("log")
            .finish(std::io::stderr());
        let dropped = writer.error_counter();
        let (filter, level) = reload::Layer::new(filter(log.level));
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal());
        let layer = match log.format {
            LogFormat::Text => layer.with_filter(filter).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        };
        tracing_subscriber::registry().with(layer).try_init()?;
        Ok(Self {
            level,
            dropped,
            _writer: guard,
        })
    }

    /// Counts the lines that were dropped.
    pub const fn dropped(&self) -> &ErrorCounter {
        &self.dropped
    }

    /// Puts another level in force.
    pub fn apply(&self, level: LogLevel) {
        if let Err(error) = self.level.reload(filter(level)) {
            tracing::warn!(%error, "log level not applied");
        }
    }
}

const fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}
