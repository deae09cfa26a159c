//! What is wrong with a configuration: every problem at once, each with its place and a way out.

use std::fmt;

use super::defaults::MAX_PROBLEMS;
use super::source::Place;

/// Everything that is wrong; shown one problem a line.
#[derive(Clone, Debug, Default)]
pub struct Errors {
    problems: Vec<Problem>,
    /// Found beyond [`MAX_PROBLEMS`] and not kept.
    more: usize,
}

impl Errors {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Those that are kept, in file order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.problems.iter()
    }

    /// Those of several parts, in file order.
    pub fn all<const N: usize>(parts: [Option<Self>; N]) -> Self {
        let problems = parts.into_iter().flatten().flat_map(|part| part.problems);
        problems.collect::<Self>().sorted()
    }

    /// In the order of their places.
    pub(super) fn sorted(mut self) -> Self {
        self.problems.sort_by_key(|problem| problem.order);
        self
    }

    pub(super) fn push(&mut self, problem: Problem) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.problems.push(problem);
        }
    }

    /// Whether another problem would only be counted, so that its text need not be made.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() >= MAX_PROBLEMS
    }

    /// So many were found, those that are not kept included.
    pub(super) fn count(&self) -> usize {
        self.problems.len() + self.more
    }
}

impl FromIterator<Problem> for Errors {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut errors = Self::default();
        for problem in problems {
            errors.push(problem);
        }
        errors
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for Errors {}

/// One thing that is wrong: `FILE:LINE:COLUMN: key = value: what is wrong (what to write instead)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `FILE:LINE:COLUMN`, or `FILE` for a file that could not be read.
    pub place: String,
    /// The key's whole path, or nothing where the text is no TOML.
    pub key: String,
    /// What is written there.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// What to write instead, or nothing.
    pub instead: String,
    /// File in reading order, and offset in it.
    order: (usize, usize),
}

impl Problem {
    /// A problem with what stands at `place`.
    pub(super) fn at(place: &Place, key: &str, what: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            key: key.to_owned(),
            value: None,
            what: what.into(),
            instead: String::new(),
            order: (place.file().number(), place.start()),
        }
    }

    /// A problem with a whole file.
    pub(super) fn of_file(file: &str, what: impl Into<String>) -> Self {
        Self {
            place: file.to_owned(),
            key: String::new(),
            value: None,
            what: what.into(),
            instead: String::new(),
            order: (0, 0),
        }
    }

    pub(super) fn value(self, value: Option<String>) -> Self {
        Self { value, ..self }
    }

    pub(super) fn instead(self, instead: impl Into<String>) -> Self {
        Self {
            instead: instead.into(),
            ..self
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match (&self.value, self.key.as_str()) {
            (_, "") => {}
            (Some(value), key) => write!(f, "{key} = {value}: ")?,
            (None, key) => write!(f, "{key}: ")?,
        }
        f.write_str(&self.what)?;
        match self.instead.as_str() {
            "" => Ok(()),
            instead => write!(f, " ({instead})"),
        }
    }
}
