//! The reference page's tables and the JSON Schema, out of the table of keys.

use serde_json::{Value as Json, json};

use super::dump::inline;
use super::keys::ROOT;
use super::kind::section::{Row, Shape, Status, schema_of};
use super::kind::{NOT_AVAILABLE, Written};
use super::reader::Provenance;

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
    let lines: String = rows.iter().map(line).collect();
    if !lines.is_empty() {
        page.push_str(&format!("\n### {title}\n\n{HEAD}{lines}"));
    }
    for row in rows {
        let path = join(path, row.name);
        match &row.shape {
            // The keys below `defaults` are those of the sections themselves.
            Shape::Table { .. } if path == "defaults" => {}
            Shape::Value { rows, .. } => section(&path, &format!("Each of `{path}`"), rows, page),
            Shape::Table { rows, .. } => section(&path, &title_of(&path, row), rows, page),
            Shape::Named(rows) => {
                let path = path + ".NAME";
                section(&path, &title_of(&path, row), rows, page);
            }
            Shape::Tables(rows) => {
                section(&path, &title_of(&format!("[{path}]"), row), rows, page);
            }
        }
    }
}

fn title_of(header: &str, row: &Row) -> String {
    let status = match row.status {
        Status::Later => format!(" ({NOT_AVAILABLE})"),
        Status::Acts | Status::Restart => String::new(),
    };
    format!("`[{header}]`: {}{status}", row.doc.trim_end_matches('.'))
}

fn line(row: &Row) -> String {
    let Shape::Value { words, .. } = &row.shape else {
        return String::new();
    };
    let default = match &row.default {
        Written::Nothing => "–".to_owned(),
        default => format!("`{}`", inline(default, &Provenance::default())),
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

const HEAD: &str = "| key | value | default | what it is |\n|---|---|---|---|\n";

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}
