//! A configuration of ours in the making, and its text.

use std::fmt::Write;
use std::path::Path;

use super::finding::Findings;
use super::pattern::PathRule;
use super::source::Place;
use crate::config::{toml_key, toml_text};

/// A value as TOML has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A number, or `true` or `false`.
    Plain(String),
    /// A list on one line.
    List(Vec<Self>),
    /// A list of one item a line, each with its place.
    Lines(Vec<(Self, Place)>),
    /// An inline table.
    Inline(Vec<(String, Self)>),
}

impl Value {
    /// A list of strings.
    pub fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Self {
        let texts = items.into_iter().map(|item| Self::Text(item.to_string()));
        Self::List(texts.collect())
    }

    /// A number or a truth.
    pub fn plain(value: impl ToString) -> Self {
        Self::Plain(value.to_string())
    }

    fn write(&self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(&toml_text(text)),
            Self::Plain(plain) => out.push_str(plain),
            Self::List(items) => {
                out.push('[');
                separated(items, out, |item, out| item.write(out));
                out.push(']');
            }
            Self::Lines(items) => {
                out.push_str("[\n");
                for (item, place) in items {
                    out.push_str("  ");
                    item.write(out);
                    out.push_str(",  # ");
                    write_place(place, out);
                }
                out.push(']');
            }
            Self::Inline(entries) => {
                out.push_str("{ ");
                separated(entries, out, |(key, value), out| {
                    out.push_str(&toml_key(key));
                    out.push_str(" = ");
                    value.write(out);
                });
                out.push_str(" }");
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A table: its keys, then the tables below it.
#[derive(Clone, Debug, Default)]
pub struct Table {
    comments: Vec<String>,
    keys: Vec<Key>,
    tables: Vec<(&'static str, Self)>,
}

#[derive(Clone, Debug)]
struct Key {
    name: &'static str,
    value: Value,
    place: Option<Place>,
}

impl Table {
    /// A line above it.
    pub fn comment(&mut self, text: impl ToString) {
        self.comments.push(text.to_string());
    }

    /// Sets a key, which came from `place`.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>, place: &Place) {
        self.put(name, value.into(), Some(place.clone()));
    }

    /// Sets a key that follows from the table itself.
    pub fn fix(&mut self, name: &'static str, value: impl Into<Value>) {
        self.put(name, value.into(), None);
    }

    /// What a key is set to.
    pub fn value(&self, name: &str) -> Option<&Value> {
        let key = self.keys.iter().find(|key| key.name == name);
        key.map(|key| &key.value)
    }

    /// The table of this name below it.
    pub fn table(&mut self, name: &'static str) -> &mut Self {
        let at = self.tables.iter().position(|(known, _)| *known == name);
        let at = at.unwrap_or_else(|| {
            self.tables.push((name, Self::default()));
            self.tables.len() - 1
        });
        &mut self.tables[at].1
    }

    fn put(&mut self, name: &'static str, value: Value, place: Option<Place>) {
        let key = Key { name, value, place };
        match self.keys.iter_mut().find(|known| known.name == name) {
            Some(known) => *known = key,
            None => self.keys.push(key),
        }
    }

    fn write(&self, path: &str, is_item: bool, out: &mut String) {
        if !self.keys.is_empty() || !self.comments.is_empty() {
            for comment in &self.comments {
                // A line of theirs must not become a line of ours.
                let line: String = comment.chars().filter(|c| !c.is_control()).collect();
                out.push_str(&format!("# {line}\n"));
            }
            out.push_str(&if is_item {
                format!("[[{path}]]\n")
            } else {
                format!("[{path}]\n")
            });
        }
        for key in &self.keys {
            out.push_str(key.name);
            out.push_str(" = ");
            key.value.write(out);
            match &key.place {
                Some(place) => {
                    out.push_str("  # ");
                    write_place(place, out);
                }
                None => out.push('\n'),
            }
        }
        for (name, table) in &self.tables {
            table.write(&format!("{path}.{name}"), false, out);
        }
    }
}

/// The configuration so far.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// `[server]`.
    pub server: Table,
    /// `[listener.NAME]`.
    pub listeners: Vec<(String, Table)>,
    /// `[[route]]`, first match first.
    pub routes: Vec<Table>,
    /// `[upstream.NAME]`.
    pub upstreams: Vec<(String, Table)>,
    /// What is not in it.
    pub findings: Findings,
}

impl Draft {
    /// A name for a route of this host and path that no other has.
    pub fn route_name(&self, host: &str, path: &PathRule) -> String {
        let wanted: String = format!("{host}{path}")
            .chars()
            .filter(char::is_ascii_graphic)
            .collect();
        let taken = |name: &str| {
            let named = |route: &Table| route.value("name") == Some(&Value::from(name));
            self.routes.iter().any(named)
        };
        free(&wanted, "#", taken)
    }

    /// The whole text.
    pub fn render(&self, from: &Path) -> String {
        let mut out = String::from("# Carried over from ");
        write_place(&Place::of(from), &mut out);
        out.push_str("# Behind each line stands where it came from.\n");
        let mut section = |path: &str, is_item: bool, table: &Table| {
            let mut text = String::new();
            table.write(path, is_item, &mut text);
            if !text.is_empty() {
                out.push('\n');
                out.push_str(&text);
            }
        };
        section("server", false, &self.server);
        for (name, listener) in &self.listeners {
            section(&format!("listener.{}", toml_key(name)), false, listener);
        }
        for route in &self.routes {
            section("route", true, route);
        }
        for (name, upstream) in &self.upstreams {
            section(&format!("upstream.{}", toml_key(name)), false, upstream);
        }
        out
    }
}

/// `wanted` with every character that a name of ours can't have replaced, and a number behind it
/// where it is taken.
pub fn free_name(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    const MAX_BYTES: usize = 150;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let clean: String = wanted
        .chars()
        .take(MAX_BYTES)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect();
    let clean = if clean.is_empty() {
        "unnamed".to_owned()
    } else {
        clean
    };
    free(&clean, "_", is_taken)
}

/// `wanted`, with the next free number behind it where it is taken.
fn free(wanted: &str, separator: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut name = wanted.to_owned();
    let mut number = 1;
    while is_taken(&name) {
        number += 1;
        name = format!("{wanted}{separator}{number}");
    }
    name
}

/// The end of a line that tells a place.
fn write_place(place: &Place, out: &mut String) {
    let place: String = place
        .to_string()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    // Writing to a string can't fail.
    let _ = writeln!(out, "{place}");
}

fn separated<T>(items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        write(item, out);
    }
}
