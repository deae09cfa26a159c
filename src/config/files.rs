//! Reads configuration files and those that they include, each within bounds.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::defaults::{MAX_FILE_BYTES, MAX_FILES, MAX_INCLUDE_DEPTH, MAX_TOTAL_BYTES};
use super::error::{Errors, Problem};
use super::reader::Environment;
use super::source::{File, Place};
use super::tree::{self, Node, Table, Value};

/// Everything that was read for one configuration.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// The files in reading order, the first one first.
    pub(super) paths: Vec<PathBuf>,
    /// Where patterns looked for more.
    pub(super) directories: BTreeSet<PathBuf>,
    /// Whether any text was no TOML, so that what was read is only a part.
    pub(super) is_broken: bool,
    bytes: u64,
    /// Canonical paths: one file counts once whatever it is called.
    seen: HashSet<PathBuf>,
}

/// A regular file's bytes, as many as a configuration may have; a pipe would hold us up for ever.
pub fn contents(file: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::metadata(file)
        .ok()
        .filter(fs::Metadata::is_file)
        .and_then(|_| fs::File::open(file).ok());
    file?.take(MAX_FILE_BYTES).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

impl Files {
    /// Reads `path` and what it includes into one tree. What an included file says comes before
    /// what the including one says, as if it stood in its place.
    pub(super) fn read(
        &mut self,
        path: &Path,
        environment: Environment,
        errors: &mut Errors,
    ) -> Option<Node> {
        match self.open(path) {
            Ok(file) => Some(self.expand(&file, environment, 0, errors)),
            Err(what) => {
                errors.push(Problem::of_file(&path.display().to_string(), what));
                None
            }
        }
    }

    /// Reads a text in whose place no other file can be read.
    pub(super) fn read_text(
        &mut self,
        name: &str,
        text: &str,
        environment: Environment,
        errors: &mut Errors,
    ) -> Node {
        let directory = Path::new(name)
            .parent()
            .unwrap_or_else(|| Path::new(""))
            .to_path_buf();
        let file = File::new(0, name.to_owned(), directory, text.to_owned());
        let mut node = self.parse(&file, errors);
        if let Value::Table(table) = &mut node.value {
            for (_, place) in take_patterns(table, environment, errors) {
                errors.push(include_problem(&place, "no file can be included here"));
            }
        }
        node
    }

    fn expand(
        &mut self,
        file: &Arc<File>,
        environment: Environment,
        depth: usize,
        errors: &mut Errors,
    ) -> Node {
        let mut node = self.parse(file, errors);
        let Value::Table(table) = &mut node.value else {
            return node;
        };
        let patterns = take_patterns(table, environment, errors);
        if patterns.is_empty() {
            return node;
        }
        let mut tables = Vec::new();
        for (pattern, place) in &patterns {
            if depth == MAX_INCLUDE_DEPTH {
                let what = format!("more than {MAX_INCLUDE_DEPTH} files deep");
                errors.push(include_problem(place, what).instead("include it further up"));
                continue;
            }
            for path in self.matching(file.directory(), pattern, place, errors) {
                match self.open(&path) {
                    Ok(included) => {
                        let node = self.expand(&included, environment, depth + 1, errors);
                        tables.extend(node.into_table());
                    }
                    Err(what) => {
                        let what = format!("{}: {what}", path.display());
                        errors.push(include_problem(place, what));
                    }
                }
            }
        }
        tables.push(std::mem::take(table));
        *table = tree::merge(tables, "", errors);
        node
    }

    fn parse(&mut self, file: &Arc<File>, errors: &mut Errors) -> Node {
        let before = errors.count();
        let node = tree::parse(file, errors);
        self.is_broken |= errors.count() > before;
        node
    }

    /// The files that `pattern` names, in the order of their names.
    fn matching(
        &mut self,
        directory: &Path,
        pattern: &str,
        place: &Place,
        errors: &mut Errors,
    ) -> Vec<PathBuf> {
        if !has_wildcard(pattern) {
            return vec![directory.join(pattern)];
        }
        if pattern.contains("**") {
            let what = "** would search whole trees";
            errors.push(include_problem(place, what).instead("name the directory"));
            return Vec::new();
        }
        let whole = directory.join(pattern);
        let is_literal = |path: &&Path| !has_wildcard(&path.to_string_lossy());
        self.directories
            .extend(whole.ancestors().find(is_literal).map(Path::to_path_buf));
        let escaped = glob::Pattern::escape(&directory.to_string_lossy());
        let pattern = Path::new(&escaped).join(pattern);
        // Editors and Kubernetes leave hidden files beside the real ones.
        let options = glob::MatchOptions {
            require_literal_leading_dot: true,
            ..Default::default()
        };
        match glob::glob_with(&pattern.to_string_lossy(), options) {
            Ok(paths) => paths.take(MAX_FILES + 1).filter_map(Result::ok).collect(),
            Err(error) => {
                errors.push(include_problem(
                    place,
                    format!("not a pattern: {}", error.msg),
                ));
                Vec::new()
            }
        }
    }

    fn open(&mut self, path: &Path) -> Result<Arc<File>, String> {
        let text = self.text_of(path)?;
        let directory = path.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
        self.paths.push(path.to_path_buf());
        Ok(File::new(
            self.paths.len(),
            path.display().to_string(),
            directory,
            text,
        ))
    }

    fn text_of(&mut self, path: &Path) -> Result<String, String> {
        let canonical = fs::canonicalize(path).map_err(|error| cannot_be_read(&error))?;
        let metadata = fs::metadata(&canonical).map_err(|error| cannot_be_read(&error))?;
        // A FIFO would block the reload and a device would never end.
        if !metadata.is_file() {
            return Err("is not a regular file".to_owned());
        }
        if !self.seen.insert(canonical.clone()) {
            return Err("is read a second time; does it include itself?".to_owned());
        }
        if self.seen.len() > MAX_FILES {
            return Err(format!("is one of more than {MAX_FILES} files"));
        }
        let mut bytes = Vec::new();
        fs::File::open(&canonical)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| cannot_be_read(&error))?;
        let length = bytes.len() as u64;
        if length > MAX_FILE_BYTES {
            return Err(format!("is larger than {} MiB", MAX_FILE_BYTES >> 20));
        }
        self.bytes += length;
        if self.bytes > MAX_TOTAL_BYTES {
            return Err(format!(
                "with the files before it, larger than {} MiB",
                MAX_TOTAL_BYTES >> 20
            ));
        }
        String::from_utf8(bytes).map_err(|error| {
            let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
                .iter()
                .filter(|byte| **byte == b'\n')
                .count();
            format!("is not UTF-8 in line {line}")
        })
    }
}

/// Takes `include` out of a file's table: its patterns, each with its place.
fn take_patterns(
    table: &mut Table,
    environment: Environment,
    errors: &mut Errors,
) -> Vec<(String, Place)> {
    let Some(index) = table
        .entries
        .iter()
        .position(|entry| entry.name == "include")
    else {
        return Vec::new();
    };
    let node = table.entries.remove(index).node;
    let nodes = match node.value {
        Value::List(nodes) => nodes,
        _ => vec![node],
    };
    let mut patterns = Vec::new();
    for node in nodes {
        let text = match &node.value {
            Value::Text(text) => environment.fill_in(text),
            other => Err(format!("{}, not a file name", other.type_name())),
        };
        match text {
            Ok(text) => patterns.push((text, node.place)),
            Err(what) => errors
                .push(include_problem(&node.place, what).instead(r#"write ["conf.d/*.toml"]"#)),
        }
    }
    patterns
}

fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?', '['])
}

fn include_problem(place: &Place, what: impl Into<String>) -> Problem {
    Problem::at(place, "include", what).value(place.quote())
}

fn cannot_be_read(error: &std::io::Error) -> String {
    format!("cannot be read: {error}")
}
