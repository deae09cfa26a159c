//! `tidegate upgrade`: have the running process give its place to the program as it is installed.

use std::process::ExitCode;

use serde_json::Value;

use super::admin_client::{Failure, InstanceArgs};
use super::status::word;
use super::{fail, print};

/// Replace the running process by the program as it is installed, without refusing a connection.
///
/// The running process starts the program anew with the same arguments, hands it the listening
/// sockets and lets it begin when it is ready. Its own sessions end over `server.upgrade_drain`.
/// When the new process can't serve, nothing changes.
#[derive(clap::Args, Debug)]
pub struct Upgrade {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints who serves, or why nothing has changed.
pub fn run(upgrade: &Upgrade) -> ExitCode {
    match ask(upgrade) {
        Ok(answer) if upgrade.json => print(&format!("{answer}\n")),
        Ok(answer) => print(&outcome(&answer)),
        Err(Failure::Refused { answer, .. }) if upgrade.json && answer.is_object() => {
            print(&format!("{answer}\n"));
            ExitCode::FAILURE
        }
        Err(failure) => fail(&failure),
    }
}

fn ask(upgrade: &Upgrade) -> Result<Value, Failure> {
    upgrade.instance.client()?.post("/api/v1/upgrade", None)
}

fn outcome(answer: &Value) -> String {
    format!(
        "upgraded: process {} ({}) serves, process {} ends its {} WebSockets at their pace\n",
        word(&answer["pid"]),
        word(&answer["version"]),
        word(&answer["predecessor"]),
        word(&answer["websockets"]),
    )
}
