//! A named set of servers, as a snapshot has it, and how a request gets one of them.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use prometheus::IntCounter;

use crate::config::model::{self, ServerAddress, ServerSpec};
use crate::logic::balance::rebalance::Holding;
use crate::logic::balance::{Candidate, Chooser, ServerView, Turn, Unavailable};
use crate::logic::endpoint::Endpoint;
use crate::logic::request::ClientKey;

use super::backend_tls::{BackendTls, ServerTls, name_of};
use super::dispatcher::{Dispatcher, Waiting};
use super::server::{Handshake, Phase, Server, ServerKey, Ticket};
use super::servers::Servers;

/// An upstream of a snapshot.
pub struct Upstream {
    /// What the configuration says of it.
    pub settings: Arc<model::Upstream>,
    /// Counts attempts repeated on another server.
    pub retries: IntCounter,
    tls: Option<Arc<BackendTls>>,
    members: ArcSwap<Vec<Member>>,
    dispatcher: Arc<Dispatcher>,
}

/// Who looks for a server.
#[derive(Clone, Debug)]
pub struct PickRequest {
    /// The client it is for.
    pub client: ClientKey,
    /// The servers on which this request has failed.
    pub tried: Vec<u64>,
    /// Its turn, once it had to wait.
    pub turn: Option<Turn>,
}

/// A server that was picked, and the places on it.
#[derive(Debug)]
pub struct Pick {
    /// The connection's.
    pub ticket: Ticket,
    /// The handshake's: until the head of the answer to an upgrade is there, or a plain request's
    /// connection.
    pub handshake: Option<Handshake>,
    /// TLS with it, where that is spoken.
    pub tls: Option<Arc<ServerTls>>,
}

/// A server with what this snapshot says of it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The server.
    pub server: Arc<Server>,
    /// Its weight, backup flag and limit.
    pub spec: ServerSpec,
    /// TLS with it, where that is spoken.
    pub tls: Option<Arc<ServerTls>>,
}

impl Upstream {
    /// An upstream as configured, behind the dispatcher of its predecessors.
    pub fn new(
        settings: Arc<model::Upstream>,
        tls: Option<Arc<BackendTls>>,
        servers: &Servers,
        retries: IntCounter,
    ) -> Self {
        Self {
            dispatcher: servers.dispatcher(&settings),
            settings,
            retries,
            tls,
            members: ArcSwap::default(),
        }
    }

    /// From now on this is what those who wait get their servers from.
    pub fn put_in_force(self: &Arc<Self>, now: Instant) {
        for member in self.members.load().iter() {
            member.server.joined(now);
        }
        self.dispatcher.set_upstream(self, now);
    }

    /// What its servers are spoken to with, where that is TLS.
    pub const fn tls(&self) -> Option<&Arc<BackendTls>> {
        self.tls.as_ref()
    }

    /// The door to its servers, the same over reloads.
    pub const fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// Its servers now.
    pub fn members(&self) -> Arc<Vec<Member>> {
        self.members.load_full()
    }

    /// The addresses that a server of the configuration stands for now.
    pub fn addresses_of(&self, address: &ServerAddress) -> Vec<Endpoint> {
        let members = self.members.load();
        let same = members
            .iter()
            .filter(|member| member.spec.address == *address);
        same.map(|member| member.server.key.address.clone())
            .collect()
    }

    /// Puts the servers in force that these specs resolved to; returns those that left.
    pub fn set_members(
        &self,
        resolved: &[(ServerSpec, Vec<Endpoint>)],
        servers: &Servers,
        now: Instant,
    ) -> Vec<Arc<Server>> {
        let mut members: Vec<Member> = Vec::new();
        let mut staying = HashSet::new();
        for (spec, addresses) in resolved {
            for address in addresses {
                let key = ServerKey {
                    upstream: Arc::clone(&self.settings.name),
                    address: address.clone(),
                };
                if staying.insert(key.clone()) {
                    members.push(Member {
                        tls: self.tls_with(&spec.address, address),
                        server: servers.adopt(key, &self.dispatcher, now),
                        spec: spec.clone(),
                    });
                }
            }
        }
        let before = self.members.swap(Arc::new(members));
        self.dispatcher.serve(now);
        let left = |old: &&Member| !staying.contains(&old.server.key);
        before
            .iter()
            .filter(left)
            .map(|member| Arc::clone(&member.server))
            .collect()
    }

