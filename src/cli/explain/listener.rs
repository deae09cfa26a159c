//! Which listener takes a request.

use std::sync::Arc;

use thiserror::Error;

use crate::config::Config;
use crate::config::model::Listener;
use crate::logic::endpoint::Endpoint;
use crate::logic::request::Scheme;

use super::sample_request::SampleRequest;

/// Where a request comes in.
#[derive(Debug)]
pub(super) struct ListenerMatch {
    /// The listener.
    pub(super) listener: Arc<Listener>,
    /// Why this one.
    pub(super) why: String,
}

/// Why none is found.
#[derive(Debug, Error)]
pub(super) enum NoListener {
    #[error("no listener {name} (there are: {all})")]
    Unknown { name: String, all: String },
    #[error("{count} listeners take {scheme} on port {port}: say with --listener which ({all})")]
    Ambiguous {
        count: usize,
        scheme: &'static str,
        port: u16,
        all: String,
    },
    #[error(
        "no listener takes {scheme} on port {port}: say with --listener which is meant ({all})"
    )]
    None {
        scheme: &'static str,
        port: u16,
        all: String,
    },
}

/// The named listener, or the one that fits scheme and port; where the port fits none, the only
/// one that speaks the scheme, as behind a port mapping.
pub(super) fn find(
    config: &Config,
    sample: &SampleRequest,
    name: Option<&str>,
) -> Result<ListenerMatch, NoListener> {
    let all = || names(&config.listeners);
    if let Some(name) = name {
        let named = config
            .listeners
            .iter()
            .find(|listener| *listener.name == *name);
        let listener = named.cloned().ok_or_else(|| NoListener::Unknown {
            name: name.to_owned(),
            all: all(),
        })?;
        let why = "named by --listener".to_owned();
        return Ok(ListenerMatch { listener, why });
    }
    let (scheme, port) = (sample.scheme.word(), sample.port);
    let speaks =
        |listener: &&Arc<Listener>| listener.tls.is_some() == (sample.scheme == Scheme::Https);
    let speaking: Vec<_> = config.listeners.iter().filter(speaks).collect();
    let fitting: Vec<_> = speaking
        .iter()
        .filter(|listener| binds(listener, port))
        .collect();
    match (fitting.as_slice(), speaking.as_slice()) {
        ([listener], _) => Ok(ListenerMatch {
            listener: Arc::clone(listener),
            why: format!("takes {scheme} on port {port}"),
        }),
        ([], [listener]) => Ok(ListenerMatch {
            listener: Arc::clone(listener),
            why: format!("the only one that takes {scheme}, though not on port {port}"),
        }),
        ([], _) => Err(NoListener::None {
            scheme,
            port,
            all: all(),
        }),
        (several, _) => Err(NoListener::Ambiguous {
            count: several.len(),
            scheme,
            port,
            all: names(several.iter().copied().copied()),
        }),
    }
}

impl ListenerMatch {
    /// The port that the request comes in on.
    pub(super) fn port(&self, sample: &SampleRequest) -> u16 {
        let own = self.listener.bind.iter().find_map(|bind| match bind {
            Endpoint::Tcp(address) if address.port() != 0 => Some(address.port()),
            _ => None,
        });
        own.filter(|_| !binds(&self.listener, sample.port))
            .unwrap_or(sample.port)
    }
}

fn binds(listener: &Listener, port: u16) -> bool {
    let is_it = |bind: &Endpoint| matches!(bind, Endpoint::Tcp(address) if address.port() == port);
    listener.bind.iter().any(is_it)
}

fn names<'a>(listeners: impl IntoIterator<Item = &'a Arc<Listener>>) -> String {
    let names: Vec<&str> = listeners
        .into_iter()
        .map(|listener| &*listener.name)
        .collect();
    names.join(", ")
}
