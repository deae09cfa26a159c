//! The composition root: the only file that knows every part. Builds the process, runs it,
//! stops it.

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::config::Config;
use crate::config::defaults::MAX_WORKERS;
use crate::control::admin::{self, Admin, Tails, Token, Watchers};
use crate::control::drain::{Drains, Order as DrainOrder, Target};
use crate::control::history::History;
use crate::control::journal::Journal;
use crate::control::listeners::Listeners;
use crate::control::prepare::{access_log, prepare};
use crate::control::reload::{
    Refused, ReloadRequest, Reloader, Source, max_connections, reopen_logs,
};
use crate::logic::endpoint::Endpoint;
use crate::logic::reason::EndReason;
use crate::proxy::connection::{Context, serve};
use crate::runtime::acceptor::Capacity;
use crate::runtime::descriptors;
use crate::runtime::inherit::{Inherited, Unusable};
use crate::runtime::listen::ListenSocket;
use crate::runtime::manager::Manager;
use crate::runtime::signals::{Order, Signals};
use crate::runtime::workers::Workers;
use crate::state::Shared;
use crate::state::server::Servers;
use crate::telemetry::Metrics;
use crate::telemetry::access::{AccessLog, WriterThread};
use crate::telemetry::log::LogControl;
use crate::tls;

/// What a closing handshake needs at the end of `shutdown_grace`: the peer's Close and the end of TCP.
const CLOSING_TIME: Duration = Duration::from_secs(6);
/// What the access log may need for the lines that wait when the process ends.
const ACCESS_LOG_TIME: Duration = Duration::from_secs(2);
/// Reload requests of the admin API that may wait for one under way.
const RELOAD_QUEUE: usize = 16;

/// Permissions of the admin address where it is a unix socket: it can do everything.
const ADMIN_SOCKET_MODE: u32 = 0o600;

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum StartError {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("admin: can't listen on {address}: {source}")]
    AdminBind {
        address: Endpoint,
        source: io::Error,
    },
    #[error("admin token {}: {source}", path.display())]
    Token { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Inherited(#[from] Unusable),
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("the runtime can't be made: {0}")]
    Runtime(#[from] io::Error),
    #[error("session tickets: {0}")]
    Tickets(#[from] rustls::Error),
    #[error("the log can't be started: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
}

/// Where a started process can be reached.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Each listener's addresses.
    pub listeners: Vec<(Arc<str>, Endpoint)>,
    /// The admin address.
    pub admin: Option<Endpoint>,
}

/// Runs the proxy until a signal stops it. `started` is told where it can be reached.
///
/// # Errors
/// [`StartError`]; once started, nothing but signals ends it.
pub fn run(source: Source, started: impl FnOnce(Addresses)) -> Result<(), StartError> {
    let inherited = Inherited::from_manager()?;
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = control.block_on(async {
        // First of all: no signal may end the process half-way through its start.
        let mut signals = Signals::take()?;
        let process = tokio::select! {
            process = Process::start(source, inherited) => process?,
            _ = stop_order(&mut signals, || ()) => return Ok(()),
        };
        started(process.addresses());
        process.serve(signals).await;
        Ok(())
    });
    // A look-up that hangs must not hold up the end.
    control.shutdown_background();
    outcome
}

struct Process {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
    manager: Manager,
    capacity: Capacity,
    reloader: Reloader,
    reload_requests: mpsc::Receiver<ReloadRequest>,
    admin: Option<Endpoint>,
    access_thread: WriterThread,
    _admin_tasks: JoinSet<()>,
}

impl Process {
    async fn start(source: Source, inherited: Inherited) -> Result<Self, StartError> {
        let config = source.load().await?;
        let log = LogControl::start(&config.log)?;
        let descriptors = descriptors::raise_limit();
        let count = worker_count(&config);
        let metrics = Metrics::new(count)?;
        let sink = access_log(&config).map_err(Refused::from)?;
        let (access, access_thread) = AccessLog::start(sink, metrics.access_log_dropped.clone())?;
        let servers = Servers::new(metrics.clone());
        let ticketer = tls::ticketer()?;
        let snapshot = prepare(config, None, &ticketer, &metrics, &servers).await?;
        let config = Arc::clone(&snapshot.config);
        let shared = Arc::new(Shared::new(
            metrics.clone(),
            access,
            servers,
            snapshot,
            count,
        ));

        let sessions = max_connections(&config, descriptors);
        let capacity = Capacity::new(sessions);
        let workers = Arc::new(start_workers(count, &shared)?);
        let listeners = Listeners::new(inherited, Arc::clone(&workers), capacity.clone(), metrics);
        let drains = Drains::new(&shared);
        let (reload, reload_requests) = mpsc::channel(RELOAD_QUEUE);
        let journal = Journal::default();
        let mut reloader = Reloader {
            source,
            shared: Arc::clone(&shared),
            listeners,
            ticketer,
            drains: drains.clone(),
            journal: journal.clone(),
            log,
            capacity: capacity.clone(),
            descriptors,
            tending: JoinSet::new(),
            watching: JoinSet::new(),
            requests: reload.clone(),
        };
        reloader.start().map_err(Refused::from)?;
        let mut admin_tasks = JoinSet::new();
        let admin = Admin {
            shared: Arc::clone(&shared),
            token: token(&config)?,
            reload,
            drains,
            history: History::begin(&shared),
            journal,
            watchers: Watchers::default(),
            tails: Tails::default(),
            is_local: is_local(&config),
        };
        let admin = start_admin(&config, admin, &mut admin_tasks)?;
        info!(
            workers = count,
            sessions,
            descriptors,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        let manager = Manager::watched(&workers);
        manager.ready();
        Ok(Self {
            shared,
            workers,
            manager,
            capacity,
            reloader,
            reload_requests,
            admin,
            access_thread,
            _admin_tasks: admin_tasks,
        })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            listeners: self.reloader.listeners.addresses(),
            admin: self.admin.clone(),
        }
    }

    /// Carries out orders until one of them ends the process.
    async fn serve(mut self, mut signals: Signals) {
        let mut again = false;
        let order = 'serving: loop {
            let request = tokio::select! {
                () = std::future::ready(()), if std::mem::take(&mut again) => None,
                order = signals.next() => match order {
                    Order::Reload => None,
                    Order::ReopenLogs => {
                        reopen_logs(&self.shared);
                        continue;
                    }
                    order => break order,
                },
                Some(request) = self.reload_requests.recv() => Some(request),
            };
            let dry_run = request.as_ref().is_some_and(|request| request.dry_run);
            if !dry_run {
                self.manager.reloading();
            }
            let mut reload = pin!(self.reloader.carry_out(dry_run));
            let outcome = loop {
                tokio::select! {
                    outcome = &mut reload => break outcome,
                    order = signals.next() => match order {
                        Order::Reload => again = true,
                        Order::ReopenLogs => reopen_logs(&self.shared),
                        // Nothing is in force before a reload's end, so a stop may break in.
                        order => break 'serving order,
                    },
                }
            };
            if !dry_run {
                self.manager.reloaded(outcome.is_ok());
            }
            if let Some(request) = request {
                // Who asked may have gone meanwhile; the log has the outcome too.
                let _ = (request.answer).send(outcome.map_err(|refused| refused.to_string()));
            }
        };
        if order == Order::Stop {
            self.drain(&mut signals).await;
        }
        self.workers.stop();
        self.access_thread.finish(ACCESS_LOG_TIME);
        info!("stopped");
    }

    /// Ends every session within `shutdown_grace`, or less when told twice.
    async fn drain(&mut self, signals: &mut Signals) {
        let grace = self.shared.snapshot().config.server.shutdown_grace;
        let deadline = Instant::now() + grace;
        info!(
            seconds = grace.as_secs_f64(),
            sessions = self.shared.registry.len(),
            "stopping"
        );
        self.manager.stopping(grace);
        self.shared.start_draining();
        self.reload_requests.close();
        self.reloader.listeners.close();
        let within = grace.saturating_sub(CLOSING_TIME).max(grace / 2);
        // From here on nothing else sends sessions away.
        self.reloader.tending.abort_all();
        let drains = &self.reloader.drains;
        drains.stop_all();
        drains.start(DrainOrder {
            target: Target::Process,
            reason: EndReason::Shutdown,
            within,
            sessions: self.shared.registry.select(|_| true),
        });
        tokio::select! {
            outcome = timeout_at(deadline, self.capacity.idle()) => {
                if outcome.is_err() {
                    warn!(connections = self.capacity.open(), "grace is over, cutting the rest");
                }
            }
            order = stop_order(signals, || reopen_logs(&self.shared)) => {
                info!(?order, "stopping now");
            }
        }
    }
}

