//! What the operator ordered of servers at run time, for the process that takes this one's place:
//! a server that was drained for its maintenance must not get clients because of an upgrade.

use std::time::Instant;

use tracing::{info, warn};

use crate::runtime::handover::Override;
use crate::state::Snapshot;
use crate::state::upstream::Member;

/// The overrides in force.
pub fn given(snapshot: &Snapshot) -> Vec<Override> {
    let members = snapshot.upstreams.values().map(|it| it.members());
    members
        .flat_map(|members| members.iter().filter_map(of).collect::<Vec<_>>())
        .collect()
}

/// Puts the predecessor's overrides in force, of servers that are still there.
pub fn adopt(overrides: &[Override], snapshot: &Snapshot, now: Instant) {
    for it in overrides {
        let Override {
            upstream, server, ..
        } = it;
        let members = snapshot.upstreams.get(&**upstream).map(|it| it.members());
        let members = members.unwrap_or_default();
        let Some(member) = members.iter().find(|it| *it.server.label == **server) else {
            warn!(
                upstream,
                server, "changed at run time, and not there any more"
            );
            continue;
        };
        if it.drain {
            member.server.drain(now);
        }
        // As at a reload: the file's later word counts.
        let weight = (it.weight).filter(|_| it.configured_weight == member.spec.weight);
        if let Some(weight) = weight {
            member.server.overrides.weigh(weight);
        }
        info!(server = ?member.server, drain = it.drain, weight, "override kept");
    }
}

fn of(member: &Member) -> Option<Override> {
    let (server, overrides) = (&member.server, &member.server.overrides);
    overrides.is_changed().then(|| Override {
        upstream: server.key.upstream.to_string(),
        server: server.label.to_string(),
        drain: overrides.is_draining(),
        weight: overrides.weight(),
        configured_weight: member.spec.weight,
    })
}
