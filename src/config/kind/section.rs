//! Sections: tables with a closed list of keys, each with what the reference says of it.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{Describe, Kind, NOT_AVAILABLE, Written};
use crate::config::reader::{Reader, nearest};
use crate::config::source::Place;
use crate::config::tree::{Entry, Node, Table, Value};

/// A table's keys.
pub(in crate::config) struct Section<S: 'static> {
    pub(in crate::config) keys: &'static [Key<S>],
    /// Keys that make one listener, route or upstream what it is, so that no other can share them.
    pub(in crate::config) own: &'static [&'static str],
    /// What is to be done once all keys are read: checks of one key against another.
    pub(in crate::config) then: fn(&mut S, &Node, &mut Reader),
}

/// One key of a section.
pub(in crate::config) struct Key<S> {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) status: Status,
    /// What it means, in one sentence.
    pub(in crate::config) doc: &'static str,
    pub(in crate::config) shape: fn() -> Shape,
    pub(in crate::config) read: fn(&mut S, &Node, &mut Reader),
    pub(in crate::config) write: fn(&S) -> Written,
}

/// What a key does in this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Status {
    /// It acts, and a reload changes it.
    Acts,
    /// It acts, and only a restart changes it.
    Restart,
    /// It is refused as not available in this version.
    Later,
}

/// What may stand at a key.
pub(in crate::config) enum Shape {
    /// A value, with its keys where it is a table inside brackets.
    Value {
        words: String,
        schema: Json,
        rows: Vec<Row>,
    },
    /// A table with these keys; where `off`, the word may stand instead.
    Table { rows: Vec<Row>, off: bool },
    /// A table of such tables, by name.
    Named(Vec<Row>),
    /// A list of such tables.
    Tables(Vec<Row>),
}

/// A key as the reference and the schema show it.
pub(in crate::config) struct Row {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) status: Status,
    pub(in crate::config) doc: &'static str,
    pub(in crate::config) default: Written,
    /// Whether it has no place below `defaults`.
    pub(in crate::config) own: bool,
    pub(in crate::config) shape: Shape,
}

impl Shape {
    pub(in crate::config) fn of(kind: &impl Describe) -> Self {
        Self::Value {
            words: kind.words(),
            schema: kind.schema(),
            rows: kind.rows(),
        }
    }
}

impl<S> Section<S> {
    /// A section whose keys have nothing to do with each other.
    pub(in crate::config) const fn new(keys: &'static [Key<S>]) -> Self {
        Self {
            keys,
            own: &[],
            then: |_, _, _| {},
        }
    }

    pub(in crate::config) const fn own(self, own: &'static [&'static str]) -> Self {
        Self { own, ..self }
    }

    pub(in crate::config) const fn then(self, then: fn(&mut S, &Node, &mut Reader)) -> Self {
        Self { then, ..self }
    }
}

impl<S: Clone + Default> Section<S> {
    /// Reads a table over what `into` holds already.
    pub(in crate::config) fn read(&self, into: &mut S, node: &Node, reader: &mut Reader) {
        let Value::Table(table) = &node.value else {
            reader.wrong_type(node, "write a table");
            return;
        };
        for entry in &table.entries {
            reader.within(&entry.name, |reader| self.read_entry(into, entry, reader));
        }
        (self.then)(into, node, reader);
    }

    pub(in crate::config) fn write(&self, section: &S) -> Vec<(String, Written)> {
        self.keys
            .iter()
            .filter(|key| key.status != Status::Later)
            .map(|key| (key.name.to_owned(), (key.write)(section)))
            .filter(|(_, written)| *written != Written::Nothing)
            .collect()
    }

    pub(in crate::config) fn rows(&self) -> Vec<Row> {
        let defaults = S::default();
        self.keys
            .iter()
            .map(|key| Row {
                name: key.name,
                status: key.status,
                doc: key.doc,
                default: (key.write)(&defaults),
                own: self.own.contains(&key.name),
                shape: (key.shape)(),
            })
            .collect()
    }

    /// The keys that have a place below `defaults`.
    pub(in crate::config) fn inheritable(&self) -> Vec<Row> {
        self.rows().into_iter().filter(|row| !row.own).collect()
    }

