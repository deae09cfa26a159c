//! What the operator changes at run time: a server's state and weight, the balance of an upstream.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use crate::control::rebalance::{MaxMove, WITHIN, rebalance as run_rebalance};
use crate::logic::reason::EndReason;
use crate::state::upstream::{Member, Upstream};

use super::answer::Fault;
use super::{Admin, params, show};

/// What may be ordered of a server.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    state: Option<State>,
    within: Option<String>,
    weight: Option<NonZeroU16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Drain,
    Ready,
}

/// How a rebalance may be bounded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bounds {
    max_move: Option<String>,
    within: Option<String>,
}

/// Changes every server that has this address, as a label or as the file writes it.
pub(super) fn change(
    admin: &Admin,
    upstream: &str,
    address: &str,
    change: Change,
) -> Result<Value, Fault> {
    let upstream = find(admin, upstream)?;
    let within = match (&change.within, change.state) {
        (None, _) => upstream.settings.drain,
        (Some(text), Some(State::Drain)) => params::within(text)?,
        (Some(_), _) => return Err(Fault::Nothing("only a drain takes time")),
    };
    if change.state.is_none() && change.weight.is_none() {
        return Err(Fault::Nothing("neither a state nor a weight is given"));
    }
    let members = upstream.members();
    let named = |member: &&Member| {
        *member.server.label == *address || member.spec.address.to_string() == address
    };
    let members: Vec<_> = members.iter().filter(named).collect();
    if members.is_empty() {
        return Err(Fault::Unknown {
            kind: "server",
            name: format!("{}/{address}", upstream.settings.name),
        });
    }
    let mut drains = 0;
    for member in &members {
        if let Some(weight) = change.weight {
            member.server.overrides.weigh(weight);
            info!(server = ?member.server, weight, "weight changed by the operator");
        }
        match change.state {
            Some(State::Drain) => drains += drain(admin, member, within),
            Some(State::Ready) => ready(admin, member),
            None => {}
        }
    }
    let shown = |member: &&Member| show::server(&upstream, member);
    let servers: Vec<Value> = members.iter().map(shown).collect();
    Ok(json!({
        "upstream": &*upstream.settings.name,
        "servers": servers,
        "drains": drains,
        "within_seconds": within.as_secs_f64(),
    }))
}

fn drain(admin: &Admin, member: &Member, within: Duration) -> usize {
    let server = &member.server;
    server.drain(Instant::now());
    info!(?server, "drained by the operator");
    let underway = admin
        .drains
        .start_server(server, EndReason::ServerDrain, within);
    underway.progress.sessions
}

fn ready(admin: &Admin, member: &Member) {
    let server = &member.server;
    server.take_back(Instant::now());
    info!(?server, "taken back by the operator");
    admin.drains.stop_server(server, EndReason::ServerDrain);
}

/// Rebalances an upstream and waits for the last close.
pub(super) async fn rebalance(
    admin: &Admin,
    upstream: &str,
    bounds: Bounds,
) -> Result<Value, Fault> {
    let upstream = find(admin, upstream)?;
    let within = bounds.within.as_deref().map(params::within).transpose()?;
    let max_move = bounds.max_move.as_deref().map(max_move).transpose()?;
    let within = within.unwrap_or(WITHIN);
    let moved = run_rebalance(&upstream, max_move, within, &admin.shared, &admin.drains).await;
    Ok(json!({ "upstream": &*upstream.settings.name, "moved": moved }))
}

fn max_move(text: &str) -> Result<MaxMove, Fault> {
    MaxMove::parse(text).ok_or_else(|| Fault::Parameter {
        what: "max_move",
        value: text.to_owned(),
        rule: "neither a percentage nor a number (write \"10%\")",
    })
}

fn find(admin: &Admin, name: &str) -> Result<Arc<Upstream>, Fault> {
    let snapshot = admin.shared.snapshot();
    let upstream = snapshot.upstreams.get(name).cloned();
    upstream.ok_or_else(|| Fault::Unknown {
        kind: "upstream",
        name: name.to_owned(),
    })
}
