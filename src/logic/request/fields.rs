//! The header fields of one message, as views into the head they came in.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::list;

/// A message's fields in their order and spelling; cheap to clone.
#[derive(Clone)]
pub struct Fields {
    head: Bytes,
    lines: Vec<Line>,
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// A token, in the sender's spelling.
    pub name: &'a [u8],
    /// Without white space around it; no CR, LF, NUL or other control but HTAB.
    pub value: &'a [u8],
}

/// A field that must stand once stands more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl Fields {
    /// Takes over fields that were parsed out of `head`.
    pub(super) fn new(head: Bytes, parsed: &[httparse::Header<'_>]) -> Self {
        let line = |header: &httparse::Header<'_>| Line {
            name: range_within(&head, header.name.as_bytes()),
            value: range_within(&head, header.value),
        };
        let lines = parsed.iter().map(line).collect();
        Self { head, lines }
    }

    /// Fields whose names and values lie at these places of `head`.
    pub(super) fn of_ranges(head: Bytes, lines: Vec<(Range<usize>, Range<usize>)>) -> Self {
        let line = |(name, value)| Line { name, value };
        let lines = lines.into_iter().map(line).collect();
        Self { head, lines }
    }

    /// Every field line, in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lines.iter().map(|line| Field {
            name: &self.head[line.name.clone()],
            value: &self.head[line.value.clone()],
        })
    }

    /// The values of every line of that name, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter()
            .filter(move |field| field.is(name))
            .map(|field| field.value)
    }

    /// Whether there is a line of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// The value of a field that may stand once.
    ///
    /// # Errors
    /// [`Repeated`] when it stands more than once, equal values included.
    pub fn one(&self, name: &str) -> Result<Option<&[u8]>, Repeated> {
        let mut values = self
            .iter()
            .filter(|field| field.is(name))
            .map(|field| field.value);
        let first = values.next();
        if values.next().is_some() {
            Err(Repeated)
        } else {
            Ok(first)
        }
    }

    /// The list elements of every line of that name, as if they were one line.
    pub fn elements<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.values(name).flat_map(list::elements)
    }

    /// Whether the list of that name has this token, in any case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.elements(name)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }
}

impl Field<'_> {
    /// Whether this is the field of that name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

// Values hold cookies and tokens, which no log may show.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.iter()
                    .map(|field| field.name.escape_ascii().to_string()),
            )
            .finish()
    }
}

/// Where `part` lies in `whole`; empty when it lies elsewhere.
pub(super) fn range_within(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
    match start.checked_add(part.len()) {
        Some(end) if end <= whole.len() => start..end,
        _ => 0..0,
    }
}

#[derive(Clone)]
struct Line {
    name: Range<usize>,
    value: Range<usize>,
}