    fn read_entry(&self, into: &mut S, entry: &Entry, reader: &mut Reader) {
        let Some(key) = self.keys.iter().find(|key| key.name == entry.name) else {
            self.unknown(entry, reader);
            return;
        };
        if reader.in_defaults && self.own.contains(&key.name) {
            reader.wrong_entry(
                entry,
                "has no place in defaults",
                "write it in each table itself",
            );
            return;
        }
        if key.status != Status::Later {
            (key.read)(into, &entry.node, reader);
            return;
        }
        let errors = reader.errors.count();
        (key.read)(&mut into.clone(), &entry.node, reader);
        if reader.errors.count() == errors && !switches_off(&entry.node) {
            reader.wrong(&entry.node, NOT_AVAILABLE, "leave it out");
        }
    }

    fn unknown(&self, entry: &Entry, reader: &mut Reader) {
        if reader.errors.is_full() {
            reader.wrong_entry(entry, "unknown key", "");
            return;
        }
        let names = self.keys.iter().map(|key| key.name);
        let instead = match nearest(&entry.name, names.clone()) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
        };
        reader.wrong_entry(entry, "unknown key", instead);
    }
}

/// A table that may be absent; `"off"` takes away one that `defaults` gave.
pub(in crate::config) fn read_optional<S: Clone + Default>(
    section: &Section<S>,
    into: &mut Option<S>,
    node: &Node,
    reader: &mut Reader,
) {
    match &node.value {
        Value::Text(text) if text == "off" => *into = None,
        Value::Table(_) => section.read(into.get_or_insert_default(), node, reader),
        _ => reader.wrong_type(node, r#"write a table or "off""#),
    }
}

/// Calls `each` with every table of a table of tables.
pub(in crate::config) fn each_named(
    node: &Node,
    reader: &mut Reader,
    mut each: impl FnMut(&str, &Place, &Node, &mut Reader),
) {
    let Value::Table(Table { entries }) = &node.value else {
        reader.wrong_type(node, "write a table for each, by name");
        return;
    };
    for entry in entries {
        reader.within(&entry.name, |reader| {
            each(&entry.name, &entry.place, &entry.node, reader)
        });
    }
}

/// A section inside brackets: `{ address = "…", weight = 3 }`.
pub(in crate::config) struct Braces<S: 'static>(pub(in crate::config) &'static Section<S>);

impl<S: Clone + Default> Describe for Braces<S> {
    fn words(&self) -> String {
        let names: Vec<_> = self.0.keys.iter().map(|key| key.name).collect();
        format!("`{{ {} }}`", names.join(", "))
    }

    fn schema(&self) -> Json {
        schema_of(&self.0.rows())
    }

    fn rows(&self) -> Vec<Row> {
        self.0.rows()
    }
}

impl<S: Clone + Default> Kind<S> for Braces<S> {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<S> {
        let errors = reader.errors.count();
        let mut section = S::default();
        self.0.read(&mut section, node, reader);
        (reader.errors.count() == errors).then_some(section)
    }

    fn write(&self, value: &S) -> Written {
        Written::Inline(self.0.write(value))
    }
}

/// The JSON Schema of a table with these keys.
pub(in crate::config) fn schema_of(rows: &[Row]) -> Json {
    let properties: Map<String, Json> = rows
        .iter()
        .map(|row| (row.name.to_owned(), row.schema()))
        .collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

impl Row {
    fn schema(&self) -> Json {
        let mut schema = match &self.shape {
            Shape::Value { schema, .. } => schema.clone(),
            Shape::Table { rows, off: false } => schema_of(rows),
            Shape::Table { rows, off: true } => {
                json!({ "anyOf": [{ "const": "off" }, schema_of(rows)] })
            }
            Shape::Named(rows) => {
                json!({ "type": "object", "additionalProperties": schema_of(rows) })
            }
            Shape::Tables(rows) => json!({ "type": "array", "items": schema_of(rows) }),
        };
        let description = match self.status {
            Status::Later => format!("{} ({NOT_AVAILABLE})", self.doc),
            _ => self.doc.to_owned(),
        };
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), description.into());
        }
        schema
    }
}

/// What a key that does not act yet would do nothing at, so that refusing it would be silly.
fn switches_off(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text == "off" || text == "0s",
        Value::Integer(number) => *number == Some(0),
        Value::Flag(flag) => !flag,
        _ => false,
    }
}

/// Reads a table behind an `Arc`, which is copied only if it is shared.
pub(in crate::config) fn read_shared<S: Clone + Default>(
    section: &Section<S>,
    into: &mut Arc<S>,
    node: &Node,
    reader: &mut Reader,
) {
    section.read(Arc::make_mut(into), node, reader);
}
