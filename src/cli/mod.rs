//! One file per subcommand: its arguments and what it prints.

pub mod admin_client;
pub mod bench;
pub mod check;
pub mod completions;
pub mod connections;
pub mod demo;
pub mod echo;
pub mod explain;
pub mod import;
pub mod man;
pub mod rebalance;
pub mod reload;
pub mod run;
pub mod schema;
pub mod server;
pub mod status;
pub mod table;
mod tail;
pub mod upgrade;

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::duration;

/// Which configuration file.
#[derive(clap::Args, Clone, Debug)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "/etc/tidegate/tidegate.toml"
    )]
    pub config: PathBuf,
}

/// Says on standard error what went wrong; exit code 1.
fn fail(error: &dyn Display) -> ExitCode {
    // In one piece: after an upgrade two processes write to the same place. Nobody is left to
    // hear that it is closed.
    let _ = std::io::stderr().write_all(format!("tidegate: {error}\n").as_bytes());
    ExitCode::FAILURE
}

/// Writes a result to standard output.
fn print(text: &str) -> ExitCode {
    match write!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that went away early has not got what it asked for.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says on standard error what is wrong with the arguments; exit code 2.
fn wrong_arguments(what: &str) -> ExitCode {
    fail(&what);
    ExitCode::from(2)
}

/// A duration as the configuration writes it, kept as a text.
fn time(text: &str) -> Result<String, &'static str> {
    let parsed = duration(text).map(|_| text.to_owned());
    parsed.ok_or("not a duration (write 20s)")
}
