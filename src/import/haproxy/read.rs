//! `haproxy.cfg` as sections of lines of words.

use std::path::Path;

use crate::import::source::{ImportError, Place, read};

/// Words of a line; HAProxy takes 64.
const MAX_WORDS: usize = 64;

/// A line, its quotes and escapes gone.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its words; at least one.
    pub words: Vec<String>,
    /// Where it stands.
    pub place: Place,
}

impl Line {
    /// One of its words; empty where there are fewer.
    pub fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// Whether it begins with these words.
    pub fn begins(&self, words: &[&str]) -> bool {
        let mut own = self.words.iter();
        words
            .iter()
            .all(|word| own.next().is_some_and(|own| own == word))
    }

    /// The word behind this one.
    pub fn after(&self, word: &str) -> Option<&str> {
        let at = self.words.iter().position(|own| own == word)?;
        self.words.get(at + 1).map(String::as_str)
    }

    /// Whether a word is on it.
    pub fn has(&self, word: &str) -> bool {
        self.words.iter().any(|own| own == word)
    }

    /// On one line, as the file has it but for quotes.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// What a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `global`
    Global,
    /// `defaults`
    Defaults,
    /// `frontend`
    Frontend,
    /// `backend`
    Backend,
    /// `listen`
    Listen,
    /// Any other.
    Other,
}

/// A section and its lines.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is.
    pub kind: Kind,
    /// The line that begins it.
    pub head: Line,
    /// The lines below.
    pub lines: Vec<Line>,
}

impl Section {
    /// Its name; empty where it has none.
    pub fn name(&self) -> &str {
        self.head.word(1)
    }
}

const HEADS: [(&str, Kind); 20] = [
    ("global", Kind::Global),
    ("defaults", Kind::Defaults),
    ("frontend", Kind::Frontend),
    ("backend", Kind::Backend),
    ("listen", Kind::Listen),
    ("acme", Kind::Other),
    ("cache", Kind::Other),
    ("crt-store", Kind::Other),
    ("fcgi-app", Kind::Other),
    ("http-errors", Kind::Other),
    ("log-forward", Kind::Other),
    ("log-profile", Kind::Other),
    ("mailers", Kind::Other),
    ("peers", Kind::Other),
    ("program", Kind::Other),
    ("resolvers", Kind::Other),
    ("ring", Kind::Other),
    ("traces", Kind::Other),
    ("userlist", Kind::Other),
    ("namespace_list", Kind::Other),
];

/// Reads a file.
///
/// # Errors
/// When it can't be read or is no HAProxy configuration.
pub fn sections(path: &Path) -> Result<Vec<Section>, ImportError> {
    let text = read(path)?;
    let file = Place::of(Path::new(path.file_name().unwrap_or_default()));
    let mut sections: Vec<Section> = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let place = file.at(i + 1);
        let words = words(line, &place)?;
        let Some(first) = words.first() else { continue };
        let head = HEADS.iter().find(|(word, _)| first == word);
        let line = Line { words, place };
        match (head, sections.last_mut()) {
            (Some(&(_, kind)), _) => sections.push(Section {
                kind,
                head: line,
                lines: Vec::new(),
            }),
            (None, Some(section)) => section.lines.push(line),
            (None, None) => {
                let what = format!("`{}` stands outside of any section", line.word(0));
                return Err(ImportError::Syntax {
                    place: line.place,
                    what,
                });
            }
        }
    }
    Ok(sections)
}

/// Takes a line apart: white space separates, quotes and backslashes keep together, `#` ends it.
fn words(line: &str, place: &Place) -> Result<Vec<String>, ImportError> {
    let mut words: Vec<String> = Vec::new();
    let mut open = false;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        let literal = match (quote, c) {
            (None, '#') => break,
            (None, c) if c.is_whitespace() => {
                open = false;
                continue;
            }
            (None, '"' | '\'') => {
                quote = Some(c);
                None
            }
            (Some(q), c) if c == q => {
                quote = None;
                None
            }
            (None | Some('"'), '\\') => chars.next().map(escaped),
            (_, c) => Some(c),
        };
        if !open {
            words.push(String::new());
            open = true;
        }
        if let (Some(c), Some(word)) = (literal, words.last_mut()) {
            word.push(c);
        }
    }
    let fault = match () {
        () if quote.is_some() => "a quote does not end",
        () if words.len() > MAX_WORDS => "too many words",
        () => return Ok(words),
    };
    Err(ImportError::Syntax {
        place: place.clone(),
        what: fault.to_owned(),
    })
}

fn escaped(c: char) -> char {
    match c {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart_as_haproxy_does() {
        let place = Place::of(Path::new("x"));
        for (line, expected) in [
            ("bind :80 # comment", vec!["bind", ":80"]),
            (
                r#"http-request set-header X "a b" if { path /x }"#,
                vec![
                    "http-request",
                    "set-header",
                    "X",
                    "a b",
                    "if",
                    "{",
                    "path",
                    "/x",
                    "}",
                ],
            ),
            (
                r"acl x path_reg ^/a\ b",
                vec!["acl", "x", "path_reg", "^/a b"],
            ),
            ("set ''", vec!["set", ""]),
            ("   ", vec![]),
            (r"x \# y", vec!["x", "#", "y"]),
        ] {
            assert_eq!(words(line, &place).unwrap(), expected, "{line}");
        }
        assert!(words("x \"y", &place).is_err());
    }
}
