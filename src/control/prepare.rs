//! From a configuration to a snapshot that is ready to be put in force. Changes nothing: whatever
//! fails here leaves the process as it was.

use std::io;
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use rustls::server::ProducesTickets;

use crate::config::model::{AccessLog, ServerAddress};
use crate::config::{Config, Errors};
use crate::state::Snapshot;
use crate::state::admin_token::AdminToken;
use crate::state::backend_tls::BackendTls;
use crate::state::servers::Servers;
use crate::state::snapshot::{Credentials, TlsConfigs};
use crate::telemetry::Metrics;
use crate::telemetry::access::Sink;
use crate::tls;

use super::keys::methods;
use super::reload::Refused;
use super::resolve::resolve;

/// Builds the snapshot of `config`: certificates loaded, names looked up, servers adopted.
///
/// # Errors
/// Certificates that can't be used; at a reload, an upstream that would be left without a server.
pub async fn prepare(
    config: Config,
    before: Option<&Snapshot>,
    ticketer: &Arc<dyn ProducesTickets>,
    metrics: &Metrics,
    servers: &Servers,
) -> Result<Arc<Snapshot>, Refused> {
    let credentials = credentials(&config, before, ticketer)?;
    let snapshot = Snapshot::build(Arc::new(config), &credentials, before, metrics, servers);
    let look_ups = snapshot.upstreams.iter().map(async |(name, upstream)| {
        let old = before.and_then(|before| before.upstreams.get(name));
        let known =
            |address: &ServerAddress| old.map(|old| old.addresses_of(address)).unwrap_or_default();
        (upstream, resolve(&upstream.settings, known).await)
    });
    for (upstream, resolved) in join_all(look_ups).await {
        // A start goes on and serves 503 until the name is there; a reload has something to lose.
        if before.is_some() && resolved.iter().all(|(_, addresses)| addresses.is_empty()) {
            return Err(Refused::Unresolved(Arc::clone(&upstream.settings.name)));
        }
        upstream.set_members(&resolved, servers, Instant::now());
    }
    Ok(Arc::new(snapshot))
}

/// Loads what the proxy proves itself with and what it checks others with: certificates, keys and
/// roots of every listener, upstream and route. An upstream whose are those of `before` goes on with
/// its sessions.
///
/// # Errors
/// Every file that can't be used, at the key that names it.
pub fn credentials(
    config: &Config,
    before: Option<&Snapshot>,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<Credentials, Errors> {
    let tls = certificates(config, before, ticketer);
    match (tls, methods(config), admin_token(config)) {
        (Ok(tls), Ok(methods), Ok(admin_token)) => Ok(Credentials {
            tls,
            methods,
            admin_token,
        }),
        (tls, methods, token) => Err(Errors::all([tls.err(), methods.err(), token.err()])),
    }
}

fn admin_token(config: &Config) -> Result<Option<Arc<AdminToken>>, Errors> {
    let Some(file) = &config.admin.token_file else {
        return Ok(None);
    };
    match AdminToken::read(file) {
        Ok(token) => Ok(Some(Arc::new(token))),
        Err(error) => {
            let what = format!("can't be read: {error}");
            Err(iter::once(config.provenance.problem_with_file(file, what)).collect())
        }
    }
}

/// Opens the access log's target.
///
/// # Errors
/// Why it can't be written, at the key that names it.
pub fn access_log(config: &Config) -> Result<Sink, Errors> {
    Sink::open(&config.log.access).map_err(|error| unwritable(config, &error))
}

/// Whether [`access_log`] would work, as far as that shows without making a file.
///
/// # Errors
/// As there.
pub fn check_access_log(config: &Config) -> Result<(), Errors> {
    Sink::check(&config.log.access).map_err(|error| unwritable(config, &error))
}

fn certificates(
    config: &Config,
    before: Option<&Snapshot>,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<TlsConfigs, Errors> {
    let mut built = TlsConfigs::default();
    let mut problems = Vec::new();
    let problem = |error: &tls::Error| config.provenance.problem_with_error(error.file(), error);
    for listener in &config.listeners {
        let Some(settings) = &listener.tls else {
            continue;
        };
        match tls::build(settings, Arc::clone(ticketer)) {
            Ok(config) => {
                built.listeners.insert(Arc::clone(&listener.name), config);
            }
            Err(errors) => problems.extend(errors.iter().map(problem)),
        }
    }
    let system = tls::upstream::SystemRoots::default();
    for upstream in &config.upstreams {
        let Some(settings) = &upstream.tls else {
            continue;
        };
        match tls::upstream::build(settings, &system) {
            Ok((config, fingerprint)) => {
                let old = before.and_then(|before| before.upstreams.get(&upstream.name)?.tls());
                let old = old.filter(|old| old.is_of(fingerprint)).cloned();
                let tls = old.unwrap_or_else(|| Arc::new(BackendTls::new(config, fingerprint)));
                built.upstreams.insert(Arc::clone(&upstream.name), tls);
            }
            Err(errors) => problems.extend(errors.iter().map(problem)),
        }
    }
    if problems.is_empty() {
        Ok(built)
    } else {
        Err(problems.into_iter().collect())
    }
}

fn unwritable(config: &Config, error: &io::Error) -> Errors {
    let path = match &config.log.access {
        AccessLog::File(path) => path.as_path(),
        AccessLog::Off | AccessLog::Stdout => Path::new("standard output"),
    };
    let what = format!("can't be written: {error}");
    let problem = config.provenance.problem_with_file(path, what);
    iter::once(problem).collect()
}
