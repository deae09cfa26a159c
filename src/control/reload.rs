//! Replaces the configuration in force, all of it or none of it, without touching a live
//! connection that the new one does not concern. Signal, admin API and file watch end here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rustls::server::ProducesTickets;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::model::Upstream;
use crate::config::{self, Config};
use crate::runtime::acceptor::{Capacity, Room};
use crate::runtime::descriptors;
use crate::state::{Shared, Snapshot};
use crate::telemetry::log::LogControl;

use super::drain::Drains;
use super::impact::{Impact, Plan, leaving};
use super::listeners::{BindError, Bound, Listeners};
use super::prepare::{access_log, check_access_log, prepare};
use super::reload_log::ReloadLog;
use super::supervise::{server_left, server_stays, supervise};
use super::watch::{Watch, fingerprint};

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file, read again at each reload.
    File(PathBuf),
    /// Text that came with the program.
    Embedded(String),
}

/// Why a configuration was refused. Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It does not parse, does not hold together, or names files that can't be used.
    #[error("{0}")]
    Invalid(#[from] config::Errors),
    /// No server of an upstream has an address, where one had before.
    #[error("upstream {0}: none of its servers' names can be looked up")]
    Unresolved(Arc<str>),
    /// An address can't be bound.
    #[error("{0}: {source}", source = std::error::Error::source(.0).map(ToString::to_string).unwrap_or_default())]
    Bind(#[from] BindError),
    /// The thread that read it died.
    #[error("reading the configuration failed")]
    Reader,
}

/// Somebody asks for a reload.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Only say what would change.
    pub dry_run: bool,
    /// Where the outcome goes: the plan, or the errors line by line.
    pub answer: oneshot::Sender<Result<Plan, String>>,
}

/// Everything a reload acts on.
#[derive(Debug)]
pub struct Reloader {
    /// Where the configuration comes from.
    pub source: Source,
    /// What both planes share.
    pub shared: Arc<Shared>,
    /// The sockets in force.
    pub listeners: Listeners,
    /// Makes session tickets; the same one for the life of the process.
    pub ticketer: Arc<dyn ProducesTickets>,
    /// The drains under way.
    pub drains: Drains,
    /// Where reloads are noted.
    pub reload_log: ReloadLog,
    /// The running log.
    pub log: LogControl,
    /// How many connections there may be.
    pub capacity: Capacity,
    /// The limit of file descriptors.
    pub descriptors: u64,
    /// The tasks that look after the upstreams.
    pub tending: JoinSet<()>,
    /// The task that watches the files, where one does.
    pub watching: JoinSet<()>,
    /// Where that task asks for reloads.
    pub requests: mpsc::Sender<ReloadRequest>,
}

impl Source {
    /// Reads and checks it.
    ///
    /// # Errors
    /// Every fault of the configuration.
    pub async fn load(&self) -> Result<Config, Refused> {
        match self.clone() {
            Self::File(path) => {
                let load = move || config::load(&path);
                Ok(tokio::task::spawn_blocking(load)
                    .await
                    .map_err(|_| Refused::Reader)??)
            }
            Self::Embedded(text) => Ok(config::parse(&text, "embedded")?),
        }
    }
}

impl Reloader {
    /// Reads the configuration again and puts it in force, or only tries it out; says what
    /// changes.
    ///
    /// # Errors
    /// [`Refused`]; then nothing has changed.
    pub async fn carry_out(&mut self, dry_run: bool) -> Result<Plan, Refused> {
        if dry_run {
            self.try_out().await
        } else {
            self.reload().await
        }
    }

    async fn reload(&mut self) -> Result<Plan, Refused> {
        let outcome = self.try_reload().await;
        self.count(outcome.is_ok());
        let errors = |refused: &Refused| refused.to_string().lines().count();
        let changes = |plan: &Plan| plan.changes.len();
        self.reload_log
            .note(outcome.as_ref().map(changes).map_err(errors));
        match &outcome {
            Ok(Plan { changes, same }) => {
                for Impact {
                    change,
                    connections,
                    drains,
                } in changes
                {
                    info!(%change, connections, drains, "changed");
                }
                info!(
                    changes = changes.len(),
                    same_listeners = same.listeners.len(),
                    same_routes = same.routes.len(),
                    same_upstreams = same.upstreams.len(),
                    same_servers = same.servers.len(),
                    "reloaded"
                );
            }
            Err(refused) => {
                for error in refused.to_string().lines() {
                    warn!(error, "in the new configuration");
                }
                warn!("reload refused, nothing has changed");
            }
        }
        outcome
    }

    /// Starts what belongs to the snapshot in force: these sockets, names, health checks.
    pub fn start(&mut self, bound: Bound) {
        let snapshot = self.shared.snapshot();
        self.listeners.put_in_force(bound);
        self.supervise(&snapshot);
        self.watch(&snapshot.config, None);
        warn_of_insecure(&snapshot.config);
        self.stamp(true);
    }

    /// Does everything that a reload does, up to the point of no return.
    async fn try_out(&self) -> Result<Plan, Refused> {
        let before = self.shared.snapshot();
        let config = self.source.load().await?;
        // Closed again at the end: that they could be bound is all that matters.
        let _bound = self.listeners.bind(&config)?;
        check_access_log(&config)?;
        let outcome = self.snapshot_of(config, &before).await;
        let plan = outcome.map(|after| Plan::of(&before, &after, &self.shared));
        self.shared.servers.prune();
        plan
    }

