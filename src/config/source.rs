//! Configuration files as text, and places in them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file's text, with what is needed to name a place in it.
#[derive(Debug, Default)]
pub(super) struct File {
    number: usize,
    name: String,
    directory: PathBuf,
    text: String,
    line_starts: Vec<usize>,
}

impl File {
    /// `number` orders the files of one configuration; `directory` is what relative file names in
    /// it are relative to.
    pub(super) fn new(number: usize, name: String, directory: PathBuf, text: String) -> Arc<Self> {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(newline, _)| newline + 1))
            .collect();
        Arc::new(Self {
            number,
            name,
            directory,
            text,
            line_starts,
        })
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let before = self.text.get(start..offset).unwrap_or_default();
        // Counting characters is slow, and nobody reads a line that long.
        let column = match before.len() {
            length if length > MAX_COUNTED_BYTES => length,
            _ => before.chars().count(),
        };
        (line, column + 1)
    }
}

/// A piece of a file; shown as `FILE:LINE:COLUMN` of its beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    file: Arc<File>,
    start: usize,
    end: usize,
}

impl Place {
    pub(super) fn new(file: &Arc<File>, range: std::ops::Range<usize>) -> Self {
        Self {
            file: Arc::clone(file),
            start: range.start,
            end: range.end,
        }
    }

    /// Whether nothing was written: a default has no place.
    pub(super) fn is_nowhere(&self) -> bool {
        self.file.name.is_empty()
    }

    pub(super) fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// What is written there, before any `${NAME}` is filled in, cut to fit a line.
    pub(super) fn quote(&self) -> Option<String> {
        let written = self
            .file
            .text
            .get(self.start..self.end)
            .filter(|text| !text.is_empty())?;
        let line = written.lines().next().unwrap_or_default();
        let quote: String = line
            .chars()
            .take(MAX_QUOTE_CHARS)
            .map(|c| {
                if c.is_control() {
                    char::REPLACEMENT_CHARACTER
                } else {
                    c
                }
            })
            .collect();
        Some(if quote.len() < written.len() {
            quote + "…"
        } else {
            quote
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.file.line_and_column(self.start);
        write!(f, "{}:{line}:{column}", self.file.name)
    }
}

const MAX_QUOTE_CHARS: usize = 60;

const MAX_COUNTED_BYTES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_from_one() {
        let file = File::new(0, "a.toml".into(), PathBuf::new(), "a\nß = 1\n".into());
        assert_eq!(Place::new(&file, 0..1).to_string(), "a.toml:1:1");
        assert_eq!(Place::new(&file, 7..8).to_string(), "a.toml:2:5");
        assert_eq!(Place::new(&file, 7..8).quote().as_deref(), Some("1"));
    }

    #[test]
    fn a_place_past_the_end_is_still_a_place() {
        let file = File::new(0, "a.toml".into(), PathBuf::new(), String::new());
        assert_eq!(Place::new(&file, 9..12).to_string(), "a.toml:1:1");
    }
}
