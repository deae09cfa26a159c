//! What a change of the configuration means for the sessions that live, told before it is made.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::model::{OnServerRemoved, ServerSpec};
use crate::config::{self, Change, Config, Effect};
use crate::state::server::Server;
use crate::state::upstream::{Member, Upstream};
use crate::state::{Shared, Snapshot};

/// A change and whom it concerns.
#[derive(Clone, Debug)]
pub struct Impact {
    /// What changes.
    pub change: Change,
    /// Live sessions of the route, upstream or server; open connections of the listener.
    pub connections: usize,
    /// How many of them are closed for it, at the upstream's `drain` pace.
    pub drains: usize,
}

/// What a reload does: everything it changes, and what it leaves alone.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The changes, in the order of the file; those of servers come last.
    pub changes: Vec<Impact>,
    /// What stays as it is.
    pub same: Same,
}

/// The names of what stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Same {
    /// Listeners.
    pub listeners: Vec<String>,
    /// Routes.
    pub routes: Vec<String>,
    /// Upstreams, but perhaps for addresses of names.
    pub upstreams: Vec<String>,
    /// Servers, as `UPSTREAM/ADDRESS`.
    pub servers: Vec<String>,
}

/// A server that a new snapshot does not have, and the upstream whose settings say what becomes
/// of its sessions.
#[derive(Debug)]
pub struct Leaving {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The server.
    pub server: Arc<Server>,
}

impl Plan {
    /// What lies between one snapshot and the next.
    pub fn of(before: &Snapshot, after: &Snapshot, shared: &Shared) -> Self {
        let leaving = leaving(before, after);
        let changes = config::diff(&before.config, &after.config);
        let mut same = same(&after.config, &changes);
        let mut impacts: Vec<_> = (changes.into_iter())
            .map(|change| Impact::of(change, before, &leaving, shared))
            .collect();
        impacts.extend(leaving.iter().map(Impact::of_leaving));
        for settings in &after.config.upstreams {
            let [old, new] = [before, after].map(|snapshot| members(snapshot, &settings.name));
            for member in new.iter() {
                let key = &member.server.key;
                let known = old.iter().find(|old| old.server.key == *key);
                match known.map(|old| differences(&old.spec, &member.spec)) {
                    None => impacts.push(Impact::of_server(member, "added".to_owned())),
                    Some(none) if none.is_empty() => {
                        same.servers.push(format!("{:?}", member.server))
                    }
                    Some(what) => impacts.push(Impact::of_server(member, what)),
                }
            }
        }
        Self {
            changes: impacts,
            same,
        }
    }
}

impl Impact {
    fn of(change: Change, before: &Snapshot, leaving: &[Leaving], shared: &Shared) -> Self {
        let (kind, name) = change.subject.split_once(' ').unwrap_or_default();
        let registry = &shared.registry;
        let (connections, drains) = match kind {
            "listener" => (open_connections(before, name, shared), 0),
            "route" => (registry.count(|live| *live.route.settings.name == *name), 0),
            "upstream" => (
                registry.count(|live| *live.server.key.upstream == *name),
                drained(leaving, name),
            ),
            _ => (0, 0),
        };
        Self {
            change,
            connections,
            drains,
        }
    }

    fn of_server(member: &Member, what: String) -> Self {
        Self {
            change: live(&member.server, what),
            connections: websockets(&member.server),
            drains: 0,
        }
    }

    fn of_leaving(left: &Leaving) -> Self {
        let connections = websockets(&left.server);
        Self {
            change: live(&left.server, "removed".to_owned()),
            connections,
            drains: if left.drains() { connections } else { 0 },
        }
    }
}

/// Whatever of the new configuration no change names; servers are seen to apart.
fn same(config: &Config, changes: &[Change]) -> Same {
    let subjects: HashSet<&str> = changes
        .iter()
        .map(|change| change.subject.as_str())
        .collect();
    let stays = |kind: &str, name: &Arc<str>| {
        (!subjects.contains(format!("{kind} {name}").as_str())).then(|| name.to_string())
    };
    Same {
        listeners: (config.listeners.iter())
            .filter_map(|listener| stays("listener", &listener.name))
            .collect(),
        routes: (config.routes.iter())
            .filter_map(|route| stays("route", &route.name))
            .collect(),
        upstreams: (config.upstreams.iter())
            .filter_map(|upstream| stays("upstream", &upstream.name))
            .collect(),
        servers: vec![],
    }
}

/// What the file says otherwise of a server.
fn differences(old: &ServerSpec, new: &ServerSpec) -> String {
    let max = |spec: &ServerSpec| spec.max_connections.unwrap_or_default().to_string();
    let keys = [
        ("address", old.address.to_string(), new.address.to_string()),
        ("weight", old.weight.to_string(), new.weight.to_string()),
        ("backup", old.backup.to_string(), new.backup.to_string()),
        ("max_connections", max(old), max(new)),
    ];
    let differing = keys.iter().filter(|(_, old, new)| old != new);
    let what: Vec<_> = differing
        .map(|(key, old, new)| format!("{key} {old} -> {new}"))
        .collect();
    what.join(", ")
}

fn live(server: &Server, what: String) -> Change {
    Change {
        subject: format!("server {server:?}"),
        what,
        effect: Effect::Live,
    }
}

fn members(snapshot: &Snapshot, upstream: &str) -> Arc<Vec<Member>> {
    let upstream = snapshot.upstreams.get(upstream);
    upstream
        .map(|upstream| upstream.members())
        .unwrap_or_default()
}

fn websockets(server: &Server) -> usize {
    usize::try_from(server.websockets()).unwrap_or(usize::MAX)
}

/// The servers that the new snapshot does not have.
pub fn leaving(before: &Snapshot, after: &Snapshot) -> Vec<Leaving> {
    let mut leaving = Vec::new();
    for (name, old) in &before.upstreams {
        let new = after.upstreams.get(name);
        let members = members(after, name);
        let staying: HashSet<_> = members.iter().map(|new| &new.server.key).collect();
        let leaves = |old: &&Member| !staying.contains(&old.server.key);
        for left in old.members().iter().filter(leaves) {
            leaving.push(Leaving {
                upstream: Arc::clone(new.unwrap_or(old)),
                server: Arc::clone(&left.server),
            });
        }
    }
    leaving
}

impl Leaving {
    /// Whether its sessions are sent away.
    pub fn drains(&self) -> bool {
        self.upstream.settings.on_server_removed == OnServerRemoved::Drain
    }
}

fn drained(leaving: &[Leaving], upstream: &str) -> usize {
    let of_upstream = |left: &&Leaving| left.drains() && *left.server.key.upstream == *upstream;
    let sessions = |left: &Leaving| websockets(&left.server);
    leaving.iter().filter(of_upstream).map(sessions).sum()
}

fn open_connections(before: &Snapshot, listener: &str, shared: &Shared) -> usize {
    // Asking for the gauge of a listener that is not there yet would make one.
    if !before.listeners.contains_key(listener) {
        return 0;
    }
    let gauge = shared.metrics.connections.with_label_values(&[listener]);
    usize::try_from(gauge.get()).unwrap_or(0)
}
