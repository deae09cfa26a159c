//! `tidegate connections`: list the live WebSockets, close one, watch one.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::admin_client::{AdminClient, Failure, InstanceArgs, encoded};
use super::status::{size, word};
use super::table::Table;
use super::{fail, print, tail};

/// Sessions asked for at a time.
const PAGE: usize = 1000;

/// List live WebSockets, close one, or watch its frames.
#[derive(clap::Args, Debug)]
pub struct Connections {
    /// Only those of this route.
    #[arg(long, value_name = "R")]
    route: Option<String>,
    /// Only those of this server: ADDRESS, or UPSTREAM/ADDRESS.
    #[arg(long, value_name = "S")]
    server: Option<String>,
    /// Only those of this client.
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// Only those of this user.
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// The oldest or busiest first.
    #[arg(long)]
    sort: Option<Sort>,
    /// Most to list; default: all, or 100 with --sort.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: Option<u16>,
    /// Close the one with this id, with 1008.
    #[arg(long, value_name = "ID", conflicts_with_all = ["route", "server", "client", "user", "sort", "limit"])]
    kill: Option<String>,
    /// Show the headers of this one's frames as they pass, until it ends.
    #[arg(long, value_name = "ID", conflicts_with_all = ["route", "server", "client", "user", "kill"])]
    tail: Option<String>,
    /// With --tail: the start of their payloads too; only where the admin address is this machine's own.
    #[arg(long, requires = "tail")]
    payload: bool,
    #[command(flatten)]
    instance: InstanceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Sort {
    Age,
    Messages,
    Bytes,
}

/// Prints a table, or what was closed.
pub fn run(connections: &Connections) -> ExitCode {
    if let Some(id) = &connections.tail {
        return match connections.instance.client() {
            Ok(client) => tail::run(&client, id, connections.payload, connections.json),
            Err(failure) => fail(&failure),
        };
    }
    match ask(connections) {
        Ok(answer) if connections.json => print(&format!("{answer}\n")),
        Ok(answer) => match &connections.kill {
            Some(id) => print(&format!("{id}: closed\n")),
            None => print(&table(&answer)),
        },
        Err(failure) => fail(&failure),
    }
}

fn ask(connections: &Connections) -> Result<Value, Failure> {
    let client = connections.instance.client()?;
    match &connections.kill {
        Some(id) => client.delete(&format!("/api/v1/connections/{}", encoded(id))),
        None if connections.is_one_page() => {
            client.get(&format!("/api/v1/connections?{}", connections.query()))
        }
        None => list(&client, &connections.query()),
    }
}

/// Every page, as one.
fn list(client: &AdminClient, query: &str) -> Result<Value, Failure> {
    let mut all = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/connections?limit={PAGE}{query}{next}");
        let mut page = client.get(&path)?;
        if let Some(page) = page["connections"].as_array_mut() {
            all.append(page);
        }
        match page["next"].as_str() {
            Some(id) => next = format!("&next={id}"),
            None => return Ok(json!({ "connections": all, "next": null })),
        }
    }
}

impl Connections {
    fn is_one_page(&self) -> bool {
        self.sort.is_some() || self.limit.is_some()
    }

    fn query(&self) -> String {
        let client = self.client.map(|client| client.to_string());
        let sort = self.sort.and_then(|sort| sort.to_possible_value());
        let sort = sort.map(|sort| sort.get_name().to_owned());
        let limit = self.limit.map(|limit| limit.to_string());
        let filters = [
            ("route", &self.route),
            ("server", &self.server),
            ("client", &client),
            ("user", &self.user),
            ("sort", &sort),
            ("limit", &limit),
        ];
        let given = filters
            .iter()
            .filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        given
            .map(|(name, value)| format!("&{name}={}", encoded(value)))
            .collect()
    }
}

fn table(answer: &Value) -> String {
    let connections = answer["connections"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut table = Table::new([
        "ID", "ROUTE", "UPSTREAM", "SERVER", "CLIENT", "USER", "AGE", "MESSAGES", "BYTES",
    ]);
    for live in connections {
        let sum = |what: &str| {
            let part = |to: &str| live[format!("{what}_to_{to}")].as_u64().unwrap_or(0);
            part("backend") + part("client")
        };
        #[expect(clippy::cast_precision_loss, reason = "a size for people")]
        let bytes = sum("bytes") as f64;
        table.row([
            word(&live["id"]),
            word(&live["route"]),
            word(&live["upstream"]),
            word(&live["server"]),
            word(&live["client"]),
            word(&live["user"]),
            format!("{} s", word(&live["age_seconds"])),
            sum("messages").to_string(),
            size(bytes),
        ]);
    }
    table.to_string()
}
