//! `tidegate check`: whether `run` would start, and what it would run with.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;

/// Validate a configuration without starting anything.
#[derive(clap::Args, Debug)]
pub struct Check {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = config::DEFAULT_FILE)]
    pub config: PathBuf,
    /// Print the effective configuration instead of "ok".
    #[arg(long)]
    pub dump: bool,
}

/// Prints `FILE: ok`, the effective configuration, or everything that is wrong.
pub fn run(args: &Check) -> ExitCode {
    let (written, code) = match config::load(&args.config) {
        Ok(config) if args.dump => (
            write!(io::stdout(), "{}", config::dump(&config)),
            ExitCode::SUCCESS,
        ),
        Ok(_) => (
            writeln!(io::stdout(), "{}: ok", args.config.display()),
            ExitCode::SUCCESS,
        ),
        Err(errors) => (writeln!(io::stderr(), "{errors}"), ExitCode::FAILURE),
    };
    // A reader that went away early wants no more, and has heard no verdict.
    written.map_or(ExitCode::FAILURE, |()| code)
}
