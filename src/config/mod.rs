//! From TOML to a configuration that can't be wrong.

mod check;
pub mod defaults;
mod diff;
mod dump;
mod error;
mod files;
mod keys;
mod kind;
pub mod model;
mod raw;
mod reader;
mod reference;
mod source;
#[cfg(test)]
mod tests;
mod tree;
mod units;
mod validate;

use std::path::Path;

pub use diff::{Change, Effect, diff};
pub use dump::{dump, effective, key as toml_key, plain as toml_text};
pub use error::{Errors, Problem};
use files::Files;
pub use files::contents;
pub use model::Config;
pub use reader::Provenance;
use reader::{Environment, Reader};
pub use reference::{schema, tables};
use tree::Node;
pub use units::duration;

/// Where `run` and `check` look unless told otherwise.
pub const DEFAULT_FILE: &str = "/etc/tidegate/tidegate.toml";

/// Loads the configuration in `path` and the files that it includes.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Config, Errors> {
    let mut errors = Errors::default();
    let mut files = Files::default();
    let Some(node) = files.read(path, Environment::PROCESS, &mut errors) else {
        return Err(errors);
    };
    let mut config = build(node, files, Environment::PROCESS, errors)?;
    config.provenance.note_contents();
    Ok(config)
}

/// Parses a text that is called `name` in messages and can't include files.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn parse(text: &str, name: &str) -> Result<Config, Errors> {
    let mut errors = Errors::default();
    let mut files = Files::default();
    let node = files.read_text(name, text, Environment::PROCESS, &mut errors);
    build(node, files, Environment::PROCESS, errors)
}

fn build(
    node: Node,
    files: Files,
    environment: Environment,
    errors: Errors,
) -> Result<Config, Errors> {
    // What a syntax error swallowed would only be missed a second time.
    if files.is_broken {
        return Err(errors.sorted());
    }
    let beginning = node.place.clone();
    let mut reader = Reader::new(environment, errors);
    let root = keys::read(node, &mut reader);
    let Reader {
        mut errors,
        provenance,
        ..
    } = reader;
    let config = validate::validate(root, beginning, provenance, files, &mut errors);
    if errors.is_empty() {
        Ok(config)
    } else {
        Err(errors.sorted())
    }
}
