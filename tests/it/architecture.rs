//! The house rules that a compiler does not check: which layer may know which, what stands
//! outside `logic/`, what every file opens with.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::peers::root;

/// A layer and what it may import; DESIGN's table. A name with `::` opens that part alone.
const LAYERS: [(&str, &[&str]); 14] = [
    ("main", &["app", "cli", "load"]),
    ("lib", &[]),
    (
        "app",
        &[
            "proxy",
            "control",
            "runtime",
            "state",
            "tls",
            "telemetry",
            "config",
            "logic",
            "cli",
        ],
    ),
    (
        "cli",
        &[
            "app",
            "proxy",
            "control",
            "runtime",
            "state",
            "tls",
            "telemetry",
            "config",
            "logic",
            "import",
            "load",
        ],
    ),
    (
        "proxy",
        &["runtime", "tls", "state", "telemetry", "config", "logic"],
    ),
    (
        "control",
        &["runtime", "tls", "state", "telemetry", "config", "logic"],
    ),
    ("runtime", &["telemetry", "config", "logic"]),
    ("state", &["telemetry", "config", "logic"]),
    ("tls", &["telemetry", "config", "logic"]),
    ("telemetry", &["config", "logic"]),
    ("config", &["logic"]),
    ("import", &["config", "logic"]),
    ("load", &["logic::websocket"]),
    ("logic", &[]),
];

/// What a pure decision may not touch: runtimes, sockets, clocks, chance.
const IMPURE: [&str; 10] = [
    "tokio",
    "hyper",
    "std::net::Tcp",
    "std::net::Udp",
    "std::fs",
    "std::env",
    "Instant::now",
    "SystemTime",
    "fastrand",
    "rand::",
];

#[test]
fn every_import_goes_down_a_layer() {
    assert_none(sources().iter().flat_map(bad_edges).collect());
}

#[test]
fn decisions_are_pure() {
    assert_none(
        sources()
            .iter()
            .filter(|file| file.layer() == "logic")
            .flat_map(impure)
            .collect(),
    );
}

#[test]
fn every_file_says_first_what_it_is_for() {
    let silent = sources()
        .into_iter()
        .filter(|file| !file.text.starts_with("//! "));
    assert_none(
        silent
            .map(|file| file.fault(1, "opens without a `//!` line"))
            .collect(),
    );
}

#[test]
fn every_folder_of_the_source_is_a_known_layer() {
    let unknown = sources()
        .into_iter()
        .filter(|file| !LAYERS.iter().any(|(layer, _)| *layer == file.layer()));
    assert_none(
        unknown
            .map(|file| file.fault(1, "is in no layer of the table"))
            .collect(),
    );
}

/// A source file, with its path below `src/`.
struct Source {
    path: PathBuf,
    text: String,
}

/// A broken rule, with its place.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    place: String,
    what: String,
}

impl Source {
    fn fault(&self, line: usize, what: impl Into<String>) -> Fault {
        Fault {
            place: format!("src/{}:{line}", self.path.display()),
            what: what.into(),
        }
    }

    /// The module path: `logic/balance/mod.rs` is `[logic, balance]`.
    fn module(&self) -> Vec<String> {
        let path = self.path.with_extension("");
        let mut parts: Vec<String> = path
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        if parts.len() > 1 && parts.last().is_some_and(|part| part == "mod") {
            parts.pop();
        }
        parts
    }

    fn layer(&self) -> String {
        self.module().remove(0)
    }

    /// Whether the whole file is tests.
    fn is_tests(&self) -> bool {
        self.module().iter().any(|part| part == "tests")
    }