    async fn try_reload(&mut self) -> Result<Plan, Refused> {
        let before = self.shared.snapshot();
        // Taken before they are read: what changes meanwhile is seen when the watch begins again.
        let files = fingerprint(&before.config.files, &before.config.directories);
        let config = self.source.load().await?;
        let bound = self.listeners.bind(&config)?;
        let redirected = config.log.access != before.config.log.access;
        let sink = redirected.then(|| access_log(&config)).transpose()?;
        let snapshot = self.snapshot_of(config, &before).await?;
        let plan = Plan::of(&before, &snapshot, &self.shared);

        // A connection accepted for a listener that is gone by then would find nobody to serve it.
        self.listeners.withdraw(&bound).await;
        self.shared.replace(Arc::clone(&snapshot));
        self.listeners.put_in_force(bound);
        self.log.apply(snapshot.config.log.level);
        if let Some(sink) = sink {
            self.shared.access.direct(sink);
        }
        self.capacity
            .resize(room(&snapshot.config, self.descriptors));
        let same_files = before.config.files == snapshot.config.files;
        self.watch(&snapshot.config, same_files.then_some(files));
        self.leave(&before, &snapshot);
        self.stay(&before, &snapshot);
        drop(before);
        // What they held of servers that went must be gone before those are forgotten.
        self.tending.shutdown().await;
        self.shared.servers.prune();
        self.supervise(&snapshot);
        warn_of_insecure(&snapshot.config);
        Ok(plan)
    }

    async fn snapshot_of(
        &self,
        config: Config,
        before: &Snapshot,
    ) -> Result<Arc<Snapshot>, Refused> {
        let (metrics, servers) = (&self.shared.metrics, &self.shared.servers);
        let prepared = prepare(config, Some(before), &self.ticketer, metrics, servers).await;
        if prepared.is_err() {
            // Servers that only a refused configuration has leave no gauge behind.
            servers.prune();
        }
        prepared
    }

    fn supervise(&mut self, snapshot: &Snapshot) {
        for upstream in snapshot.upstreams.values() {
            let (shared, drains) = (Arc::clone(&self.shared), self.drains.clone());
            self.tending
                .spawn(supervise(Arc::clone(upstream), shared, drains));
        }
    }

    fn watch(&mut self, config: &Config, seen: Option<u64>) {
        self.watching.abort_all();
        while self.watching.try_join_next().is_some() {}
        if !config.server.watch {
            return;
        }
        // Begun here and not in the task: what is written from now on must be seen.
        match Watch::begin(config.files.clone(), config.directories.clone(), seen) {
            Ok(watch) => drop(self.watching.spawn(watch.run(self.requests.clone()))),
            Err(error) => warn!(%error, "files can't be watched; reload by SIGHUP"),
        }
    }

    /// Sees to the live sessions of servers that the new snapshot does not have.
    fn leave(&self, before: &Snapshot, after: &Snapshot) {
        for left in leaving(before, after) {
            server_left(&left.upstream, &left.server, &self.drains);
        }
    }

    /// What the operator ordered of a server holds until the file says something else of it.
    fn stay(&self, before: &Snapshot, after: &Snapshot) {
        let now = Instant::now();
        for (name, new) in &after.upstreams {
            let old = before.upstreams.get(name).map(|old| old.members());
            let old = old.unwrap_or_default();
            let specs: HashMap<_, _> = (old.iter())
                .map(|member| (&member.server.key, &member.spec))
                .collect();
            for member in new.members().iter() {
                if specs.get(&member.server.key) != Some(&&member.spec) {
                    member.server.forget_orders(now);
                }
                server_stays(&member.server, &self.drains);
            }
        }
    }

    fn count(&self, ok: bool) {
        let metrics = &self.shared.metrics;
        metrics
            .reloads
            .with_label_values(&[if ok { "ok" } else { "failed" }])
            .inc();
        self.stamp(ok);
    }

    fn stamp(&self, ok: bool) {
        let metrics = &self.shared.metrics;
        metrics.last_reload_successful.set(i64::from(ok));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        metrics
            .last_reload_timestamp
            .set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    }
}

/// What is meant for tests must not stay unnoticed.
fn warn_of_insecure(config: &Config) {
    let insecure =
        |upstream: &&Arc<Upstream>| upstream.tls.as_ref().is_some_and(|tls| tls.insecure);
    for upstream in config.upstreams.iter().filter(insecure) {
        warn!(upstream = %upstream.name, "tls.insecure: its servers' certificates are not verified");
    }
}

/// Opens the access log's file anew, so that the one it was may be taken away.
pub fn reopen_logs(shared: &Shared) {
    match access_log(&shared.snapshot().config) {
        Ok(sink) => {
            shared.access.direct(sink);
            info!("access log reopened");
        }
        Err(error) => warn!(%error, "access log not reopened, the old file is kept"),
    }
}

/// How many client connections a configuration allows under a limit of descriptors. Those beyond
/// what the operator allows are refused; a shortage of descriptors passes, and they wait.
pub fn room(config: &Config, descriptors: u64) -> Room {
    let possible = descriptors::sessions(descriptors);
    let wanted = config.server.max_connections.unwrap_or(usize::MAX);
    if config.server.max_connections.is_some() && wanted > possible {
        warn!(
            wanted,
            possible, descriptors, "max_connections is more than the descriptors allow"
        );
    }
    Room {
        max: wanted.min(possible),
        refuses: wanted <= possible,
    }
}
