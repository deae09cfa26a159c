//! Walks the tree: knows the key it stands at, fills in `${NAME}` and collects what is wrong.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};

use super::error::{Errors, Problem};
use super::files::contents;
use super::source::Place;
use super::tree::{Entry, Node, Value};

/// Where `${NAME}` comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Environment(pub(super) fn(&str) -> Option<String>);

impl Environment {
    /// The environment of this process.
    pub(super) const PROCESS: Self = Self(|name| std::env::var(name).ok());

    /// Replaces every `${NAME}`; `$${` stands for `${`.
    pub(super) fn fill_in(self, text: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, reference) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &reference[2..];
                continue;
            }
            let Some((name, after)) = reference[2..].split_once('}') else {
                return Err("has ${ without its }".to_owned());
            };
            let value = (self.0)(name)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?;
            filled.push_str(before);
            filled.push_str(&value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The state of one walk over the tree.
#[derive(Debug)]
pub(super) struct Reader {
    environment: Environment,
    key: String,
    pub(super) errors: Errors,
    /// A word that may stand instead of the value that is read.
    pub(super) alternative: Option<&'static str>,
    /// Below `defaults`, where what names one listener, route or upstream has no place.
    pub(super) in_defaults: bool,
    pub(super) provenance: Provenance,
}

/// Where things were written, which has no part in what they mean.
#[derive(Clone, Default)]
pub struct Provenance {
    /// Files that keys name: certificates, the access log.
    named_files: HashMap<PathBuf, NamedFile>,
    /// Header values as they were written with their `${NAME}`, by what they became.
    written: HashMap<String, String>,
}

#[derive(Clone, Debug)]
struct NamedFile {
    place: Place,
    key: String,
    is_read: bool,
    /// What was in it, as a hash.
    contents: Option<u64>,
}

/// Some of the texts are secrets.
impl fmt::Debug for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provenance")
            .field("named_files", &self.named_files)
            .finish_non_exhaustive()
    }
}

impl Provenance {
    /// A problem with a file that the configuration names, told at the key that names it.
    pub fn problem_with_file(&self, path: &Path, what: impl Into<String>) -> Problem {
        match self.named_files.get(path) {
            Some(named) => Problem::at(&named.place, &named.key, what).value(named.place.quote()),
            None => Problem::of_file(&path.display().to_string(), what),
        }
    }

    /// The same for what an error says, its causes included.
    pub fn problem_with_error(&self, path: &Path, error: &dyn Error) -> Problem {
        let mut what = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            what = format!("{what}: {error}");
            cause = error.source();
        }
        self.problem_with_file(path, what)
    }

    /// Every file that a key names and that is read.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.named_files
            .iter()
            .filter(|(_, named)| named.is_read)
            .map(|(path, _)| path)
    }

    /// Notes what is in the files that are read, to tell later whether that has changed.
    pub(super) fn note_contents(&mut self) {
        for (path, named) in self.named_files.iter_mut().filter(|(_, it)| it.is_read) {
            named.contents = contents(path).map(|bytes| {
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                hasher.finish()
            });
        }
    }

    /// The files that hold something else than they did.
    pub(super) fn renewed_since<'a>(&'a self, old: &Self) -> BTreeSet<&'a Path> {
        let is_renewed = |path: &PathBuf, new: &NamedFile| {
            let old = old.named_files.get(path);
            old.is_some_and(|old| old.contents != new.contents)
        };
        (self.named_files.iter())
            .filter(|(path, new)| is_renewed(path, new))
            .map(|(path, _)| path.as_path())
            .collect()
    }

    /// A text as it was written with its `${NAME}`, if it had one.
    pub(super) fn written(&self, text: &str) -> Option<&str> {
        self.written.get(text).map(String::as_str)
    }
}

impl Reader {
    pub(super) fn new(environment: Environment, errors: Errors) -> Self {
        Self {
            environment,
            key: String::new(),
            errors,
            alternative: None,
            in_defaults: false,
            provenance: Provenance::default(),
        }
    }

    /// Walks one step down, to the key `name`.
    pub(super) fn within<T>(&mut self, name: &str, walk: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.key.len();
        if length > 0 && !name.starts_with('[') {
            self.key.push('.');
        }
        self.key.push_str(name);
        let result = walk(self);
        self.key.truncate(length);
        result
    }

    /// The key it stands at.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether the table at `node` says anything of `name`; an empty list says nothing.
    pub(super) fn says(node: &Node, name: &str) -> bool {
        let Value::Table(table) = &node.value else {
            return false;
        };
        let is_empty = |node: &Node| matches!(&node.value, Value::List(nodes) if nodes.is_empty());
        table.find(name).is_some_and(|entry| !is_empty(&entry.node))
    }

