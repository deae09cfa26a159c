//! `tidegate reload`: ask the running process to reload, or what a reload would change.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use super::admin_client::{Failure, InstanceArgs};
use super::status::word;
use super::{fail, print};

/// What reading, looking up names and loading certificates may take.
const RELOAD_TIME: Duration = Duration::from_secs(60);

/// Ask the running process to reload its configuration and wait for the outcome.
#[derive(clap::Args, Debug)]
pub struct Reload {
    #[command(flatten)]
    instance: InstanceArgs,
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
        Ok(answer) => print(&told(&answer)),
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
    let client = reload.instance.client()?.allowing(RELOAD_TIME);
    client.post(path, None)
}

fn told(answer: &Value) -> String {
    let is_dry = answer["dry_run"] == true;
    let changes = answer["changes"].as_array().map(Vec::as_slice);
    let changes = changes.unwrap_or_default();
    let mut text: String = changes.iter().map(line).collect();
    if !changes.is_empty() {
        text.push_str(&same(&answer["same"]));
    }
    text.push_str(match (is_dry, changes.is_empty()) {
        (true, true) => "nothing would change\n",
        (true, false) => "",
        (false, true) => "reloaded, nothing has changed\n",
        (false, false) => "reloaded\n",
    });
    text
}

fn line(change: &Value) -> String {
    let (subject, what) = (word(&change["subject"]), word(&change["what"]));
    let restart = match change["effect"] == "restart" {
        true => " (needs a restart)",
        false => "",
    };
    let live = match (change["connections"].as_u64(), change["drains"].as_u64()) {
        (Some(0) | None, _) => String::new(),
        (Some(count), Some(0) | None) => format!(", {count} live, none closed"),
        (Some(count), Some(drains)) => format!(", {count} live, {drains} drained"),
    };
    format!("{subject}: {what}{restart}{live}\n")
}

/// How many of each kind stay as they are; `--json` has their names.
fn same(same: &Value) -> String {
    let count = |kind| same[kind].as_array().map_or(0, Vec::len);
    let kinds = ["listeners", "routes", "upstreams", "servers"];
    let counts = kinds.map(|kind| format!("{} {kind}", count(kind)));
    format!("same: {}\n", counts.join(", "))
}
