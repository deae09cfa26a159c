//! What a change of the configuration means for the sessions that live, told before it is made.

use std::collections::HashSet;
use std::sync::Arc;

use crate::config::model::OnServerRemoved;
use crate::config::{self, Change};
use crate::state::server::Server;
use crate::state::upstream::{Member, Upstream};
use crate::state::{Shared, Snapshot};

/// A change and whom it concerns.
#[derive(Clone, Debug)]
pub struct Consequence {
    /// What changes.
    pub change: Change,
    /// Live sessions of the route or the upstream; open connections of the listener.
    pub connections: usize,
    /// How many of them are closed for it, at the upstream's `drain` pace.
    pub drains: usize,
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

/// Every change from one snapshot to the next.
pub fn consequences(before: &Snapshot, after: &Snapshot, shared: &Shared) -> Vec<Consequence> {
    let leaving = leaving(before, after);
    let with_counts = |change: Change| {
        let (kind, name) = change.subject.split_once(' ').unwrap_or_default();
        let (connections, drains) = match kind {
            "listener" => (open_connections(before, name, shared), 0),
            "route" => {
                let of_route = |route: &str| route == name;
                let count = shared
                    .registry
                    .count(|live| of_route(&live.route.settings.name));
                (count, 0)
            }
            "upstream" => {
                let count = shared
                    .registry
                    .count(|live| *live.server.key.upstream == *name);
                (count, drained(&leaving, name))
            }
            _ => (0, 0),
        };
        Consequence {
            change,
            connections,
            drains,
        }
    };
    let changes = config::diff(&before.config, &after.config);
    changes.into_iter().map(with_counts).collect()
}

/// The servers that the new snapshot does not have.
pub fn leaving(before: &Snapshot, after: &Snapshot) -> Vec<Leaving> {
    let mut leaving = Vec::new();
    for (name, old) in &before.upstreams {
        let new = after.upstreams.get(name);
        let members = new.map(|new| new.members()).unwrap_or_default();
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
    let sessions = |left: &Leaving| usize::try_from(left.server.websockets()).unwrap_or(usize::MAX);
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
