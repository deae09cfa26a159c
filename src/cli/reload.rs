//! `tidegate reload`: ask the running process to reload, or what a reload would change.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::instance::{Failure, Where};
use super::status::word;
use super::{fail, print};

/// What reading, looking up names and loading certificates may take.
const RELOAD_TIME: Duration = Duration::from_secs(60);

/// Ask the running process to reload its configuration and wait for the outcome.
#[derive(clap::Args, Debug)]
pub struct Reload {
    #[command(flatten)]
    instance: Where,
    /// Change nothing; say what would change and how many connections each change concerns.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what changed, or every error of the new configuration.
pub fn run(reload: &Reload) -> ExitCode {
    match ask(reload) {
        Ok(answer) if reload.json => print(&format!("{answer}\n")),
        Ok(answer) => print(&changes(&answer)),
        Err(Failure::Refused { answer, .. }) if reload.json && answer.is_object() => {
            print(&format!("{answer}\n"));
            ExitCode::FAILURE
        }
        Err(failure) => fail(&failure),
    }
}

fn ask(reload: &Reload) -> Result<Value, Failure> {
    let path = if reload.dry_run {
        "/api/v1/reload?dry_run=true"
    } else {
        "/api/v1/reload"
    };
    let instance = reload.instance.instance()?.allowing(RELOAD_TIME);
    instance.post(path, None)
}

fn changes(answer: &Value) -> String {
    let changes = answer["changes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_dry = answer["dry_run"] == true;
    let mut text = String::new();
    for change in changes {
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "{}: {}",
            word(&change["subject"]),
            word(&change["what"])
        );
        if change["effect"] == "restart" {
            text.push_str(" (needs a restart)");
        }
        match (change["connections"].as_u64(), change["drains"].as_u64()) {
            (Some(0) | None, _) => {}
            (Some(count), Some(0) | None) => {
                let _ = write!(text, ", {count} live, none closed");
            }
            (Some(count), Some(drains)) => {
                let _ = write!(text, ", {count} live, {drains} drained");
            }
        }
        text.push('\n');
    }
    match (is_dry, changes.len()) {
        (true, 0) => text.push_str("nothing would change\n"),
        (false, 0) => text.push_str("reloaded, nothing has changed\n"),
        (true, _) => {}
        (false, _) => text.push_str("reloaded\n"),
    }
    text
}
