//! A named set of servers, and the one place that picks among them: exact across all workers.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::IntCounter;

use crate::config::model::{self, ServerAddress, ServerSpec};
use crate::logic::balance::rebalance::Holding;
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
        for (spec, addresses) in resolved {
            for address in addresses {
                let key = ServerKey {
                    upstream: Arc::clone(&self.settings.name),
                    address: *address,
                };
                if members.iter().all(|member| member.server.key != key) {
                    members.push(Member {
                        server: servers.adopt(key),
                        spec: spec.clone(),
                    });
                }
            }
        }
        let members = Arc::new(members);
        let before = self.members.swap(Arc::clone(&members));
        let left = |old: &&Member| members.iter().all(|new| new.server.key != old.server.key);
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
        let mut chooser = self.chooser();
        let views = members.iter().map(|member| member.view(tried, now));
        let chosen = chooser.choose(views, &client.as_u64().to_be_bytes())?;
        Ok(members[chosen].server.admit())
    }

    /// What each of its servers that are in service holds.
    pub fn holdings(&self, now: Instant) -> Vec<(Arc<Server>, Holding)> {
        let members = self.members.load();
        let serving = || (members.iter()).filter(|member| member.server.is_available(now));
        let has_primary = serving().any(|member| !member.spec.backup);
        let holding = |member: &Member| Holding {
            websockets: to_usize(member.server.websockets()),
            weight: member.weight(),
            max: member.spec.max_connections.map(to_usize),
            takes: !(member.spec.backup && has_primary),
        };
        serving()
            .map(|member| (Arc::clone(&member.server), holding(member)))
            .collect()
    }

    /// Where this client would go now, were it to come; the [`Server::id`]. Only for a balance
    /// that goes by the client: asking any other is a turn taken.
    pub fn home(&self, client: &ClientKey, now: Instant) -> Option<u64> {
        let members = self.members.load();
        let views = members.iter().map(|member| member.view(&[], now));
        let chosen = self.chooser().choose(views, &client.as_u64().to_be_bytes());
        chosen.ok().map(|chosen| members[chosen].server.id)
    }

    /// A session was sent away for this server's sake: it gets a turn in its place.
    pub fn owe(&self, server: &Server, now: Instant) {
        let members = self.members.load();
        let views = members.iter().map(|member| member.view(&[], now));
        self.chooser().owe(views, server.id);
    }

    /// Nobody is owed a turn any more.
    pub fn forget_turns(&self) {
        self.chooser().forget_turns(self.settings.balance);
    }

    fn chooser(&self) -> MutexGuard<'_, Chooser> {
        self.chooser.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Its weight: the operator's, or else the configured one.
    pub fn weight(&self) -> NonZeroU16 {
        self.server.standing.weight().unwrap_or(self.spec.weight)
    }

    fn view(&self, tried: &[u64], now: Instant) -> ServerView {
        let load = self.server.load();
        ServerView {
            candidate: Candidate {
                id: self.server.id,
                weight: self.weight(),
                warmth: Warmth::FULL,
                load,
            },
            backup: self.spec.backup,
            up: self.server.is_up() && !self.server.standing.is_draining(),
            ejected: self.server.is_ejected(now),
            full: self.spec.max_connections.is_some_and(|max| load >= max),
            tried: tried.contains(&self.server.id),
        }
    }
}

fn to_usize(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
