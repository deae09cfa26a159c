//! What is packaged for Prometheus and Grafana, held against the code and against their own tools.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tidegate::telemetry::families::{FAMILIES, Kind};

use crate::support::peers::{Library, root};
use crate::support::{Connection, Echo, Request, Tidegate};

const ALERTS: &str = "packaging/prometheus/alerts.yml";
const ALERT_TESTS: &str = "packaging/prometheus/alerts.test.yml";
const GRAFANA: &str = "packaging/grafana/tidegate.json";

/// CONTRACT section 5.
const PROMISED: &str = "connections{listener} connections_accepted_total{listener} \
    connections_refused_total{listener,reason} tls_handshakes_total{listener,result} \
    handshakes_total{route,status} handshake_duration_seconds{route} websockets{route,upstream,server} \
    websockets_closed_total{route,upstream,reason} close_codes_total{route,code,from} \
    session_duration_seconds{route} messages_total{route,direction,kind} bytes_total{route,direction} \
    ping_rtt_seconds{route,side} requests_total{route,status} request_duration_seconds{route} \
    server_up{upstream,server} server_connections{upstream,server} \
    server_failures_total{upstream,server,phase} retries_total{upstream} queue_length{upstream} \
    health_checks_total{upstream,server,result} reloads_total{result} last_reload_timestamp_seconds{} \
    last_reload_successful{} parked_bytes{} workers{} worker_connections{worker} \
    file_descriptors{kind} build_info{version}";

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The words of a text that are names of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("tidegate_"));
    ours.map(str::to_owned).collect()
}

/// The names under which a scrape has samples of our families.
fn sampled() -> BTreeSet<String> {
    let names = FAMILIES.iter().flat_map(|family| {
        let suffixes: &[&str] = match family.kind {
            Kind::Histogram => &["_bucket", "_sum", "_count"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        suffixes
            .iter()
            .map(|suffix| format!("{}{suffix}", family.name))
    });
    names.collect()
}

fn strings<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(entries) => {
            found.extend(entries.get(key).and_then(Value::as_str));
            entries
                .values()
                .for_each(|value| strings(value, key, found));
        }
        Value::Array(items) => items.iter().for_each(|value| strings(value, key, found)),
        _ => {}
    }
}

/// Runs promtool; false where there is none.
fn promtool(arguments: &[&str], input: &str) -> bool {
    let command = Command::new("promtool")
        .args(arguments)
        .current_dir(root().join("packaging/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = command else {
        eprintln!("SKIP promtool: not found (Debian's package prometheus has it)");
        return false;
    };
    tool.stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
    true
}

/// A scrape, after a little of everything has happened.
fn scrape(accept: &str) -> String {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    proxy.websocket("/").close();
    proxy.send(Request::upgrade().but("Sec-WebSocket-Version: 8").bytes());
    proxy.wait_for_metric("tidegate_websockets_closed_total", &[], 1.0);
    let mut connection = Connection::open(proxy.listener("admin"));
    connection.send(format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
    ));
    connection.answer().body
}

#[test]
fn every_family_that_was_promised_is_there_with_its_labels() {
    let known: BTreeSet<String> = FAMILIES
        .iter()
        .map(|family| {
            let name = family.name.trim_start_matches("tidegate_");
            format!("{name}{{{}}}", family.labels.join(","))
        })
        .collect();
    let missing: Vec<&str> = PROMISED
        .split(' ')
        .filter(|promised| !promised.is_empty() && !known.contains(*promised))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_alerts_and_panels_ask_for_exists() {
    let sampled = sampled();
    for file in [ALERTS, ALERT_TESTS, GRAFANA] {
        let named = named(&read(file));
        assert!(named.len() > 8, "{file} names {named:?} only");
        let unknown: Vec<_> = named.difference(&sampled).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

#[test]
fn the_grafana_dashboard_is_json_whose_panels_all_show_something() {
    let dashboard: Value = serde_json::from_str(&read(GRAFANA)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let mut asked = Vec::new();
        strings(panel, "expr", &mut asked);
        assert!(!asked.is_empty(), "{}", panel["title"]);
        assert!(panel["description"].is_string(), "{}", panel["title"]);
    }
    let mut sources = Vec::new();
    strings(&dashboard, "uid", &mut sources);
    sources.retain(|uid| *uid != "tidegate");
    assert!(
        sources.iter().all(|uid| *uid == "${datasource}"),
        "{sources:?}"
    );
}

#[test]
fn promtool_finds_the_alerts_right_and_sees_each_of_them_fire() {
    if promtool(&["check", "rules", "alerts.yml"], "") {
        promtool(&["test", "rules", "alerts.test.yml"], "");
    }
    let alerts = read(ALERTS).matches("- alert: ").count();
    let fired = format!("exp_samples: [{{ labels: '{{}}', value: {alerts} }}]");
    assert!(
        read(ALERT_TESTS).contains(&fired),
        "another number fires in the tests"
    );
}

#[test]
fn promtool_finds_nothing_wrong_with_a_scrape() {
    promtool(&["check", "metrics"], &scrape("text/plain"));
}

#[test]
fn prometheus_own_parser_reads_a_scrape_as_openmetrics() {
    let text = scrape("application/openmetrics-text;version=1.0.0");
    let mut parser = Library::Python.program("openmetrics");
    let mut parser = parser
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    parser
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = parser.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    let families = String::from_utf8(output.stdout).unwrap();
    for family in [
        "tidegate_handshakes counter",
        "tidegate_workers gauge",
        "process_cpu_seconds counter",
    ] {
        assert!(families.lines().any(|line| line == family), "{families}");
    }
}
