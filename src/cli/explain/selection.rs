//! The selection of a server: who may be chosen and how, and what the chosen one is sent.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::config::model::{ServerAddress, ServerSpec, Upstream};
use crate::logic::balance::{Candidate, Chooser, Kind, ServerView, SlowStart, server_id};
use crate::logic::request::{ClientKey, Outbound, Proof};

use super::dry_run::DryRun;

/// The selection of a server.
#[derive(Debug, Serialize)]
pub(super) struct Selection {
    /// The upstream.
    pub(super) name: String,
    /// How a server is chosen.
    pub(super) choice: &'static str,
    /// The one that is chosen while all are up, where the file alone says that.
    pub(super) server: Option<String>,
    /// Who may be chosen.
    pub(super) servers: Vec<Choice>,
    /// What it is sent; values that the route sets are masked like secrets.
    pub(super) head: Vec<String>,
}

/// A server as the file has it.
#[derive(Debug, Serialize)]
pub(super) struct Choice {
    pub(super) address: String,
    pub(super) weight: u16,
    pub(super) backup: bool,
    pub(super) max_connections: Option<u32>,
}

impl Selection {
    /// For a request that nothing refused and no route answers.
    pub(super) fn of(
        config: &Config,
        dry_run: &DryRun,
        port: u16,
        settings: &Value,
    ) -> Option<Self> {
        let route = dry_run
            .route
            .as_ref()
            .filter(|_| dry_run.refusal.is_none())?;
        let name = route.upstream()?;
        let upstream = config.upstreams.iter().find(|other| other.name == *name)?;
        let (request, client) = dry_run.request.as_ref()?;
        let mut head = Vec::new();
        Outbound {
            request,
            client,
            port,
            offer: dry_run.offer.as_ref(),
            path: &route.backend_path(request.path()),
            query: request.query(),
            proof: &Proof::NotAsked,
            user: dry_run.identity.user.as_deref(),
            set: &masked(&settings["route"]["headers"]["set"]),
            remove: &route.headers.remove,
        }
        .write_to(&mut head);
        Some(Self {
            name: name.to_string(),
            choice: choice(upstream.balance),
            server: home(upstream, client.key()),
            servers: upstream.servers.iter().map(Choice::of).collect(),
            head: String::from_utf8_lossy(&head)
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }
}

impl Choice {
    fn of(spec: &ServerSpec) -> Self {
        Self {
            address: spec.address.to_string(),
            weight: spec.weight.get(),
            backup: spec.backup,
            max_connections: spec.max_connections,
        }
    }
}

const fn choice(kind: Kind) -> &'static str {
    match kind {
        Kind::RoundRobin => "in turn, by weight",
        Kind::LeastConn => "the one with the fewest connections for its weight",
        Kind::IpHash => "by the client's address",
    }
}

/// The server that the client's address leads to, were all of them up. A name's addresses are not
/// known before it is looked up.
fn home(upstream: &Upstream, client: ClientKey) -> Option<String> {
    let is_name = |spec: &ServerSpec| matches!(spec.address, ServerAddress::Name { .. });
    if upstream.balance != Kind::IpHash || upstream.servers.iter().any(is_name) {
        return None;
    }
    let view = |spec: &ServerSpec| ServerView {
        candidate: Candidate {
            id: server_id(&spec.address.to_string()),
            weight: spec.weight,
            slow_start: SlowStart::FULL,
            load: 0,
        },
        backup: spec.backup,
        up: true,
        ejected: false,
        full: false,
        busy: false,
        tried: false,
    };
    let views = upstream.servers.iter().map(view);
    let client = client.as_u64().to_be_bytes();
    let chosen = Chooser::new(upstream.balance).choose(views, &client).ok()?;
    Some(upstream.servers.get(chosen)?.address.to_string())
}

/// `route.headers.set` as `check --dump` shows it.
fn masked(set: &Value) -> Vec<(Arc<str>, Arc<str>)> {
    let fields = set.as_object().into_iter().flatten();
    fields
        .map(|(name, value)| {
            (
                name.as_str().into(),
                value.as_str().unwrap_or_default().into(),
            )
        })
        .collect()
}
