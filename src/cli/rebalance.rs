//! `tidegate rebalance`: close what overloaded servers have too much.

use std::process::ExitCode;

use serde_json::{Value, json};

use crate::config::duration;
use crate::control::rebalance::MaxMove;

use super::admin_client::{Failure, InstanceArgs, encoded};
use super::status::word;
use super::{fail, print, time};

/// Close the excess connections of overloaded servers with 1012, at a pace, so that clients that
/// reconnect land evenly. Returns after the last close.
#[derive(clap::Args, Debug)]
pub struct Rebalance {
    /// The upstream.
    upstream: String,
    /// Most connections to move, as a part of the upstream's or a number; default: no cap.
    #[arg(long, value_name = "10%", value_parser = max_move)]
    max_move: Option<String>,
    /// Over how long they are closed.
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "60s")]
    within: String,
    #[command(flatten)]
    instance: InstanceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Waits for the last close and prints how many moved.
pub fn run(rebalance: &Rebalance) -> ExitCode {
    match order(rebalance) {
        Ok(answer) if rebalance.json => print(&format!("{answer}\n")),
        Ok(answer) => print(&told(&rebalance.upstream, &answer)),
        Err(failure) => fail(&failure),
    }
}

fn told(upstream: &str, answer: &Value) -> String {
    match answer["moved"].as_u64() {
        Some(0) => format!("{upstream}: nothing to move\n"),
        Some(1) => format!("{upstream}: 1 WebSocket moved\n"),
        _ => format!("{upstream}: {} WebSockets moved\n", word(&answer["moved"])),
    }
}

fn order(rebalance: &Rebalance) -> Result<Value, Failure> {
    let path = format!(
        "/api/v1/upstreams/{}/rebalance",
        encoded(&rebalance.upstream)
    );
    let mut body = json!({ "within": rebalance.within });
    if let Some(max_move) = &rebalance.max_move {
        body["max_move"] = json!(max_move);
    }
    let within = duration(&rebalance.within).unwrap_or_default();
    let client = rebalance.instance.client()?.allowing(within);
    client.post(&path, Some(&body))
}

fn max_move(text: &str) -> Result<String, &'static str> {
    let parsed = MaxMove::parse(text).map(|_| text.to_owned());
    parsed.ok_or("neither a percentage nor a number (write 10%)")
}
