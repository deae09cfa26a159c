//! `tidegate server`: drain a server, take it back, change its weight.

use std::num::NonZeroU16;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::admin_client::{Failure, InstanceArgs, encoded};
use super::status::word;
use super::{fail, print, time, wrong_arguments};

/// Change a server of the running process. A reload keeps the change unless the file says
/// something else of the server.
#[derive(clap::Args, Debug)]
pub struct Server {
    /// The server, as in "chat/10.0.0.1:8080".
    #[arg(value_name = "UPSTREAM/ADDRESS")]
    server: String,
    /// What becomes of it.
    action: Action,
    /// The new weight, with "weight".
    #[arg(value_name = "N", required_if_eq("action", "weight"), value_parser = weight)]
    weight: Option<NonZeroU16>,
    /// Over how long its live connections are moved away; default: the upstream's "drain".
    #[arg(long, value_name = "TIME", value_parser = time)]
    within: Option<String>,
    #[command(flatten)]
    instance: InstanceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Action {
    /// No new connections; the live ones are moved away at a pace.
    Drain,
    /// New connections again; stops a drain under way.
    Ready,
    /// Another weight.
    Weight,
}

/// Orders the change and says what it sets off.
pub fn run(server: &Server) -> ExitCode {
    let Some((upstream, address)) = server.server.split_once('/') else {
        return wrong_arguments("write the server as UPSTREAM/ADDRESS");
    };
    if server.weight.is_some() && server.action != Action::Weight {
        return wrong_arguments("only \"weight\" takes a number");
    }
    if server.within.is_some() && server.action != Action::Drain {
        return wrong_arguments("only \"drain\" takes --within");
    }
    match order(server, upstream, address) {
        Ok(answer) if server.json => print(&format!("{answer}\n")),
        Ok(answer) => print(&told(server, &answer)),
        Err(failure) => fail(&failure),
    }
}

fn order(server: &Server, upstream: &str, address: &str) -> Result<Value, Failure> {
    let body = match server.action {
        Action::Drain => json!({ "state": "drain", "within": server.within }),
        Action::Ready => json!({ "state": "ready" }),
        Action::Weight => json!({ "weight": server.weight }),
    };
    let (upstream, address) = (encoded(upstream), encoded(address));
    let path = format!("/api/v1/upstreams/{upstream}/servers/{address}");
    server.instance.client()?.post(&path, Some(&body))
}

/// nginx and HAProxy know a weight of 0; here that is a drain.
fn weight(text: &str) -> Result<NonZeroU16, String> {
    let rule = r#"out of range (from 1 to 65535; "drain" takes a server out)"#;
    text.parse().map_err(|_| rule.to_owned())
}

fn told(server: &Server, answer: &Value) -> String {
    let name = &server.server;
    match server.action {
        Action::Drain => format!(
            "{name}: drained, {} WebSockets are moved away over {} s\n",
            word(&answer["drains"]),
            word(&answer["within_seconds"]),
        ),
        Action::Ready => format!("{name}: ready\n"),
        Action::Weight => format!("{name}: weight {}\n", word(&answer["servers"][0]["weight"])),
    }
}
