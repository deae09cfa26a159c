//! The reference page's tables and the JSON Schema, out of the table of keys.

use serde_json::{Value as Json, json};

use super::dump::inline;
use super::keys::ROOT;
use super::kind::section::{Row, Shape, Status, schema_of};
use super::kind::{NOT_AVAILABLE, Written};
use super::reader::Origin;

/// The configuration's JSON Schema (draft 2020-12).
pub fn schema() -> Json {
    let mut schema = schema_of(&ROOT.rows());
    if let Some(schema) = schema.as_object_mut() {
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!("Tidegate configuration"));
    }
    schema
}

/// The tables of `docs/configuration.md`, in Markdown.
pub fn tables() -> String {
    let mut page = String::new();
    section("", "Top level", &ROOT.rows(), &mut page);
    page
}

fn section(path: &str, title: &str, rows: &[Row], page: &mut String) {
    let values: Vec<&Row> = rows
        .iter()
        .filter(|row| matches!(row.shape, Shape::Value { .. }))
        .collect();
    if !values.is_empty() {
        page.push_str(&format!(
            "\n### {title}\n\n| key | value | default | what it is |\n|---|---|---|---|\n"
        ));
        values.into_iter().for_each(|row| page.push_str(&line(row)));
    }
    // The keys below `defaults` are those of the sections themselves.
    for row in rows
        .iter()
        .filter(|row| !(path.is_empty() && row.name == "defaults"))
    {
        let (path, opening, rows) = match &row.shape {
            Shape::Value { .. } => continue,
            Shape::Table { rows, .. } => (join(path, row.name), '[', rows),
            Shape::Named(rows) => (join(path, row.name) + ".NAME", '[', rows),
            Shape::Tables(rows) => (join(path, row.name), '*', rows),
        };
        let title = match opening {
            '[' => format!("`[{path}]`"),
            _ => format!("`[[{path}]]`"),
        };
        let status = match row.status {
            Status::Later => format!(" ({NOT_AVAILABLE})"),
            Status::Acts | Status::Restart => String::new(),
        };
        section(
            &path,
            &format!("{title}: {}{status}", row.doc.trim_end_matches('.')),
            rows,
            page,
        );
    }
}

fn line(row: &Row) -> String {
    let Shape::Value { words, .. } = &row.shape else {
        return String::new();
    };
    let default = match &row.default {
        Written::Nothing => "–".to_owned(),
        default => format!("`{}`", inline(default, &Origin::default())),
    };
    let status = match row.status {
        Status::Acts => "",
        Status::Restart => " **Needs a restart.**",
        Status::Later => " *Not available in this version.*",
    };
    format!(
        "| `{}` | {words} | {default} | {}{status} |\n",
        row.name, row.doc
    )
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}
