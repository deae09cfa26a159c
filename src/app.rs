//! The composition root: the only file that knows every part. Builds the process, runs it,
//! stops it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::config::Config;
use crate::config::defaults::MAX_WORKERS;
use crate::config::model::Bind;
use crate::control::admin::{self, Admin, Token};
use crate::control::drain::{Drains, drain};
use crate::control::listeners::Listeners;
use crate::control::prepare::prepare;
use crate::control::reload::{Refused, ReloadRequest, Reloader, Source, max_connections};
use crate::logic::reason::EndReason;
use crate::proxy::connection::{Context, serve};
use crate::runtime::acceptor::Capacity;
use crate::runtime::descriptors;
use crate::runtime::signals::{Order, Signals};
use crate::runtime::workers::Workers;
use crate::state::Shared;
use crate::state::server::Servers;
use crate::telemetry::Metrics;
use crate::telemetry::log::LogControl;
use crate::tls;

/// What a closing handshake needs at the end of `shutdown_grace`: the peer's Close and the end of TCP.
const CLOSING_TIME: Duration = Duration::from_secs(6);
/// Reload requests of the admin API that may wait for one under way.
const RELOAD_QUEUE: usize = 16;

/// Why the process could not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum StartError {
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("admin: can't listen on {address}: {source}")]
    AdminBind {
        address: SocketAddr,
        source: io::Error,
    },
    #[error("admin token {}: {source}", path.display())]
    Token { path: PathBuf, source: io::Error },
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
    pub listeners: Vec<(Arc<str>, SocketAddr)>,
    /// The admin address.
    pub admin: Option<SocketAddr>,
}

/// Runs the proxy until a signal stops it. `started` is told where it can be reached.
///
/// # Errors
/// [`StartError`]; once started, nothing but signals ends it.
pub fn run(source: Source, started: impl FnOnce(Addresses)) -> Result<(), StartError> {
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = control.block_on(async {
        // First of all: no signal may end the process half-way through its start.
        let mut signals = Signals::take()?;
        let process = tokio::select! {
            process = Process::start(source) => process?,
            _ = stop_order(&mut signals) => return Ok(()),
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
    capacity: Capacity,
    reloader: Reloader,
    reload_requests: mpsc::Receiver<ReloadRequest>,
    admin: Option<SocketAddr>,
    _admin_tasks: JoinSet<()>,
}

impl Process {
    async fn start(source: Source) -> Result<Self, StartError> {
        let config = source.load().await?;
        let log = LogControl::start(&config.log)?;
        let descriptors = descriptors::raise_limit();
        let count = worker_count(&config);
        let metrics = Metrics::new(count)?;
        let servers = Servers::new(metrics.clone());
        let ticketer = tls::ticketer()?;
        let snapshot = prepare(config, None, &ticketer, &metrics, &servers).await?;
        let config = Arc::clone(&snapshot.config);
        let shared = Arc::new(Shared::new(metrics.clone(), servers, snapshot, count));

        let capacity = Capacity::new(max_connections(&config, descriptors));
        let workers = Arc::new(start_workers(count, &shared)?);
        let listeners = Listeners::new(Arc::clone(&workers), capacity.clone(), metrics);
        let drains = Drains::default();
        let (reload, reload_requests) = mpsc::channel(RELOAD_QUEUE);
        let mut reloader = Reloader {
            source,
            shared: Arc::clone(&shared),
            listeners,
            ticketer,
            drains,
            log,
            capacity: capacity.clone(),
            descriptors,
            tending: JoinSet::new(),
            watching: JoinSet::new(),
            requests: reload.clone(),
        };
        reloader.start().map_err(Refused::from)?;
        let mut admin_tasks = JoinSet::new();
        let admin = start_admin(&config, &shared, reload, &mut admin_tasks).await?;
        info!(
            workers = count,
            sessions = max_connections(&config, descriptors),
            descriptors,
            version = env!("CARGO_PKG_VERSION"),
            "ready"
        );
        Ok(Self {
            shared,
            workers,
            capacity,
            reloader,
            reload_requests,
            admin,
            _admin_tasks: admin_tasks,
        })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            listeners: self.reloader.listeners.addresses(),
            admin: self.admin,
        }
    }

    /// Carries out orders until one of them ends the process.
    async fn serve(mut self, mut signals: Signals) {
        let mut again = false;
        let order = 'serving: loop {
            let requester = tokio::select! {
                () = std::future::ready(()), if std::mem::take(&mut again) => None,
                order = signals.next() => match order {
                    Order::Reload => None,
                    order => break order,
                },
                Some(requester) = self.reload_requests.recv() => Some(requester),
            };
            let mut reload = pin!(self.reloader.reload());
            let outcome = loop {
                tokio::select! {
                    outcome = &mut reload => break outcome,
                    order = signals.next() => match order {
                        Order::Reload => again = true,
                        // Nothing is in force before a reload's end, so a stop may break in.
                        order => break 'serving order,
                    },
                }
            };
            if let Some(requester) = requester {
                // Who asked may have gone meanwhile; the log has the outcome too.
                let _ = requester.send(outcome.map_err(|refused| refused.to_string()));
            }
        };
        if order == Order::Stop {
            self.drain(&mut signals).await;
        }
        self.workers.stop();
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
        self.shared.start_draining();
        self.reload_requests.close();
        self.reloader.listeners.close();
        let within = grace.saturating_sub(CLOSING_TIME).max(grace / 2);
        let sessions = self.shared.registry.select(|_| true);
        let pace = async {
            drain(sessions, EndReason::Shutdown, within).await;
            // Those that were in their handshake when it began end by themselves.
            std::future::pending().await
        };
        let drained = async {
            tokio::select! {
                () = self.capacity.idle() => {}
                () = pace => {}
            }
        };
        tokio::select! {
            outcome = timeout_at(deadline, drained) => {
                if outcome.is_err() {
                    warn!(connections = self.capacity.open(), "grace is over, cutting the rest");
                }
            }
            order = stop_order(signals) => info!(?order, "stopping now"),
        }
    }
}

/// The next order that means "now".
async fn stop_order(signals: &mut Signals) -> Order {
    loop {
        match signals.next().await {
            Order::Reload => warn!("busy, SIGHUP is not heard"),
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
    let shared = Arc::clone(shared);
    Workers::start(
        (0..count).map(gauge).collect(),
        move |worker, connection| {
            serve(
                Context {
                    shared: Arc::clone(&shared),
                    worker,
                },
                connection,
            )
        },
    )
}

async fn start_admin(
    config: &Config,
    shared: &Arc<Shared>,
    reload: mpsc::Sender<ReloadRequest>,
    tasks: &mut JoinSet<()>,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(Bind::Tcp(address)) = config.admin.bind else {
        return Ok(None);
    };
    let token = match &config.admin.token_file {
        Some(path) => {
            let token = Token::read(path);
            let path = path.clone();
            Some(Arc::new(
                token.map_err(|source| StartError::Token { path, source })?,
            ))
        }
        None => None,
    };
    let bind_error = |source| StartError::AdminBind { address, source };
    let listener = TcpListener::bind(address).await.map_err(bind_error)?;
    let address = listener.local_addr().map_err(bind_error)?;
    info!(listener = "admin", %address, "listening");
    tasks.spawn(admin::serve(
        listener,
        Admin {
            shared: Arc::clone(shared),
            token,
            reload,
        },
    ));
    Ok(Some(address))
}