/// The next order that means "now"; others are carried out with `reopen`, or refused.
async fn stop_order(signals: &mut Signals, reopen: impl Fn()) -> Order {
    loop {
        match signals.next().await {
            Order::Reload => warn!("busy, SIGHUP is not heard"),
            Order::ReopenLogs => reopen(),
            order => return order,
        }
    }
}

fn worker_count(config: &Config) -> usize {
    let cores =
        || thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_WORKERS.into()));
    config
        .server
        .workers
        .map_or_else(cores, |workers| usize::from(workers.get()))
}

fn start_workers(count: usize, shared: &Arc<Shared>) -> io::Result<Workers> {
    let gauge = |worker: usize| {
        shared
            .metrics
            .worker_connections
            .with_label_values(&[worker.to_string()])
    };
    let context = |worker| Context {
        shared: Arc::clone(shared),
        worker,
        pool: Arc::default(),
    };
    let contexts: Vec<_> = (0..count).map(context).collect();
    Workers::start(
        (0..count).map(gauge).collect(),
        move |worker, connection| serve(contexts[worker].clone(), connection),
    )
}

/// Whether only this machine reaches the admin address.
fn is_local(config: &Config) -> bool {
    match &config.admin.bind {
        Some(Endpoint::Tcp(address)) => address.ip().is_loopback(),
        Some(Endpoint::Unix(_)) => true,
        None => false,
    }
}

fn token(config: &Config) -> Result<Option<Arc<Token>>, StartError> {
    let Some(path) = &config.admin.token_file else {
        return Ok(None);
    };
    let path = path.clone();
    let token = Token::read(&path).map_err(|source| StartError::Token { path, source })?;
    Ok(Some(Arc::new(token)))
}

fn start_admin(
    config: &Config,
    admin: Admin,
    tasks: &mut JoinSet<()>,
) -> Result<Option<Endpoint>, StartError> {
    let Some(bind) = &config.admin.bind else {
        return Ok(None);
    };
    let bind_error = |source| StartError::AdminBind {
        address: bind.clone(),
        source,
    };
    let socket = ListenSocket::bind(bind, ADMIN_SOCKET_MODE).map_err(bind_error)?;
    let address = socket.endpoint().clone();
    let listener = socket.into_control().map_err(bind_error)?;
    info!(listener = "admin", %address, "listening");
    tasks.spawn(admin::observe(admin.clone()));
    tasks.spawn(admin::serve(listener, admin));
    Ok(Some(address))
}