    /// The lines that count, from 1: no comments, no tests.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = if self.is_tests() { "" } else { &self.text };
        let numbered = lines.lines().enumerate().map(|(at, line)| (at + 1, line));
        numbered
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .map(|(at, line)| (at, line.split("//").next().unwrap_or_default()))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

#[track_caller]
fn assert_none(faults: Vec<Fault>) {
    let list: Vec<String> = faults.iter().map(Fault::to_string).collect();
    assert!(list.is_empty(), "\n{}", list.join("\n"));
}

fn sources() -> Vec<Source> {
    let source = root().join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    files
        .into_iter()
        .map(|file| Source {
            text: fs::read_to_string(&file).unwrap(),
            path: file.strip_prefix(&source).unwrap().to_owned(),
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn bad_edges(file: &Source) -> Vec<Fault> {
    let layer = file.layer();
    let allowed = LAYERS
        .iter()
        .find(|(name, _)| *name == layer)
        .map_or(&[][..], |(_, to)| to);
    imports(file)
        .into_iter()
        .filter(|(_, target)| !may_import(&layer, allowed, target))
        .map(|(line, target)| file.fault(line, format!("{layer} imports {target}")))
        .collect()
}

fn may_import(layer: &str, allowed: &[&str], target: &str) -> bool {
    let below = |open: &str| {
        target
            .strip_prefix(open)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    below(layer) || allowed.iter().any(|open| below(open))
}

/// Every path into another module of ours, from the crate's root on, with its line.
fn imports(file: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, statement) in statements(file) {
        for root in ["crate::", "tidegate::"] {
            for (at, _) in statement.match_indices(root) {
                let leads = statement[..at].chars().next_back();
                if leads.is_none_or(|before| !before.is_alphanumeric() && !"_:".contains(before)) {
                    let targets = expand(&statement[at + root.len()..]);
                    found.extend(targets.into_iter().map(|target| (line, target)));
                }
            }
        }
        found.extend(
            ascents(file, &statement)
                .into_iter()
                .map(|target| (line, target)),
        );
    }
    found
}

/// Lines, with a `use` over several lines put together at its first.
fn statements(file: &Source) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (at, line) in file.code() {
        let line = line.trim();
        match statements.last_mut().filter(|_| open) {
            Some((_, statement)) => statement.push_str(line),
            None => statements.push((at, line.to_owned())),
        }
        let begins = ["use ", "pub use ", "pub(crate) use ", "pub(super) use "];
        open = (open || begins.iter().any(|word| line.starts_with(word))) && !line.ends_with(';');
    }
    statements
}

/// The paths a `use` tree stands for, two segments deep: all that the table distinguishes.
fn expand(tree: &str) -> Vec<String> {
    let Some(group) = tree.strip_prefix('{') else {
        return first_segments(tree);
    };
    split_group(group)
        .into_iter()
        .flat_map(|branch| first_segments(branch.trim()))
        .collect()
}

fn first_segments(path: &str) -> Vec<String> {
    let name = leading_name(path);
    let Some(rest) = path[name.len()..].strip_prefix("::") else {
        return vec![name.to_owned()];
    };
    let seconds: Vec<&str> = match rest.strip_prefix('{') {
        Some(group) => split_group(group)
            .into_iter()
            .map(|s| leading_name(s.trim()))
            .collect(),
        None => vec![leading_name(rest)],
    };
    seconds
        .into_iter()
        .map(|second| format!("{name}::{second}"))
        .collect()
}

fn leading_name(path: &str) -> &str {
    let end = path
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(path.len());
    &path[..end]
}

/// The branches of a group, given what follows its opening brace.
fn split_group(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut branches) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                branches.push(&group[start..at]);
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    branches.retain(|branch| !branch.trim().is_empty());
    branches
}

/// Where a chain of `super::` climbs to the crate's root, what it names there.
fn ascents(file: &Source, statement: &str) -> Vec<String> {
    let climb = "super::".repeat(file.module().len());
    statement
        .match_indices(&climb)
        .flat_map(|(at, _)| expand(&statement[at + climb.len()..]))
        .collect()
}

fn impure(file: &Source) -> Vec<Fault> {
    file.code()
        .flat_map(|(line, text)| {
            let touched = IMPURE.iter().filter(move |word| text.contains(**word));
            touched.map(move |word| file.fault(line, format!("logic touches {word}")))
        })
        .collect()
}

/// The checker itself: it must be able to fail.
mod checker {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source {
            path: path.into(),
            text: text.into(),
        }
    }

    #[test]
    fn an_import_that_goes_up_is_named_with_file_and_line() {
        let file = source(
            "logic/balance/ip_hash.rs",
            "//! x\nuse std::fmt;\n\nuse crate::config::Upstream;\n",
        );
        assert_eq!(
            bad_edges(&file)[0].to_string(),
            "src/logic/balance/ip_hash.rs:4: logic imports config::Upstream"
        );
    }

    #[test]
    fn grouped_inline_and_climbing_imports_are_seen() {
        let file = source(
            "proxy/relay.rs",
            "//! x\nuse crate::{\n    config::{model, defaults},\n    control::admin,\n};\n\
             fn f() { crate::app::run(); }\nuse super::super::cli::demo;\nuse super::pick;\n",
        );
        let edges: Vec<String> = bad_edges(&file).iter().map(Fault::to_string).collect();
        assert_eq!(
            edges,
            [
                "src/proxy/relay.rs:2: proxy imports control::admin",
                "src/proxy/relay.rs:6: proxy imports app::run",
                "src/proxy/relay.rs:7: proxy imports cli::demo",
            ]
        );
    }

    #[test]
    fn a_part_of_a_layer_may_be_open_alone() {
        let file = source(
            "load/client.rs",
            "use crate::logic::{websocket::walker, route};\nuse crate::logic::websocket;\n",
        );
        assert_eq!(
            bad_edges(&file),
            [file.fault(1, "load imports logic::route")]
        );
    }

    #[test]
    fn comments_and_tests_are_free() {
        let file = source(
            "logic/limit/mod.rs",
            "//! crate::app\n// crate::app::x Instant::now\n#[cfg(test)]\nmod tests { use crate::app; }\n",
        );
        assert_eq!(bad_edges(&file), []);
        assert_eq!(impure(&file), []);
    }

    #[test]
    fn a_clock_in_a_decision_is_named() {
        let file = source("logic/health/mod.rs", "//! x\nlet now = Instant::now();\n");
        assert_eq!(impure(&file), [file.fault(2, "logic touches Instant::now")]);
    }
}
