//! `tidegate explain`: what a request would meet, and why, by the configuration file alone.

mod dry_run;
mod explanation;
mod listener;
mod sample_request;
mod selection;
mod text;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use crate::config;
use crate::control::keys;

use super::{ConfigFile, fail, print, wrong_arguments};
use explanation::Explanation;
use sample_request::SampleRequest;

/// Say which route, checks, server and timeouts a request would meet, and why. Asks no running
/// process: the configuration file decides.
#[derive(clap::Args, Debug)]
pub struct Explain {
    /// The request's URL; ws and wss ask for a WebSocket, http and https do not.
    url: String,
    /// A header field, instead of what a client would send of that name; "Name:" sends none.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// Who connects.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    client: IpAddr,
    /// The listener that takes the request; by default the one that fits scheme and port.
    #[arg(long, value_name = "NAME")]
    listener: Option<Arc<str>>,
    #[command(flatten)]
    file: ConfigFile,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the explanation.
pub fn run(explain: &Explain) -> ExitCode {
    let sample = SampleRequest::of(
        &explain.url,
        &explain.method,
        &explain.headers,
        explain.client,
    );
    let sample = match sample {
        Ok(sample) => sample,
        Err(what) => return wrong_arguments(&what),
    };
    let config = match config::load(&explain.file.config) {
        Ok(config) => config,
        Err(errors) => return fail(&errors),
    };
    let matched = match listener::find(&config, &sample, explain.listener.as_deref()) {
        Ok(matched) => matched,
        Err(error) => return fail(&error),
    };
    let methods = match keys::methods(&config) {
        Ok(methods) => methods,
        Err(errors) => return fail(&errors),
    };
    match Explanation::of(&config, &methods, &sample, &matched) {
        Ok(explanation) if explain.json => print(&format!("{}\n", json!(explanation))),
        Ok(explanation) => print(&text::of(&explanation)),
        Err(error) => fail(&error),
    }
}
