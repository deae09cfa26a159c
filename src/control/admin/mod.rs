//! The admin address: metrics, health, readiness, and the API that shows and changes what runs.

mod access;
mod answer;
mod connections;
mod dashboard;
mod live;
mod openapi;
mod params;
mod reload;
mod routes;
mod servers;
mod show;
mod tail;
mod upgrade;
mod write_timeout;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::control::drain::Drains;
use crate::control::history::History;
use crate::control::reload::ReloadRequest;
use crate::control::reload_log::ReloadLog;
use crate::control::upgrade::Upgrades;
use crate::runtime::listen::ControlListener;
use crate::runtime::socket::Socket;
use crate::state::Shared;

use answer::Body;
pub use live::Watchers;
pub use routes::{ROUTES, Route};
pub use tail::Tails;
use write_timeout::WriteTimeout;

/// What its socket is called where sockets are handed over; no listener can have this name.
pub const SOCKET: &str = "[admin]";
/// Admin connections served at a time; more wait in the kernel.
const MAX_CONNECTIONS: usize = 64;
/// How long an admin client may take for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the acceptor rests when the process is out of descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What the admin address can see and do.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The state it shows.
    pub shared: Arc<Shared>,
    /// Where reloads are asked for.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// Where upgrades are asked for.
    pub upgrades: Upgrades,
    /// The drains under way.
    pub drains: Drains,
    /// What the last minutes were like.
    pub history: History,
    /// The last reloads.
    pub reload_log: ReloadLog,
    /// The dashboards that watch.
    pub watchers: Watchers,
    /// Those who watch one session.
    pub tails: Tails,
    /// Whether only this machine reaches it.
    pub is_local: bool,
}

/// Serves the admin address until another process does, and then to the last answer that is owed.
pub async fn serve(listener: ControlListener, admin: Admin) {
    let mut observing = JoinSet::new();
    observing.spawn(live::observe(admin.clone()));
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let (stream, place) = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = admin.shared.left() => break,
        };
        while connections.try_join_next().is_some() {}
        let admin = admin.clone();
        connections.spawn(async move {
            attend(stream, admin).await;
            drop(place);
        });
    }
    drop(listener);
    connections.join_all().await;
}

/// The next connection, when there is a place for it.
async fn accept(
    listener: &ControlListener,
    places: &Arc<Semaphore>,
) -> (Socket, OwnedSemaphorePermit) {
    loop {
        let Ok(place) = Arc::clone(places).acquire_owned().await else {
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok(stream) => return (stream, place),
            Err(error) => {
                warn!(%error, "admin: accept failed, resting");
                tokio::time::sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

/// Serves one connection.
async fn attend(stream: Socket, admin: Admin) {
    let shared = Arc::clone(&admin.shared);
    let service = service_fn(move |request| respond(admin.clone(), request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream)), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = shared.left() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "admin connection");
    }
}

async fn respond(admin: Admin, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let need = routes::need(&request);
    let token = admin.shared.snapshot().admin_token.clone();
    Ok(match access::refuse(&request, need, token.as_deref()) {
        None => routes::route(&admin, request).await,
        Some(refused) => refused,
    })
}
