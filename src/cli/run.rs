//! `tidegate run`: serve in the foreground.

use std::process::ExitCode;

use crate::app;
use crate::control::reload::Source;

use super::{ConfigFile, fail};

/// Serve in the foreground. SIGHUP reloads the configuration, SIGUSR1 reopens the access log,
/// SIGUSR2 upgrades the binary in place, SIGTERM and SIGQUIT drain and stop; SIGINT, or a second
/// SIGTERM, stops now.
#[derive(clap::Args, Debug)]
pub struct Run {
    #[command(flatten)]
    file: ConfigFile,
}

/// Runs until a signal stops it.
pub fn run(run: Run) -> ExitCode {
    match app::run(Source::File(run.file.config), |_| {}) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}
