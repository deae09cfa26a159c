//! `tidegate completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use clap_complete::{Shell, generate};

use super::print;

/// Print the completions of a shell.
#[derive(clap::Args, Debug)]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub fn run(completions: &Completions, mut command: clap::Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    generate(completions.shell, &mut command, name, &mut script);
    print(&String::from_utf8_lossy(&script))
}
