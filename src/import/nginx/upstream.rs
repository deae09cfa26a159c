//! `upstream NAME { … }`.

use super::directives;
use super::read::Directive;
use super::units::{self, seconds};
use crate::import::draft::{Table, Value};
use crate::import::finding::Findings;
use crate::import::source::Place;

/// nginx's own: one failure puts a server out for ten seconds.
const MAX_FAILS: u64 = 1;
const FAIL_TIMEOUT: &str = "10s";

/// Writes an upstream as a table of ours; none when it has no server that is in use.
pub fn write(upstream: &Directive, findings: &mut Findings) -> Option<Table> {
    let mut table = Table::default();
    table.comment(format!("upstream {}, {}", upstream.arg(0), upstream.place));
    let servers: Vec<_> = named(upstream, "server").collect();
    let entries: Vec<_> = servers
        .iter()
        .filter_map(|server| entry(server, findings))
        .collect();
    balance(upstream, &mut table, findings);
    if entries.is_empty() {
        return None;
    }
    table.set("servers", Value::Lines(entries), &upstream.place);
    for keepalive in named(upstream, "keepalive") {
        if let Ok(count) = keepalive.arg(0).parse::<u32>() {
            table.set("keepalive", Value::plain(count), &keepalive.place);
        }
    }
    let slow_start = servers
        .iter()
        .find_map(|server| Some((server.parameter("slow_start")?, server)));
    if let Some((time, server)) = slow_start
        && let Some(time) = units::time(time)
    {
        table.set("slow_start", time, &server.place);
    }
    let in_use: Vec<_> = servers
        .into_iter()
        .filter(|server| !server.has("down"))
        .collect();
    passive(&in_use, &mut table, findings);
    let other = |directive: &Directive| !IN_UPSTREAM.contains(&directive.name.as_str());
    let rest: Vec<_> = upstream
        .block
        .iter()
        .filter(|d| other(d))
        .cloned()
        .collect();
    directives::tell(&rest, findings);
    Some(table)
}

/// What has been read above, and what tunes a pool that is ours to tune.
const IN_UPSTREAM: [&str; 12] = [
    "server",
    "least_conn",
    "ip_hash",
    "hash",
    "random",
    "sticky",
    "keepalive",
    "keepalive_requests",
    "keepalive_time",
    "keepalive_timeout",
    "zone",
    "resolver",
];

fn named<'a>(upstream: &'a Directive, name: &'a str) -> impl Iterator<Item = &'a Directive> {
    upstream.block.iter().filter(move |d| d.name == name)
}

fn balance(upstream: &Directive, table: &mut Table, findings: &mut Findings) {
    for directive in &upstream.block {
        let place = &directive.place;
        let by_address = ["$remote_addr", "$binary_remote_addr"].contains(&directive.arg(0))
            || directive.has("ip");
        match directive.name.as_str() {
            "least_conn" => table.set("balance", "least_conn", place),
            "ip_hash" => table.set("balance", "ip_hash", place),
            "hash" | "sticky" if by_address => table.set("balance", "ip_hash", place),
            "hash" => {
                let advice = "hashes other than the client's address come with a later version; \
                              use ip_hash";
                findings.lost(place, directive.text(), advice);
            }
            "sticky" => {
                let advice = "cookies that bind come with a later version; ip_hash binds a client \
                              to its server too";
                findings.lost(place, directive.text(), advice);
                table.set("balance", "ip_hash", place);
            }
            "random" => {
                findings.differs(place, directive.text(), "least_conn looks at every server");
                table.set("balance", "least_conn", place);
            }
            _ => {}
        }
    }
}

/// A server, unless it is out of use.
fn entry(server: &Directive, findings: &mut Findings) -> Option<(Value, Place)> {
    let place = &server.place;
    if server.has("down") {
        let advice = "left out: a server out of use is not written down, or drained at run time";
        findings.differs(place, server.text(), advice);
        return None;
    }
    if server.args.is_empty() {
        findings.lost(place, server.text(), "it has no address");
        return None;
    }
    let address = address(server.arg(0), 80);
    let mut keys = vec![("address".to_owned(), Value::Text(address.clone()))];
    let mut number = |name: &str, ours: &str, none: &str| {
        if let Some(value) = server.parameter(name)
            && value != none
            && value.parse::<u32>().is_ok()
        {
            keys.push((ours.to_owned(), Value::plain(value)));
        }
    };
    number("weight", "weight", "1");
    number("max_conns", "max_connections", "0");
    if server.has("backup") {
        keys.push(("backup".to_owned(), Value::plain(true)));
    }
    for arg in server.args.iter().skip(1) {
        let name = arg.split('=').next().unwrap_or_default();
        if ["route", "service", "drain"].contains(&name) {
            findings.lost(place, arg, "no counterpart for a single server");
        }
    }
    let entry = match keys.len() {
        1 => Value::Text(address),
        _ => Value::Inline(keys),
    };
    Some((entry, place.clone()))
}

/// `max_fails` and `fail_timeout` are one server's there, the upstream's here.
fn passive(servers: &[&Directive], table: &mut Table, findings: &mut Findings) {
    let fails = |server: &Directive| {
        let text = server.parameter("max_fails");
        text.and_then(|text| text.parse().ok()).unwrap_or(MAX_FAILS)
    };
    let eject = |server: &Directive| {
        let text = server.parameter("fail_timeout").unwrap_or(FAIL_TIMEOUT);
        units::time(text).unwrap_or_else(|| FAIL_TIMEOUT.to_owned())
    };
    let Some(first) = servers.first() else { return };
    let said = (fails(first), eject(first));
    if let Some(other) = servers
        .iter()
        .find(|other| (fails(other), eject(other)) != said)
    {
        let advice = "max_fails and fail_timeout are the upstream's; the first server's count";
        findings.differs(&other.place, other.text(), advice);
    }
    let passive = table.table("passive");
    passive.set("failures", Value::plain(fails(first)), &first.place);
    if seconds(&eject(first)).is_some_and(|seconds| seconds > 0) {
        passive.set("eject", eject(first), &first.place);
    }
}

/// A server's address as we write it.
pub fn address(text: &str, default_port: u16) -> String {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.trim_end_matches(':').trim_start_matches('/');
        return format!("unix:/{path}");
    }
    let has_port = text
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        && !text.ends_with(']');
    if has_port {
        text.to_owned()
    } else {
        format!("{text}:{default_port}")
    }
}
