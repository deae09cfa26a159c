//! From a configuration to a snapshot that is ready to be put in force. Changes nothing: whatever
//! fails here leaves the process as it was.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::ProducesTickets;

use crate::config::Config;
use crate::config::model::ServerAddress;
use crate::state::Snapshot;
use crate::state::server::Servers;
use crate::telemetry::Metrics;
use crate::tls;

use super::resolve::resolve;

/// Builds the snapshot of `config`: certificates loaded, names looked up, servers adopted.
///
/// # Errors
/// Every certificate that can't be used.
pub async fn prepare(
    config: Config,
    before: Option<&Snapshot>,
    ticketer: &Arc<dyn ProducesTickets>,
    metrics: &Metrics,
    servers: &Servers,
) -> Result<Arc<Snapshot>, CertificateErrors> {
    let tls = certificates(&config, ticketer)?;
    let snapshot = Snapshot::build(Arc::new(config), &tls, before, metrics);
    for (name, upstream) in &snapshot.upstreams {
        let old = before.and_then(|before| before.upstreams.get(name));
        let known =
            |address: &ServerAddress| old.map(|old| old.addresses_of(address)).unwrap_or_default();
        let resolved = resolve(&upstream.settings, known).await;
        upstream.set_members(&resolved, servers);
    }
    Ok(Arc::new(snapshot))
}

/// Loads the certificates of every listener.
///
/// # Errors
/// Every certificate that can't be used.
pub fn certificates(
    config: &Config,
    ticketer: &Arc<dyn ProducesTickets>,
) -> Result<HashMap<Arc<str>, Arc<ServerConfig>>, CertificateErrors> {
    let mut built = HashMap::new();
    let mut errors = Vec::new();
    for listener in &config.listeners {
        let Some(settings) = &listener.tls else {
            continue;
        };
        match tls::build(settings, Arc::clone(ticketer)) {
            Ok(config) => {
                built.insert(Arc::clone(&listener.name), config);
            }
            Err(found) => {
                errors.extend(
                    found
                        .into_iter()
                        .map(|error| (Arc::clone(&listener.name), error)),
                );
            }
        }
    }
    if errors.is_empty() {
        Ok(built)
    } else {
        Err(CertificateErrors(errors))
    }
}

/// Everything that is wrong with the listeners' certificates; a line each.
#[derive(Debug)]
pub struct CertificateErrors(Vec<(Arc<str>, tls::Error)>);

impl Error for CertificateErrors {}

impl fmt::Display for CertificateErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (listener, error)) in self.0.iter().enumerate() {
            let line_end = if number == 0 { "" } else { "\n" };
            write!(f, "{line_end}listener.{listener}.tls: {error}")?;
            let mut cause = error.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
        }
        Ok(())
    }
}