    /// Picks a server, and counts the connection and its handshake on it. Nobody overtakes those
    /// who wait.
    ///
    /// # Errors
    /// [`Unavailable`] when none may be picked.
    pub fn pick(&self, request: &PickRequest, now: Instant) -> Result<Pick, Unavailable> {
        self.dispatcher.enter(self, request, now)
    }

    /// Joins those who wait for a server; nothing when there are `queue_length` of them. A request
    /// that waited before has its turn again.
    pub fn wait(&self, request: &mut PickRequest, now: Instant) -> Option<Waiting> {
        let max = self.settings.queue_length;
        Dispatcher::join(&self.dispatcher, request, max, now)
    }

    /// Chooses among its servers. Called with the dispatcher locked: two workers never both take a
    /// server's last place, and round robin has one turn.
    pub(super) fn choose(
        &self,
        chooser: &mut Chooser,
        request: &PickRequest,
        now: Instant,
    ) -> Result<Pick, Unavailable> {
        let members = self.members.load();
        let views = members
            .iter()
            .map(|member| member.view(&self.settings, &request.tried, now));
        let chosen = chooser.choose(views, &request.client.as_u64().to_be_bytes())?;
        let (ticket, handshake) = members[chosen].server.admit();
        let tls = members[chosen].tls.clone();
        Ok(Pick {
            ticket,
            handshake: Some(handshake),
            tls,
        })
    }

    /// What each of its servers that are in service holds.
    pub fn holdings(&self, now: Instant) -> Vec<(Arc<Server>, Holding)> {
        let members = self.members.load();
        let serving = || (members.iter()).filter(|member| member.server.is_available(now));
        let has_primary = serving().any(|member| !member.spec.backup);
        let holding = |member: &Member| Holding {
            websockets: to_usize(member.server.staying()),
            weight: member.weight(),
            slow_start: member.server.slow_start(self.settings.slow_start, now),
            max: member.spec.max_connections.map(to_usize),
            takes: !(member.spec.backup && has_primary),
        };
        serving()
            .map(|member| (Arc::clone(&member.server), holding(member)))
            .collect()
    }

    /// Where this client belongs now; the [`Server::id`]. Only for a balance that goes by the
    /// client: asking any other is a turn taken.
    pub fn home(&self, client: &ClientKey, now: Instant) -> Option<u64> {
        let client = client.as_u64().to_be_bytes();
        let members = self.members.load();
        let views = self.roomy_views(&members, now);
        let chosen = self
            .dispatcher
            .consult(|chooser| chooser.choose(views, &client));
        chosen.ok().map(|chosen| members[chosen].server.id)
    }

    /// A session was sent away for this server's sake: it gets a turn in its place.
    pub fn owe(&self, server: &Server, now: Instant) {
        let members = self.members.load();
        let views = self.roomy_views(&members, now);
        self.dispatcher
            .consult(|chooser| chooser.owe(views, server.id));
    }

    /// Nobody is owed a turn any more.
    pub fn forget_turns(&self) {
        let balance = self.settings.balance;
        self.dispatcher
            .consult(|chooser| chooser.forget_turns(balance));
    }

    fn tls_with(&self, server: &ServerAddress, address: &Endpoint) -> Option<Arc<ServerTls>> {
        let (tls, settings) = (self.tls.as_ref()?, self.settings.tls.as_ref()?);
        Some(tls.of(address.clone(), name_of(settings, server, address)))
    }

    /// The servers as if none were full: who is so for a moment is not away.
    fn roomy_views(&self, members: &[Member], now: Instant) -> impl Iterator<Item = ServerView> {
        members.iter().map(move |member| ServerView {
            full: false,
            busy: false,
            ..member.view(&self.settings, &[], now)
        })
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
        self.server.overrides.weight().unwrap_or(self.spec.weight)
    }

    fn view(&self, upstream: &model::Upstream, tried: &[u64], now: Instant) -> ServerView {
        let (server, spec) = (&self.server, &self.spec);
        ServerView {
            candidate: Candidate {
                id: server.id,
                weight: self.weight(),
                slow_start: server.slow_start(upstream.slow_start, now),
                load: server.load(),
            },
            backup: spec.backup,
            up: server.is_up() && !server.overrides.is_draining(),
            ejected: server.is_ejected(now),
            full: server.is_full(spec.max_connections),
            busy: server.is_busy(upstream.max_handshakes),
            tried: tried.contains(&server.id),
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
