//! The composition root: the only file that knows every part. Builds the process, runs it,
//! stops it.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustls::server::ProducesTickets;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{info, warn};

use crate::config::Config;
use crate::config::defaults::MAX_WORKERS;
use crate::control::admin::{self, Admin, Tails, Watchers};
use crate::control::drain::Drains;
use crate::control::history::History;
use crate::control::listeners::{Bound, Listeners};
use crate::control::otlp::Exporter;
use crate::control::overrides;
use crate::control::prepare::{access_log, prepare};
use crate::control::process::{AdminAddress, Process};
use crate::control::reload::{Refused, Reloader, Source, room};
use crate::control::reload_log::ReloadLog;
use crate::control::upgrade::{Offer, Program, Upgrades};
use crate::logic::endpoint::Endpoint;
use crate::proxy::connection::{Context, serve};
use crate::runtime::acceptor::Capacity;
use crate::runtime::descriptors;
use crate::runtime::handover::Predecessor;
use crate::runtime::inherit::{Inherited, Unusable};
use crate::runtime::sd_notify::ServiceManager;
use crate::runtime::signals::{Order, Signals};
use crate::runtime::workers::Workers;
use crate::state::Shared;
use crate::state::servers::Servers;
use crate::telemetry::Metrics;
use crate::telemetry::access::{AccessLog, WriterThread};
use crate::telemetry::log::LogControl;
use crate::telemetry::trace::Tracer;
use crate::tls;

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
    #[error("{0}")]
    Inherited(#[from] Unusable),
    #[error("the process whose place this one is to take: {0}")]
    Predecessor(io::Error),
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
    let origin = Origin::find()?;
    let control = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = control.block_on(async {
        // First of all: no signal may end the process half-way through its start.
        let mut signals = Signals::take()?;
        let process = tokio::select! {
            process = start(source, origin) => process?,
            () = told_to_stop(&mut signals) => return Ok(()),
        };
        started(addresses(&process));
        process.serve(signals).await;
        Ok(())
    });
    // A look-up that hangs must not hold up the end.
    control.shutdown_background();
    outcome
}

/// Where this process comes from.
struct Origin {
    program: Option<Program>,
    predecessor: Option<Predecessor>,
    sockets: Inherited,
}

impl Origin {
    fn find() -> Result<Self, StartError> {
        let program = Program::current();
        let (predecessor, sockets) = match Predecessor::find().map_err(StartError::Predecessor)? {
            Some((predecessor, sockets)) => (Some(predecessor), sockets),
            None => (None, Inherited::from_manager()?),
        };
        Ok(Self {
            program,
            predecessor,
            sockets,
        })
    }
}

/// Starts what is to serve; a predecessor hears how it went.
async fn start(source: Source, origin: Origin) -> Result<Process, StartError> {
    let (program, predecessor) = match source {
        Source::File(_) => (origin.program, origin.predecessor),
        // Whoever brings its own configuration has its own way to start.
        Source::Embedded(_) => (None, None),
    };
    match build(source, program, origin.sockets, predecessor.as_ref()).await {
        Ok(process) => {
            match predecessor {
                Some(predecessor) => predecessor.serving(),
                None => process.manager.ready(),
            }
            Ok(process)
        }
        Err(error) => {
            if let Some(predecessor) = predecessor {
                predecessor.failed(&error.to_string());
            }
            Err(error)
        }
    }
}

async fn build(
    source: Source,
    program: Option<Program>,
    sockets: Inherited,
    predecessor: Option<&Predecessor>,
) -> Result<Process, StartError> {
    let config = source.load().await?;
    let log = LogControl::start(&config.log)?;
    let descriptors = descriptors::raise_limit();
    let count = worker_count(&config);
    let metrics = Metrics::new(count)?;
    let ticketer = tls::ticketer()?;
    let (shared, access_thread) = share(config, count, &ticketer, metrics.clone()).await?;
    let config = Arc::clone(&shared.snapshot().config);

    let room = room(&config, descriptors);
    let capacity = Capacity::new(room);
    let (tracer, exporter) = tracing(&config, &shared).unzip();
    let workers = Arc::new(start_workers(count, &shared, tracer.as_ref())?);
    let listeners = Listeners::new(sockets, Arc::clone(&workers), capacity.clone(), metrics);
    let (reload, reload_requests) = mpsc::channel(RELOAD_QUEUE);
    let mut reloader = Reloader {
        source,
        shared: Arc::clone(&shared),
        listeners,
        ticketer,
        drains: Drains::new(&shared),
        reload_log: ReloadLog::default(),
        log,
        capacity: capacity.clone(),
        descriptors,
        tending: JoinSet::new(),
        watching: JoinSet::new(),
        requests: reload,
    };
    let bound = reloader.listeners.bind(&config).map_err(Refused::from)?;
    let admin_socket = admin_socket(&config, &reloader.listeners)?;
    if let Some(predecessor) = predecessor {
        // Everything that can fail is done, and nothing is accepted that a failure could lose.
        take_over(predecessor, &shared).await?;
    }
    listen(&mut reloader, bound, predecessor.is_some());
    let (upgrades, upgrade_requests) = Upgrades::new();
    let admin = admin(&config, &reloader, upgrades.clone());
    let admin = admin_socket
        .map(|offer| start_admin(offer, admin))
        .transpose()?;
    info!(
        workers = count,
        sessions = room.max,
        descriptors,
        version = env!("CARGO_PKG_VERSION"),
        "ready"
    );
    Ok(Process {
        shared,
        manager: ServiceManager::watched(&workers),
        workers,
        capacity,
        reloader,
        reload_requests,
        program,
        upgrades,
        upgrade_requests,
        admin,
        access_thread,
        exporter,
    })
}