    /// The value at `node` is wrong.
    pub(super) fn wrong(
        &mut self,
        node: &Node,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let mut instead = instead.into();
        if let Some(word) = self.alternative {
            instead = format!("{instead}, or \"{word}\"");
        }
        let problem = Problem::at(&node.place, &self.key, what).instead(instead);
        self.errors.push(problem.value(node.quote()));
    }

    /// The key at `entry`, at which the walk stands, is wrong whatever its value.
    pub(super) fn wrong_entry(
        &mut self,
        entry: &Entry,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let problem = Problem::at(&entry.place, &self.key, what).instead(instead);
        self.errors.push(problem.value(entry.node.quote()));
    }

    /// The key `name` of the table at `node` is wrong beside another one; the table itself is
    /// where it inherits the key.
    pub(super) fn wrong_key(
        &mut self,
        node: &Node,
        name: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let entry = match &node.value {
            Value::Table(table) => table.find(name),
            _ => None,
        };
        self.within(name, |reader| match entry {
            Some(entry) => reader.wrong(&entry.node, what, instead),
            None => reader.wrong_at(&node.place, what, instead),
        });
    }

    /// Something is missing at `place`.
    pub(super) fn wrong_at(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.errors
            .push(Problem::at(place, &self.key, what).instead(instead));
    }

    /// The value at `node` has the wrong type.
    pub(super) fn wrong_type(&mut self, node: &Node, instead: impl Into<String>) {
        self.wrong(
            node,
            format!("{} has no place here", node.value.type_name()),
            instead,
        );
    }

    /// The text at `node` with its `${NAME}` filled in; `expected` is what to write where it is no text.
    pub(super) fn text(&mut self, node: &Node, expected: &str) -> Option<String> {
        let Value::Text(written) = &node.value else {
            self.wrong_type(node, expected);
            return None;
        };
        match self.environment.fill_in(written) {
            Ok(text) => Some(text),
            Err(what) => {
                self.wrong(node, what, "set it, or write $${ for a plain ${");
                None
            }
        }
    }

    /// Notes how a text that may be a secret was written, if it names the environment.
    pub(super) fn keeps_secret(&mut self, node: &Node, text: &str) {
        if let Value::Text(written) = &node.value
            && written.contains("${")
        {
            self.provenance
                .written
                .insert(text.to_owned(), written.clone());
        }
    }

    /// Notes that the key names a file that is read.
    pub(super) fn names_file(&mut self, node: &Node, path: &Path) {
        self.note_file(node, path, true);
    }

    /// Notes that the key names a file that is written.
    pub(super) fn names_output(&mut self, node: &Node, path: &Path) {
        self.note_file(node, path, false);
    }

    fn note_file(&mut self, node: &Node, path: &Path, is_read: bool) {
        self.provenance
            .named_files
            .entry(path.to_path_buf())
            .or_insert_with(|| NamedFile {
                place: node.place.clone(),
                key: self.key.clone(),
                is_read,
                contents: None,
            });
    }
}

/// The name nearest to a misspelt one, if any is near.
pub(super) fn nearest<'a>(
    misspelt: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    names
        .into_iter()
        .take(MAX_NAMES_COMPARED)
        .map(|name| (strsim::jaro_winkler(misspelt, name), name))
        .filter(|(similarity, _)| *similarity > LEAST_SIMILARITY)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// A longer list is no help to anyone, and comparing is slow.
const MAX_NAMES_COMPARED: usize = 1000;

const LEAST_SIMILARITY: f64 = 0.7;

#[cfg(test)]
mod tests {
    use super::*;

    fn fill_in(text: &str) -> Result<String, String> {
        Environment(|name| (name == "PORT").then(|| "80".to_owned())).fill_in(text)
    }

    #[test]
    fn variables_are_filled_in() {
        assert_eq!(fill_in("a:${PORT}, ${PORT}!").as_deref(), Ok("a:80, 80!"));
        assert_eq!(fill_in("$5 {PORT}").as_deref(), Ok("$5 {PORT}"));
    }

    #[test]
    fn two_dollars_keep_the_braces() {
        assert_eq!(fill_in("$${PORT}").as_deref(), Ok("${PORT}"));
        assert_eq!(fill_in("$$${PORT}").as_deref(), Ok("$${PORT}"));
    }

    #[test]
    fn an_unset_variable_is_an_error() {
        assert_eq!(
            fill_in("${NOPE}"),
            Err("the environment variable NOPE is not set".to_owned())
        );
        assert_eq!(fill_in("${PORT"), Err("has ${ without its }".to_owned()));
    }

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["max_frame", "max_message", "ping_timeout"];
        assert_eq!(nearest("max_fram", names), Some("max_frame"));
        assert_eq!(nearest("xyz", names), None);
    }
}
