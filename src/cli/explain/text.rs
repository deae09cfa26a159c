//! An explanation for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::explanation::{Explanation, Met, Verdict};
use super::selection::{Choice, Selection};
use crate::cli::table::Table;

/// Keys that other parts of the page tell of.
const TOLD: [&str; 11] = [
    "listener.bind",
    "listener.tls.certificates",
    "route.name",
    "route.listener",
    "route.host",
    "route.path",
    "route.upstream",
    "route.access",
    "route.headers",
    "upstream.balance",
    "upstream.servers",
];

/// The whole page.
pub(super) fn of(explanation: &Explanation) -> String {
    let mut page = format!(
        "listener {}: {}\nclient {}\n",
        explanation.listener, explanation.listener_why, explanation.client
    );
    // Writing to a string can't fail.
    let _ = write!(
        page,
        "\n{}\n{}",
        routes(explanation),
        checks(&explanation.checks)
    );
    if let Some(own) = &explanation.answer {
        let _ = write!(page, "\nanswer: {} {}", own.status, own.text);
        let location = own
            .location
            .as_ref()
            .map(|location| format!(" to {location}"));
        let _ = writeln!(page, "{}", location.unwrap_or_default());
    }
    if let Some(selection) = &explanation.upstream {
        page.push_str(&to_server(selection));
    }
    let _ = write!(page, "\nwhat applies\n{}", settings(&explanation.settings));
    page
}

fn routes(explanation: &Explanation) -> Table {
    let mut table = Table::new(["ROUTE", "FITS", "WHY"]);
    for route in &explanation.routes {
        let (fits, why) = match &route.mismatch {
            None => ("yes", String::new()),
            Some(why) => ("no", why.clone()),
        };
        table.row([route.name.clone(), fits.to_owned(), why]);
    }
    table
}

fn checks(checks: &[Met]) -> Table {
    let mut table = Table::new(["CHECK", "VERDICT", "WHY"]);
    for met in checks {
        let verdict = match met.verdict {
            Verdict::Passed => "passed",
            Verdict::Refused => "REFUSED",
            Verdict::NotAsked => "not asked",
            Verdict::NotReached => "not reached",
            Verdict::AtRunTime => "at run time",
        };
        table.row([met.check.to_owned(), verdict.to_owned(), met.why.clone()]);
    }
    table
}

fn to_server(selection: &Selection) -> String {
    let mut text = format!("\nupstream {}: {}", selection.name, selection.choice);
    if let Some(server) = &selection.server {
        let _ = write!(text, ": {server}, while all are up");
    }
    let mut table = Table::new(["SERVER", "WEIGHT", "BACKUP", "MAX"]);
    for Choice {
        address,
        weight,
        backup,
        max_connections,
    } in &selection.servers
    {
        let backup = if *backup { "yes" } else { "no" };
        let max = max_connections.map_or_else(|| "-".to_owned(), |max| max.to_string());
        table.row([address.clone(), weight.to_string(), backup.to_owned(), max]);
    }
    let _ = write!(text, "\n{table}\nthe server is sent\n");
    for line in &selection.head {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// One line for each key: `route.websocket.idle_timeout = "1h"`.
fn settings(settings: &Value) -> String {
    let mut lines = String::new();
    for (section, values) in settings.as_object().into_iter().flatten() {
        flatten(section, values, &mut lines);
    }
    lines
}

fn flatten(key: &str, value: &Value, lines: &mut String) {
    match value {
        _ if TOLD.contains(&key) => {}
        Value::Null => {}
        Value::Object(values) => {
            for (name, value) in values {
                flatten(&format!("{key}.{name}"), value, lines);
            }
        }
        value => {
            let _ = writeln!(lines, "  {key} = {value}");
        }
    }
}
