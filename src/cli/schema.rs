//! `tidegate schema`: the configuration's JSON Schema, for editors.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config;

/// Print the configuration's JSON Schema.
#[derive(clap::Args, Debug)]
pub struct Schema {}

/// Prints the schema.
pub fn run(_: &Schema) -> ExitCode {
    match writeln!(io::stdout(), "{:#}", config::schema()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
