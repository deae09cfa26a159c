//! `tidegate status`: what the running process does.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::admin_client::{AdminClient, Failure, InstanceArgs};
use super::table::Table;
use super::{fail, print};

/// What is asked for.
const STATUS: &str = "/api/v1/status";
/// How often `--watch` looks again.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Cursor home, clear to the end: what comes next replaces what was there.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Show the running process: upstreams, servers, health, connections, rates.
#[derive(clap::Args, Debug)]
pub struct Status {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Refresh every second until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Print nothing but the state; exit code 0 only when it is ready. A probe for containers.
    #[arg(long, conflicts_with_all = ["watch", "json"])]
    health: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the status, once or again and again.
pub fn run(status: &Status) -> ExitCode {
    match show(status) {
        Ok(code) => code,
        Err(failure) => fail(&failure),
    }
}

fn show(status: &Status) -> Result<ExitCode, Failure> {
    let client = status.instance.client()?;
    let answer = client.get(STATUS)?;
    if status.health {
        return Ok(state(&answer));
    }
    let outcome = print(&status.text(&answer));
    Ok(if status.watch {
        watch(status, &client)
    } else {
        outcome
    })
}

/// Shows it again and again, until nobody reads it. An instance that goes may come back.
fn watch(status: &Status, client: &AdminClient) -> ExitCode {
    loop {
        thread::sleep(WATCH_EVERY);
        let outcome = match client.get(STATUS) {
            Ok(answer) => print(&status.text(&answer)),
            Err(failure) => {
                fail(&failure);
                continue;
            }
        };
        if outcome != ExitCode::SUCCESS || io::stdout().flush().is_err() {
            return ExitCode::FAILURE;
        }
    }
}

impl Status {
    fn text(&self, answer: &Value) -> String {
        match (self.json, self.watch && io::stdout().is_terminal()) {
            (true, _) => format!("{answer}\n"),
            (false, true) => format!("{REDRAW}{}", page(answer)),
            (false, false) => page(answer),
        }
    }
}

/// The state alone, as a probe wants it.
fn state(answer: &Value) -> ExitCode {
    let state = &answer["state"];
    match print(&format!("{}\n", word(state))) {
        ExitCode::SUCCESS if state == "ready" => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn page(status: &Value) -> String {
    let rates = &status["per_second"];
    let mut page = format!(
        "tidegate {}  {}  pid {}  {} WebSockets  {:.1} opened/s  {:.1} messages/s  {}/s\n",
        word(&status["version"]),
        word(&status["state"]),
        status["pid"],
        status["websockets"],
        rates["opened"].as_f64().unwrap_or(0.0),
        rates["messages"].as_f64().unwrap_or(0.0),
        size(rates["bytes"].as_f64().unwrap_or(0.0)),
    );
    if status["last_reload"]["successful"] == false {
        page.push_str("the last reload was refused: an older configuration is in force\n");
    }
    let mut table = Table::new([
        "UPSTREAM",
        "SERVER",
        "STATE",
        "HEALTH",
        "WEIGHT",
        "WEBSOCKETS",
    ]);
    for upstream in list(&status["upstreams"]) {
        for server in list(&upstream["servers"]) {
            table.row([
                word(&upstream["name"]),
                word(&server["address"]),
                word(&server["state"]),
                health(server).to_owned(),
                weight(server),
                word(&server["websockets"]),
            ]);
        }
    }
    // Writing to a string can't fail.
    let _ = write!(page, "\n{table}");
    page.push_str(&orders(status));
    for drain in list(&status["draining"]) {
        let target = match (drain["upstream"].as_str(), drain["server"].as_str()) {
            (Some(upstream), Some(server)) => format!("{upstream}/{server}"),
            (Some(upstream), None) => upstream.to_owned(),
            (None, _) => "all".to_owned(),
        };
        let _ = writeln!(
            page,
            "\ndraining {target} ({}): {} of {} left, over {} s",
            word(&drain["reason"]),
            drain["left"],
            drain["sessions"],
            drain["within_seconds"],
        );
    }
    page
}

/// What was ordered at run time and holds until the file says something else of the server.
fn orders(status: &Value) -> String {
    let mut lines = String::new();
    for order in list(&status["changed"]) {
        let (upstream, server) = (word(&order["upstream"]), word(&order["server"]));
        let state = word(&order["state"]);
        let weight = order["weight"]
            .as_u64()
            .map(|weight| format!(", weight {weight}"));
        let weight = weight.unwrap_or_default();
        // Writing to a string can't fail.
        let _ = writeln!(
            lines,
            "ordered at run time: {upstream}/{server}: {state}{weight}"
        );
    }
    if lines.is_empty() {
        lines
    } else {
        format!("\n{lines}")
    }
}

fn health(server: &Value) -> &'static str {
    if server["up"] != true {
        "down"
    } else if server["ejected"] == true {
        "ejected"
    } else if server["checked"] == false {
        // One word, for scripts that count columns.
        "unchecked"
    } else {
        "up"
    }
}

/// The weight, and the configured one where the operator changed it.
fn weight(server: &Value) -> String {
    let (weight, configured) = (&server["weight"], &server["configured_weight"]);
    if weight == configured {
        weight.to_string()
    } else {
        format!("{weight} (file: {configured})")
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A value without the quotes of a text.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Bytes for people.
pub(super) fn size(bytes: f64) -> String {
    let mut amount = bytes;
    for unit in ["B", "KiB", "MiB"] {
        if amount < 1024.0 {
            return format!("{amount:.1} {unit}");
        }
        amount /= 1024.0;
    }
    format!("{amount:.1} GiB")
}
