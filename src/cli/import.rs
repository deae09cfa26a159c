//! `tidegate import`: another proxy's configuration as ours.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use crate::import::{Dialect, import};

use super::{fail, print};

/// Print the equivalent of an nginx or HAProxy configuration; what could not be carried over is
/// listed on standard error with its file and line, and exit code 1.
#[derive(clap::Args, Debug)]
pub struct Import {
    /// Whose configuration it is.
    dialect: Whose,
    /// The file, with what it includes.
    file: PathBuf,
    /// Exit code 0 even if something could not be carried over.
    #[arg(long)]
    lenient: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whose {
    /// nginx.conf, or the file of a site.
    Nginx,
    /// haproxy.cfg.
    Haproxy,
}

/// Prints the configuration, and what is not in it.
pub fn run(arguments: &Import) -> ExitCode {
    let dialect = match arguments.dialect {
        Whose::Nginx => Dialect::Nginx,
        Whose::Haproxy => Dialect::Haproxy,
    };
    let imported = match import(dialect, &arguments.file) {
        Ok(imported) => imported,
        Err(error) => return fail(&error),
    };
    let written = print(&imported.toml);
    let mut log = std::io::stderr().lock();
    for finding in imported.findings.iter() {
        // Nobody is left to hear that standard error is closed.
        let _ = writeln!(log, "{finding}");
    }
    if imported.findings.loses() && !arguments.lenient {
        return ExitCode::FAILURE;
    }
    written
}
