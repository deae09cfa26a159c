//! The access log (CONTRACT section 5, docs/access-log.md).

mod lines;
mod sinks;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tidegate::telemetry::access::FIELDS;

use crate::support::wait::wait_for;
use crate::support::{Echo, Setup, Tidegate};

/// A proxy whose access log is a file, and what is in it.
struct Logged {
    proxy: Tidegate,
    log: PathBuf,
    _directory: TempDir,
}

impl Logged {
    fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.log");
        Self {
            proxy: Tidegate::start(&to(setup, &log)),
            log,
            _directory: directory,
        }
    }

    fn in_front_of(echo: &Echo) -> Self {
        Self::start(Setup::to(&[echo]))
    }

    /// Waits for the first line of an event.
    #[track_caller]
    fn wait_for(&self, event: &str) -> Value {
        wait_for(&format!("a line {event}"), || {
            lines(&self.log)
                .into_iter()
                .find(|line| line["event"] == event)
        })
    }

    /// Sends a request and gives its line.
    #[track_caller]
    fn line_of(&self, request: impl AsRef<[u8]>, status: u16) -> Value {
        assert_eq!(self.proxy.send(request).status, status);
        wait_for("a line", || lines(&self.log).pop())
    }
}

fn to(setup: Setup, log: &Path) -> Setup {
    setup.with("log", &format!("access = \"{}\"", log.display()))
}

/// Every whole line so far.
///
/// # Panics
/// When one is no JSON object with all fields.
#[track_caller]
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(parse)
        .collect()
}

#[track_caller]
fn parse(line: &str) -> Value {
    assert!(
        line.trim_end()
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~')),
        "{line:?}"
    );
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let object = value.as_object().unwrap();
    assert!(
        object.len() == FIELDS.len() && FIELDS.iter().all(|field| object.contains_key(field.name)),
        "{line}"
    );
    value
}

/// Every plain request is refused, which is quick and has a line.
fn refusing_requests(echo: &Echo) -> Setup {
    Setup::to(&[echo]).with("[route]", "accept = \"websocket\"")
}
