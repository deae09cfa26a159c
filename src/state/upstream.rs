//! A named set of servers, and the one place that picks among them: exact across all workers.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::IntCounter;

use crate::config::model::{self, ServerAddress, ServerSpec};
use crate::logic::balance::{Candidate, Chooser, ServerView, Unavailable, Warmth};
use crate::logic::request::ClientKey;

use super::server::{Phase, Server, ServerKey, Servers, Ticket};

/// An upstream of a snapshot.
pub struct Upstream {
    /// What the configuration says of it.
    pub settings: Arc<model::Upstream>,
    /// Counts attempts repeated on another server.
    pub retries: IntCounter,
    members: ArcSwap<Vec<Member>>,
    chooser: Arc<Mutex<Chooser>>,
}

/// A server with what this snapshot says of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server.
    pub server: Arc<Server>,
    /// Its weight, backup flag and limit.
    pub spec: ServerSpec,
}

impl Upstream {
    /// An upstream as configured, with the balancer of its predecessor when that balanced the same way.
    pub fn new(
        settings: Arc<model::Upstream>,
        predecessor: Option<&Self>,
        retries: IntCounter,
    ) -> Self {
        let kept = predecessor.filter(|old| old.settings.balance == settings.balance);
        let chooser = kept.map_or_else(
            || Arc::new(Mutex::new(Chooser::new(settings.balance))),
            |old| Arc::clone(&old.chooser),
        );
        Self {
            settings,
            retries,
            members: ArcSwap::default(),
            chooser,
        }
    }

    /// Its servers now.
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.members.load_full()
    }

    /// The addresses that a server of the configuration stands for now.
    pub fn addresses_of(&self, address: &ServerAddress) -> Vec<SocketAddr> {
        let members = self.members.load();
        let same = members
            .iter()
            .filter(|member| member.spec.address == *address);
        same.map(|member| member.server.key.address).collect()
    }

    /// Puts the servers in force that these specs resolved to; returns those that left.
    pub fn set_members(
        &self,
        resolved: &[(ServerSpec, Vec<SocketAddr>)],
        servers: &Servers,
    ) -> Vec<Arc<Server>> {
        let mut members: Vec<Member> = Vec::new();
        let mut staying = HashSet::new();
        for (spec, addresses) in resolved {
            for address in addresses {
                let key = ServerKey {
                    upstream: Arc::clone(&self.settings.name),
                    address: *address,
                };
                if staying.insert(key.clone()) {
                    members.push(Member {
                        server: servers.adopt(key),
                        spec: spec.clone(),
                    });
                }
            }
        }
        let before = self.members.swap(Arc::new(members));
        let left = |old: &&Member| !staying.contains(&old.server.key);
        before
            .iter()
            .filter(left)
            .map(|member| Arc::clone(&member.server))
            .collect()
    }

    /// Picks a server for this client that was not tried yet, and counts the connection on it.
    ///
    /// # Errors
    /// [`Unavailable`] when none may be picked.
    pub fn pick(
        &self,
        client: &ClientKey,
        tried: &[u64],
        now: Instant,
    ) -> Result<Ticket, Unavailable> {
        let members = self.members.load();
        // One lock around choosing and counting: two workers never both take a server's last
        // place, and round robin has one turn.
        let mut chooser = self.chooser.lock().unwrap_or_else(PoisonError::into_inner);
        let views = members.iter().map(|member| member.view(tried, now));
        let chosen = chooser.choose(views, &client.as_u64().to_be_bytes())?;
        Ok(members[chosen].server.admit())
    }

    /// An attempt on a server failed; for how long that ejects it, if it does.
    pub fn failed(&self, server: &Server, phase: Phase, now: Instant) -> Option<Duration> {
        let members = self.members.load();
        let others = members
            .iter()
            .any(|member| member.server.id != server.id && member.server.is_available(now));
        server.failed(phase, self.settings.passive.as_ref(), others, now)
    }
}

impl Member {
    fn view(&self, tried: &[u64], now: Instant) -> ServerView {
        let load = self.server.load();
        ServerView {
            candidate: Candidate {
                id: self.server.id,
                weight: self.spec.weight,
                warmth: Warmth::FULL,
                load,
            },
            backup: self.spec.backup,
            up: self.server.is_up(),
            ejected: self.server.is_ejected(now),
            full: self.spec.max_connections.is_some_and(|max| load >= max),
            tried: tried.contains(&self.server.id),
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
