//! `tidegate man`: the manual pages, from the same definitions as `--help`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{fail, print};

/// Print the manual page, or write one for each command.
#[derive(clap::Args, Debug)]
pub struct Man {
    /// A directory for tidegate.1 and the pages of every command.
    directory: Option<PathBuf>,
}

/// Prints the page, or writes all.
pub fn run(man: &Man, command: clap::Command) -> ExitCode {
    match pages(man, command) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn pages(man: &Man, command: clap::Command) -> io::Result<ExitCode> {
    if let Some(directory) = &man.directory {
        clap_mangen::generate_to(command, directory)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    Ok(print(&String::from_utf8_lossy(&page)))
}
