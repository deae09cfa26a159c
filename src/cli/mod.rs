//! One file per subcommand: its arguments and what it prints.

pub mod bench;
pub mod check;
pub mod demo;
pub mod echo;
pub mod run;
pub mod schema;

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

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
    // Nobody is left to hear that standard error is closed.
    let _ = writeln!(std::io::stderr(), "tidegate: {error}");
    ExitCode::FAILURE
}