/// What both planes share, and the thread that writes the access log.
async fn share(
    config: Config,
    workers: usize,
    ticketer: &Arc<dyn ProducesTickets>,
    metrics: Metrics,
) -> Result<(Arc<Shared>, WriterThread), StartError> {
    let sink = access_log(&config).map_err(Refused::from)?;
    let (access, access_thread) = AccessLog::start(sink, metrics.access_log_dropped.clone())?;
    let servers = Servers::new(metrics.clone());
    let snapshot = prepare(config, None, ticketer, &metrics, &servers).await?;
    let shared = Shared::new(metrics, access, servers, snapshot, workers);
    Ok((Arc::new(shared), access_thread))
}

/// Waits until the predecessor lets go, and keeps what was ordered there.
async fn take_over(predecessor: &Predecessor, shared: &Shared) -> Result<(), StartError> {
    let kept = predecessor.permission().await;
    let kept = kept.map_err(StartError::Predecessor)?;
    overrides::adopt(&kept, &shared.snapshot(), Instant::now());
    Ok(())
}

/// Begins to accept; what was inherited is this process's own where it was handed over.
fn listen(reloader: &mut Reloader, bound: Bound, is_successor: bool) {
    reloader.start(bound);
    match is_successor {
        true => reloader.listeners.own_inherited(),
        false => reloader.listeners.warn_of_unused(),
    }
}

fn addresses(process: &Process) -> Addresses {
    let admin = process.admin.as_ref();
    Addresses {
        listeners: process.reloader.listeners.addresses(),
        admin: admin.map(|admin| admin.offer.socket.endpoint().clone()),
    }
}

/// Resolves when a signal says to stop; before the start is over no other means anything.
async fn told_to_stop(signals: &mut Signals) {
    loop {
        match signals.next().await {
            Order::Stop | Order::StopNow => return,
            order => warn!(?order, "not started yet, not carried out"),
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

/// Where spans go, and who sends them on.
fn tracing(config: &Config, shared: &Shared) -> Option<(Tracer, Exporter)> {
    let collector = config.tracing.otlp.clone()?;
    let counts = &shared.metrics.trace_spans;
    let (tracer, spans) = Tracer::new(config.tracing.sample, counts);
    Some((tracer, Exporter::start(spans, collector, counts.clone())))
}

fn start_workers(
    count: usize,
    shared: &Arc<Shared>,
    tracer: Option<&Tracer>,
) -> io::Result<Workers> {
    let gauge = |worker: usize| {
        shared
            .metrics
            .worker_connections
            .with_label_values(&[worker.to_string()])
    };
    let context = |worker| {
        Arc::new(Context {
            shared: Arc::clone(shared),
            worker,
            pool: Arc::default(),
            tracer: tracer.cloned(),
        })
    };
    let contexts: Vec<_> = (0..count).map(context).collect();
    Workers::start(
        (0..count).map(gauge).collect(),
        move |worker, connection| serve(Arc::clone(&contexts[worker]), connection),
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

fn admin_socket(config: &Config, listeners: &Listeners) -> Result<Option<Offer>, StartError> {
    let Some(bind) = &config.admin.bind else {
        return Ok(None);
    };
    let socket = listeners.socket(admin::SOCKET, bind, ADMIN_SOCKET_MODE);
    let socket = socket.map_err(|source| StartError::AdminBind {
        address: bind.clone(),
        source,
    })?;
    Ok(Some(Offer {
        name: admin::SOCKET.into(),
        bind: bind.to_string(),
        socket,
    }))
}

fn admin(config: &Config, reloader: &Reloader, upgrades: Upgrades) -> Admin {
    Admin {
        shared: Arc::clone(&reloader.shared),
        reload: reloader.requests.clone(),
        upgrades,
        drains: reloader.drains.clone(),
        history: History::begin(&reloader.shared),
        reload_log: reloader.reload_log.clone(),
        watchers: Watchers::default(),
        tails: Tails::default(),
        is_local: is_local(config),
    }
}

fn start_admin(offer: Offer, admin: Admin) -> Result<AdminAddress, StartError> {
    let listener = offer.socket.duplicate()?.into_control()?;
    info!(listener = "admin", address = %offer.socket.endpoint(), "listening");
    let task = tokio::spawn(admin::serve(listener, admin));
    Ok(AdminAddress { offer, task })
}
