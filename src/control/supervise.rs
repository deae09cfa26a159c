//! Supervises the servers of one upstream: looks their names up again, checks their health,
//! and sees to the live sessions of those that leave or fail.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::config::model::{HealthCheck, OnServerDown, OnServerRemoved, ServerAddress};
use crate::logic::endpoint::Endpoint;
use crate::logic::health::{Transition, jittered};
use crate::logic::reason::EndReason;
use crate::state::Shared;
use crate::state::backend_tls::ServerTls;
use crate::state::server::{Server, ServerKey};
use crate::state::upstream::Upstream;

use super::drain::Drains;
use super::probe::Probe;
use super::resolve::resolve;

/// Supervises one upstream until the future is dropped.
pub async fn supervise(upstream: Arc<Upstream>, shared: Arc<Shared>, drains: Drains) {
    let mut checkers = Checkers::default();
    loop {
        checkers.fit(&upstream, &shared, &drains);
        let Some(interval) = resolve_interval(&upstream) else {
            return std::future::pending().await;
        };
        sleep(jittered(interval, fastrand::u64(..))).await;
        let known = |address: &ServerAddress| upstream.addresses_of(address);
        let resolved = resolve(&upstream.settings, known).await;
        for left in upstream.set_members(&resolved, &shared.servers, Instant::now()) {
            info!(upstream = %upstream.settings.name, server = %left.label, "server left");
            server_left(&upstream, &left, &drains);
        }
        for member in upstream.members().iter() {
            member.server.joined(Instant::now());
            server_stays(&member.server, &drains);
        }
        shared.servers.prune();
    }
}

/// What `on_server_removed` says of the live sessions of a server that is no longer a member.
pub fn server_left(upstream: &Upstream, server: &Arc<Server>, drains: &Drains) {
    server.left();
    if upstream.settings.on_server_removed == OnServerRemoved::Drain {
        drains.start_server(server, EndReason::ServerDrain, upstream.settings.drain);
    }
}

/// A server that came back before its drain was over keeps the sessions that are left.
pub fn server_stays(server: &Server, drains: &Drains) {
    if !server.overrides.is_draining() {
        drains.stop_server(server, EndReason::ServerDrain);
    }
}

fn resolve_interval(upstream: &Upstream) -> Option<Duration> {
    let named = |address: &ServerAddress| matches!(address, ServerAddress::Name { .. });
    let any = upstream
        .settings
        .servers
        .iter()
        .any(|spec| named(&spec.address));
    upstream.settings.resolve.filter(|_| any)
}

/// One checking task per server; all end with it.
#[derive(Default)]
struct Checkers {
    tasks: JoinSet<()>,
    by_server: HashMap<ServerKey, AbortHandle>,
}

impl Checkers {
    /// Starts and stops tasks until there is one for each member.
    fn fit(&mut self, upstream: &Arc<Upstream>, shared: &Arc<Shared>, drains: &Drains) {
        let members = upstream.members();
        let staying: HashSet<_> = members.iter().map(|member| &member.server.key).collect();
        self.by_server.retain(|key, task| {
            let stays = staying.contains(key);
            if !stays {
                task.abort();
            }
            stays
        });
        for member in members.iter() {
            let server = &member.server;
            let Some(check) = upstream.settings.health_check.clone() else {
                server.unchecked(Instant::now());
                drains.stop_server(server, EndReason::ServerDown);
                continue;
            };
            self.by_server.entry(server.key.clone()).or_insert_with(|| {
                let checker = Checker {
                    check,
                    upstream: Arc::clone(upstream),
                    server: Arc::clone(server),
                    tls: member.tls.clone(),
                    shared: Arc::clone(shared),
                    drains: drains.clone(),
                };
                self.tasks.spawn(checker.run())
            });
        }
    }
}

struct Checker {
    check: HealthCheck,
    upstream: Arc<Upstream>,
    server: Arc<Server>,
    tls: Option<Arc<ServerTls>>,
    shared: Arc<Shared>,
    drains: Drains,
}

impl Checker {
    async fn run(self) {
        let mut probe = Probe {
            kind: self.check.kind,
            address: self.server.key.address.clone(),
            source: None,
            proxy_protocol: self.upstream.settings.proxy_protocol,
            tls: self.tls.clone(),
            host: self.host(),
            path: Arc::clone(&self.check.path),
            timeout: self.check.timeout,
        };
        loop {
            sleep(self.rest(Instant::now())).await;
            let began = Instant::now();
            let among = &self.upstream.settings.source;
            probe.source = probe.address.source(among, self.server.source_turn());
            let outcome = probe.run().await;
            let result = if outcome.is_ok() { "ok" } else { "failed" };
            let labels = [
                self.server.key.upstream.as_ref(),
                self.server.label.as_ref(),
                result,
            ];
            self.shared
                .metrics
                .health_checks
                .with_label_values(&labels)
                .inc();
            if let Err(error) = &outcome {
                debug!(server = ?self.server, %error, "health check failed");
            }
            let (rise, fall) = (self.check.rise, self.check.fall);
            // A check that could not be made leaves a server that was checked before what it is.
            let is_known = self.server.last_check().is_some();
            let passed = match &outcome {
                Err(error) if is_known && error.is_ours() => self.server.is_up(),
                outcome => outcome.is_ok(),
            };
            match self.server.checked(passed, rise, fall, began) {
                Some(Transition::Up) => self.went_up(),
                Some(Transition::Down) => self.went_down(outcome.err()),
                None => {}
            }
        }
    }

    /// A server that serves many names over TLS refuses a `Host` that is not the one it was asked for.
    fn host(&self) -> Arc<str> {
        let name = self.tls.as_ref().map(|tls| &tls.name);
        match (name, &self.server.key.address) {
            (Some(ServerName::DnsName(name)), Endpoint::Tcp(address)) => {
                format!("{}:{}", name.as_ref(), address.port()).into()
            }
            (Some(ServerName::DnsName(name)), Endpoint::Unix(_)) => name.as_ref().into(),
            (_, Endpoint::Tcp(_)) => Arc::clone(&self.server.label),
            // What a path can't be.
            (_, Endpoint::Unix(_)) => "localhost".into(),
        }
    }

    // The first check comes at once; after a reload the rhythm goes on.
    fn rest(&self, now: Instant) -> Duration {
        let interval = jittered(self.check.interval, fastrand::u64(..));
        self.server.last_check().map_or(Duration::ZERO, |last| {
            (last + interval).saturating_duration_since(now)
        })
    }

    fn went_down(&self, error: Option<impl std::fmt::Display>) {
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        warn!(server = ?self.server, error, "server down");
        // Whoever is sent away already goes at that pace and for that reason.
        let stay = self.server.dismissed().is_none();
        if stay && self.upstream.settings.on_server_down == OnServerDown::Close {
            let within = self.upstream.settings.drain;
            self.drains
                .start_server(&self.server, EndReason::ServerDown, within);
        }
    }

    fn went_up(&self) {
        info!(server = ?self.server, "server up");
        self.drains.stop_server(&self.server, EndReason::ServerDown);
    }
}
