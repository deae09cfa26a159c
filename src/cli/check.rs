//! `tidegate check`: whether `run` would start, and what it would run with.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{self, Errors};
use crate::control::prepare::{check_access_log, credentials};
use crate::tls;

use super::ConfigFile;

/// Validate a configuration, certificates included, without starting anything.
#[derive(clap::Args, Debug)]
pub struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the effective configuration instead of "ok".
    #[arg(long)]
    dump: bool,
}

/// Prints `FILE: ok`, the effective configuration, or everything that is wrong.
pub fn run(check: &Check) -> ExitCode {
    let path = &check.file.config;
    let config = match config::load(path) {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    let ticketer = match tls::ticketer() {
        Ok(ticketer) => ticketer,
        Err(error) => return refuse(&error),
    };
    let log = check_access_log(&config).err();
    let files = credentials(&config, None, &ticketer).err();
    if log.is_some() || files.is_some() {
        return refuse(&Errors::all([log, files]));
    }
    let written = if check.dump {
        write!(io::stdout(), "{}", config::dump(&config))
    } else {
        writeln!(io::stdout(), "{}: ok", path.display())
    };
    // A reader that went away early wants no more, and has heard no verdict.
    written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn refuse(errors: &dyn Display) -> ExitCode {
    // Nobody is left to hear that standard error is closed.
    let _ = writeln!(io::stderr(), "{errors}");
    ExitCode::FAILURE
}
