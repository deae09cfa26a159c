//! A TOML text as a tree of values that know their place, in file order. Nothing else here knows the TOML library.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Errors, Problem};
use super::source::{File, Place};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

impl Node {
    /// The value as it is written; a table would be too long.
    pub(super) fn quote(&self) -> Option<String> {
        match self.value {
            Value::Table(_) => None,
            _ => self.place.quote(),
        }
    }
}

/// What stands there.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Text(String),
    /// `None` does not fit 64 bits.
    Integer(Option<i64>),
    Flag(bool),
    /// Floats and dates, which no key takes.
    Other(&'static str),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// Its type in words.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::Other(name) => name,
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys and values in file order.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key, where it stands, and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// Adds what another file says: tables are merged, lists of tables follow those that are
    /// there already, and anything else may be said only once.
    pub(super) fn merge(&mut self, other: Self, key: &str, errors: &mut Errors) {
        let known: HashMap<String, usize> = self
            .entries
            .iter()
            .enumerate()
            .map(|(i, entry)| (entry.name.clone(), i))
            .collect();
        for entry in other.entries {
            match known.get(&entry.name) {
                None => self.entries.push(entry),
                Some(i) => merge_values(&mut self.entries[*i], entry, key, errors),
            }
        }
    }
}

/// Parses a file; syntax errors, all of them, go to `errors` and what could be read comes back.
pub(super) fn parse(file: &Arc<File>, errors: &mut Errors) -> Node {
    let (table, syntax_errors) = DeTable::parse_recoverable(file.text());
    for error in syntax_errors {
        let place = Place::new(file, error.span().unwrap_or(0..0));
        errors.push(Problem::at(&place, "", one_line(error.message())));
    }
    Node {
        place: Place::new(file, 0..0),
        value: Value::Table(convert_table(file, table.into_inner())),
    }
}

fn merge_values(into: &mut Entry, from: Entry, parent: &str, errors: &mut Errors) {
    let key = if parent.is_empty() {
        from.name
    } else {
        format!("{parent}.{}", from.name)
    };
    match (&mut into.node.value, from.node.value) {
        (Value::Table(into), Value::Table(from)) => into.merge(from, &key, errors),
        (Value::List(into), Value::List(from)) if are_tables(into) && are_tables(&from) => {
            into.extend(from);
        }
        _ => errors.push(
            Problem::at(
                &from.place,
                &key,
                format!("is already set at {}", into.place),
            )
            .instead("keep one of the two"),
        ),
    }
}

fn are_tables(list: &[Node]) -> bool {
    list.iter()
        .all(|node| matches!(node.value, Value::Table(_)))
}

fn convert_table(file: &Arc<File>, table: DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(name, value)| Entry {
            place: Place::new(file, name.span()),
            name: name.into_inner().into_owned(),
            node: convert(file, value),
        })
        .collect();
    entries.sort_by_key(|entry| entry.place.start());
    Table { entries }
}

fn convert(file: &Arc<File>, value: Spanned<DeValue<'_>>) -> Node {
    let place = Place::new(file, span_of(&value));
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Float(_) => Value::Other("a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(list) => {
            Value::List(list.into_iter().map(|value| convert(file, value)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(file, table)),
    };
    Node { place, value }
}

fn span_of(value: &Spanned<DeValue<'_>>) -> Range<usize> {
    value.span()
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}
