//! The access log held against the metrics: every end and every answer stands in both, as often
//! and under the same word.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::support::Tidegate;
use crate::support::wait::wait_until;

/// Where [`agree`] looks for the access log, beside the configuration.
pub const ACCESS_LOG: &str = "access.log";

/// How often what happened.
type Book = BTreeMap<Vec<String>, f64>;

/// Refused before there was a request to tell of.
const UNLOGGED: [&str; 4] = ["not_tls", "overloaded", "tls", "tls_busy"];
/// What a metric calls a client that left before its answer.
const LEFT: u64 = 499;

/// Waits until the log has caught up, and holds one against the other.
#[track_caller]
pub fn agree(proxy: &Tidegate) {
    let entries = |book: &Book| book.values().sum::<f64>();
    wait_until(
        "as many lines in the access log as the metrics count",
        || entries(&logged(proxy)) == entries(&counted(proxy)),
    );
    assert_eq!(logged(proxy), counted(proxy), "access log and metrics");
}

fn logged(proxy: &Tidegate) -> Book {
    let mut book = Book::new();
    let text = fs::read_to_string(proxy.directory().join(ACCESS_LOG)).unwrap_or_default();
    let lines = text
        .lines()
        .map_while(|line| serde_json::from_str(line).ok());
    for line in lines.collect::<Vec<Value>>() {
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let entry = match (word("event").as_str(), word("route").as_str()) {
            ("close", route) => vec!["end".to_owned(), route.to_owned(), word("reason")],
            (_, "") => vec!["refused".to_owned(), word("listener"), word("reason")],
            (_, route) => {
                let status = line["status"].as_u64().unwrap_or(LEFT);
                vec!["answer".to_owned(), route.to_owned(), status.to_string()]
            }
        };
        *book.entry(entry).or_default() += 1.0;
    }
    book
}

fn counted(proxy: &Tidegate) -> Book {
    let metrics = proxy.metrics();
    let mut book = Book::new();
    for (what, family, labels) in [
        ("end", "websockets_closed", ["route", "reason"]),
        ("refused", "connections_refused", ["listener", "reason"]),
        ("answer", "handshakes", ["route", "status"]),
        ("answer", "requests", ["route", "status"]),
    ] {
        for (values, count) in metrics.sums_by(&format!("tidegate_{family}_total"), labels) {
            let unlogged = what == "refused" && UNLOGGED.contains(&values[1].as_str());
            if count > 0.0 && !unlogged {
                let entry = [vec![what.to_owned()], values.to_vec()].concat();
                *book.entry(entry).or_default() += count;
            }
        }
    }
    book
}
