//! A TOML text as a tree of values that know their place, in file order. Nothing else here knows the TOML library.

use std::collections::HashMap;
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
    pub(super) fn into_table(self) -> Option<Table> {
        match self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

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
    /// A number with a point in it.
    Fraction(f64),
    /// Dates, which no key takes.
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
            Self::Fraction(_) => "a fraction",
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
}

/// Makes one table of several, of several files: tables of one name are merged, lists of tables
/// follow one another, and anything else may be said only once.
pub(super) fn merge(tables: Vec<Table>, key: &str, errors: &mut Errors) -> Table {
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut groups: Vec<Vec<Entry>> = Vec::new();
    for entry in tables.into_iter().flat_map(|table| table.entries) {
        match positions.get(&entry.name) {
            Some(position) => groups[*position].push(entry),
            None => {
                positions.insert(entry.name.clone(), groups.len());
                groups.push(vec![entry]);
            }
        }
    }
    let entries = groups
        .into_iter()
        .filter_map(|group| merge_entries(group, key, errors));
    Table {
        entries: entries.collect(),
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

/// Makes one entry of those that say the same key.
fn merge_entries(group: Vec<Entry>, parent: &str, errors: &mut Errors) -> Option<Entry> {
    let mut others = group.into_iter();
    let mut first = others.next()?;
    if others.len() == 0 {
        return Some(first);
    }
    let key = match parent {
        "" => first.name.clone(),
        parent => format!("{parent}.{}", first.name),
    };
    let mut tables = Vec::new();
    for other in others {
        match (&mut first.node.value, other.node.value) {
            (Value::Table(_), Value::Table(table)) => tables.push(table),
            (Value::List(into), Value::List(from)) if are_tables(into) && are_tables(&from) => {
                into.extend(from);
            }
            _ => errors.push(
                Problem::at(
                    &other.place,
                    &key,
                    format!("is already set at {}", first.place),
                )
                .instead("keep one of the two"),
            ),
        }
    }
    if let Value::Table(table) = &mut first.node.value {
        tables.insert(0, std::mem::take(table));
        *table = merge(tables, &key, errors);
    }
    Some(first)
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
    let place = Place::new(file, value.span());
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => {
            Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
        }
        DeValue::Boolean(flag) => Value::Flag(flag),
        DeValue::Float(number) => Value::Fraction(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Array(list) => {
            Value::List(list.into_iter().map(|value| convert(file, value)).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(file, table)),
    };
    Node { place, value }
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}
