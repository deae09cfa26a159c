//! The kinds of value a key can have: how each is read, written, and described.

pub(super) mod address;
pub(super) mod header;
pub(super) mod http;
pub(super) mod number;
pub(super) mod section;
pub(super) mod text;
pub(super) mod token;

use serde_json::{Value as Json, json};

use section::Row;

use super::reader::Reader;
use super::source::Place;
use super::tree::{Node, Value};

/// A kind of value, for a `T` of the model.
pub(super) trait Kind<T>: Describe {
    /// Reads a value; what is wrong with it goes to the reader.
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<T>;

    /// Writes a value so that it is read back equal.
    fn write(&self, value: &T) -> Written;
}

/// What a kind looks like, for the reference page and the schema.
pub(super) trait Describe {
    /// What may be written, for people.
    fn words(&self) -> String;

    /// What may be written, as JSON Schema.
    fn schema(&self) -> Json;

    /// The keys of a value that is a table inside brackets.
    fn rows(&self) -> Vec<Row> {
        Vec::new()
    }
}

/// A value on its way to TOML.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Written {
    /// Not written at all.
    Nothing,
    /// A string.
    Text(String),
    /// A string that nobody is shown.
    Secret(String),
    /// A number or a truth value, as it stands.
    Plain(String),
    /// `[a, b]`.
    List(Vec<Self>),
    /// `{ a = 1 }`.
    Inline(Vec<(String, Self)>),
    /// `[section]`.
    Table(Vec<(String, Self)>),
    /// `[[section]]`, once for each.
    Tables(Vec<Self>),
}

/// A value with its place, for checks that come after reading.
#[derive(Clone, Debug, Default)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) place: Place,
}

impl<T> From<T> for Placed<T> {
    fn from(value: T) -> Self {
        Self {
            value,
            place: Place::default(),
        }
    }
}

/// Keeps the place of a value.
pub(super) struct At<K>(pub(super) K);

impl<K: Describe> Describe for At<K> {
    fn words(&self) -> String {
        self.0.words()
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn rows(&self) -> Vec<Row> {
        self.0.rows()
    }
}

impl<T, K: Kind<T>> Kind<Placed<T>> for At<K> {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Placed<T>> {
        let value = self.0.read(node, reader)?;
        Some(Placed {
            value,
            place: node.place.clone(),
        })
    }

    fn write(&self, value: &Placed<T>) -> Written {
        self.0.write(&value.value)
    }
}

/// A word that stands for none, or a value.
pub(super) struct Or<K>(pub(super) &'static str, pub(super) K);

impl<K: Describe> Describe for Or<K> {
    fn words(&self) -> String {
        format!("{} or `\"{}\"`", self.1.words(), self.0)
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [{ "const": self.0 }, self.1.schema()] })
    }

    fn rows(&self) -> Vec<Row> {
        self.1.rows()
    }
}

impl<T, K: Kind<T>> Kind<Option<T>> for Or<K> {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Option<T>> {
        match &node.value {
            Value::Text(text) if text == self.0 => Some(None),
            _ => {
                reader.alternative = Some(self.0);
                let value = self.1.read(node, reader);
                reader.alternative = None;
                value.map(Some)
            }
        }
    }

    fn write(&self, value: &Option<T>) -> Written {
        match value {
            None => Written::Text(self.0.to_owned()),
            Some(value) => self.1.write(value),
        }
    }
}

/// A value that need not be there.
pub(super) struct Maybe<K>(pub(super) K);

impl<K: Describe> Describe for Maybe<K> {
    fn words(&self) -> String {
        self.0.words()
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn rows(&self) -> Vec<Row> {
        self.0.rows()
    }
}

impl<T, K: Kind<T>> Kind<Option<T>> for Maybe<K> {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Option<T>> {
        self.0.read(node, reader).map(Some)
    }

    fn write(&self, value: &Option<T>) -> Written {
        value
            .as_ref()
            .map_or(Written::Nothing, |value| self.0.write(value))
    }
}

/// Any number of values; one alone needs no brackets.
pub(super) struct List<K>(pub(super) K);

impl<K: Describe> Describe for List<K> {
    fn words(&self) -> String {
        format!("{}, or a list", self.0.words())
    }

    fn schema(&self) -> Json {
        let item = self.0.schema();
        json!({ "anyOf": [item, { "type": "array", "items": item }] })
    }

    fn rows(&self) -> Vec<Row> {
        self.0.rows()
    }
}

impl<T, K: Kind<T>> Kind<Vec<T>> for List<K> {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Vec<T>> {
        let Value::List(nodes) = &node.value else {
            return self.0.read(node, reader).map(|value| vec![value]);
        };
        let values: Vec<T> = nodes
            .iter()
            .enumerate()
            .filter_map(|(i, node)| {
                reader.within(&format!("[{}]", i + 1), |reader| self.0.read(node, reader))
            })
            .collect();
        (values.len() == nodes.len()).then_some(values)
    }

    fn write(&self, values: &Vec<T>) -> Written {
        Written::List(values.iter().map(|value| self.0.write(value)).collect())
    }
}

/// `true` or `false`.
pub(super) struct Flag;

impl Describe for Flag {
    fn words(&self) -> String {
        "`true` or `false`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "boolean" })
    }
}

impl Kind<bool> for Flag {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<bool> {
        match node.value {
            Value::Flag(flag) => Some(flag),
            _ => {
                reader.wrong_type(node, "write true or false");
                None
            }
        }
    }

    fn write(&self, value: &bool) -> Written {
        Written::Plain(value.to_string())
    }
}

/// One of a closed list of words.
pub(super) struct Words<T: 'static>(pub(super) &'static [(&'static str, Word<T>)]);

/// What a word stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Word<T> {
    /// This.
    Is(T),
    /// Something that is not available in this version.
    Later,
}

impl<T> Words<T> {
    fn available(&self) -> impl Iterator<Item = &'static str> {
        self.0
            .iter()
            .filter(|(_, word)| matches!(word, Word::Is(_)))
            .map(|(text, _)| *text)
    }

    fn either(&self) -> String {
        let words: Vec<_> = self.available().map(|text| format!("\"{text}\"")).collect();
        match words.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => words.join(""),
        }
    }
}

impl<T> Describe for Words<T> {
    fn words(&self) -> String {
        let words: Vec<_> = self
            .available()
            .map(|text| format!("`\"{text}\"`"))
            .collect();
        words.join(", ")
    }

    fn schema(&self) -> Json {
        json!({ "enum": self.available().collect::<Vec<_>>() })
    }
}

impl<T: Copy + PartialEq> Kind<T> for Words<T> {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<T> {
        let instead = || format!("write {}", self.either());
        let text = reader.text(node, &instead())?;
        match self.0.iter().find(|(word, _)| *word == text) {
            Some((_, Word::Is(value))) => return Some(*value),
            Some((_, Word::Later)) => reader.wrong(node, NOT_AVAILABLE, instead()),
            None => reader.wrong(node, "no such word", instead()),
        }
        None
    }

    fn write(&self, value: &T) -> Written {
        self.0
            .iter()
            .find(|(_, word)| matches!(word, Word::Is(is) if is == value))
            .map_or(Written::Nothing, |(text, _)| {
                Written::Text((*text).to_owned())
            })
    }
}

/// What is said of a key or a word that a later version brings.
pub(super) const NOT_AVAILABLE: &str = "not available in this version";
