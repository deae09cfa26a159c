//! `proxy_set_header`: what goes without saying here, what a route sets, what can't be said.

use super::scope::Scope;
use crate::import::draft::{Table, Value};
use crate::import::finding::Findings;
use crate::import::source::Place;

/// Fields that every request carries to a server here.
const OURS: [&str; 8] = [
    "upgrade",
    "connection",
    "x-real-ip",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-host",
    "x-forwarded-port",
];

/// Values that a request has here too without being told.
const HOSTS: [&str; 4] = [
    "$host",
    "$http_host",
    "$host:$server_port",
    "$host:$proxy_port",
];

/// Writes `[route.headers]`. `authority` is what nginx sends as Host where nothing is said.
pub fn write(
    scope: &Scope<'_>,
    authority: &str,
    place: &Place,
    route: &mut Table,
    findings: &mut Findings,
) {
    let mut set: Vec<(String, Value)> = Vec::new();
    let mut remove: Vec<String> = Vec::new();
    let mut host_said = false;
    let fields = scope.all("proxy_set_header");
    for field in &fields {
        let (name, value) = (field.arg(0), field.arg(1));
        let lower = name.to_ascii_lowercase();
        let own_variable = format!("$http_{}", lower.replace('-', "_"));
        if lower == "host" {
            host_said = true;
            match value {
                host if HOSTS.contains(&host) => {}
                "$proxy_host" => set.push((name.to_owned(), authority.into())),
                literal if is_literal(literal) => set.push((name.to_owned(), literal.into())),
                _ => findings.lost(&field.place, field.text(), VARIABLE),
            }
        } else if OURS.contains(&lower.as_str())
            && (value.contains('$') || lower == "connection" || lower == "upgrade")
            || value == own_variable
            || lower.starts_with("sec-websocket-")
            || PROTOCOL.contains(&lower.as_str())
        {
            // Goes without saying.
        } else if value.is_empty() {
            remove.push(name.to_owned());
        } else if is_literal(value) {
            set.push((name.to_owned(), value.into()));
        } else {
            findings.lost(&field.place, field.text(), VARIABLE);
        }
    }
    let place = fields.first().map_or(place, |field| &field.place);
    if !host_said {
        set.push(("Host".to_owned(), authority.into()));
    }
    if !set.is_empty() {
        route.table("headers").set("set", Value::Inline(set), place);
    }
    if !remove.is_empty() {
        route
            .table("headers")
            .set("remove", Value::texts(remove), place);
    }
}

const VARIABLE: &str = "there are no variables; a route sets fixed values";

/// Fields of the connection itself, which every proxy keeps.
const PROTOCOL: [&str; 5] = [
    "te",
    "transfer-encoding",
    "content-length",
    "keep-alive",
    "proxy-connection",
];

fn is_literal(value: &str) -> bool {
    !value.contains('$')
}
