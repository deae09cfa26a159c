//! `nginx.conf` and what it includes, as one tree of directives.

use std::path::{Path, PathBuf};

use nginx_lint_parser::ast::{Argument, ArgumentValue, ConfigItem, Directive as Parsed};
use nginx_lint_parser::parse_string;

use crate::import::finding::Findings;
use crate::import::source::{ImportError, Place, read};

/// How deep included files may include others.
const MAX_INCLUDE_DEPTH: usize = 8;
/// Files in all.
const MAX_FILES: usize = 1000;
/// How deep blocks may stand in each other; the parser goes down by recursion.
const MAX_NESTING: usize = 64;

/// A directive, its arguments without their quotes.
#[derive(Clone, Debug)]
pub struct Directive {
    /// Its name.
    pub name: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What stands in its braces.
    pub block: Vec<Self>,
    /// Where it stands.
    pub place: Place,
}

impl Directive {
    /// One of its arguments; empty where there are fewer.
    pub fn arg(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    /// The rest of `name=rest` among its arguments.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut values = self
            .args
            .iter()
            .filter_map(|arg| arg.strip_prefix(name)?.strip_prefix('='));
        values.next()
    }

    /// Whether a word is among its arguments.
    pub fn has(&self, word: &str) -> bool {
        self.args.iter().any(|arg| arg == word)
    }

    /// As the file has it, on one line.
    pub fn text(&self) -> String {
        let mut text = self.name.clone();
        for arg in &self.args {
            text.push(' ');
            text.push_str(if arg.is_empty() { "''" } else { arg });
        }
        text
    }
}

/// Reads a file and those that it includes; relative names are relative to its directory, as a
/// packaged nginx has it.
///
/// # Errors
/// When the file, or one that is included by its full name, can't be read or is no nginx
/// configuration.
pub fn read_all(path: &Path, findings: &mut Findings) -> Result<Vec<Directive>, ImportError> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let mut files = Files {
        directory: directory.to_owned(),
        count: 0,
        findings,
    };
    files.read(path, 0)
}

struct Files<'a> {
    directory: PathBuf,
    count: usize,
    findings: &'a mut Findings,
}

impl Files<'_> {
    fn read(&mut self, path: &Path, depth: usize) -> Result<Vec<Directive>, ImportError> {
        let shown = path.strip_prefix(&self.directory).unwrap_or(path);
        let place = Place::of(shown);
        self.count += 1;
        if depth > MAX_INCLUDE_DEPTH || self.count > MAX_FILES {
            return Err(syntax(place, "includes go on for ever"));
        }
        let text = read(path)?;
        if nesting(&text) > MAX_NESTING {
            return Err(syntax(place, "blocks stand too deep in each other"));
        }
        let config = parse_string(&text).map_err(|error| {
            let line = error.position().map_or(0, |position| position.line);
            syntax(place.at(line), &error.to_string())
        })?;
        self.directives(&config.items, &place, depth)
    }

    fn directives(
        &mut self,
        items: &[ConfigItem],
        file: &Place,
        depth: usize,
    ) -> Result<Vec<Directive>, ImportError> {
        let mut directives = Vec::new();
        for item in items {
            let ConfigItem::Directive(parsed) = item else {
                continue;
            };
            let directive = self.directive(parsed, file, depth)?;
            if directive.name == "include" {
                directives.extend(self.include(&directive, depth)?);
            } else {
                directives.push(directive);
            }
        }
        Ok(directives)
    }

    fn directive(
        &mut self,
        parsed: &Parsed,
        file: &Place,
        depth: usize,
    ) -> Result<Directive, ImportError> {
        let block = match &parsed.block {
            Some(block) => self.directives(&block.items, file, depth)?,
            None => Vec::new(),
        };
        Ok(Directive {
            name: parsed.name.clone(),
            args: arguments(&parsed.args),
            block,
            place: file.at(parsed.span.start.line),
        })
    }

    fn include(
        &mut self,
        directive: &Directive,
        depth: usize,
    ) -> Result<Vec<Directive>, ImportError> {
        let pattern = self.directory.join(directive.arg(0));
        let matches = glob::glob(&pattern.to_string_lossy());
        let mut paths: Vec<PathBuf> = matches.into_iter().flatten().flatten().collect();
        paths.sort();
        let is_pattern = directive.arg(0).contains(['*', '?', '[']);
        if paths.is_empty() && !is_pattern {
            let advice = "there is no such file; import it where it is";
            self.findings
                .lost(&directive.place, directive.text(), advice);
        }
        let mut included = Vec::new();
        for path in paths {
            included.extend(self.read(&path, depth + 1)?);
        }
        Ok(included)
    }
}

/// The arguments as nginx reads them: quotes are gone, variables keep their `$`, and what has no
/// space between is one.
fn arguments(parsed: &[Argument]) -> Vec<String> {
    let mut arguments: Vec<String> = Vec::new();
    let mut end = None;
    for argument in parsed {
        let text = match &argument.value {
            ArgumentValue::QuotedString(text) | ArgumentValue::SingleQuotedString(text) => text,
            ArgumentValue::Literal(_) | ArgumentValue::Variable(_) => &argument.raw,
        };
        match arguments.last_mut() {
            Some(last) if end == Some(argument.span.start.offset) => last.push_str(text),
            _ => arguments.push(text.clone()),
        }
        end = Some(argument.span.end.offset);
    }
    arguments
}

/// How deep braces stand in each other at most, those in comments and quotes counted too.
fn nesting(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn syntax(place: Place, what: &str) -> ImportError {
    ImportError::Syntax {
        place,
        what: what.to_owned(),
    }
}
