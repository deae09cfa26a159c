//! Which certificate a client is shown: by the name it asks for, else the first.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Loaded;

/// The certificates of one listener, in file order.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    all: Vec<Arc<CertifiedKey>>,
    exact: ByName,
    /// By what follows the `*.`.
    wildcard: ByName,
}

type ByName = HashMap<String, Vec<Arc<CertifiedKey>>>;

impl Resolver {
    pub(super) fn add(&mut self, certificate: Loaded) {
        for name in certificate.names {
            let (map, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.to_owned()),
                None => (&mut self.exact, name),
            };
            map.entry(name)
                .or_default()
                .push(Arc::clone(&certificate.key));
        }
        self.all.push(certificate.key);
    }

    /// The certificates that suit the name, best first; those of other names come last.
    fn candidates(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let name = name.map(|name| name.strip_suffix('.').unwrap_or(name));
        // RFC 6125 s6.4.3: a wildcard stands for exactly one label.
        let parent = name
            .and_then(|name| name.split_once('.'))
            .map(|(_, parent)| parent);
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        exact.into_iter().chain(wildcard).flatten().chain(&self.all)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        // One name may have an ECDSA and an RSA certificate; not every client takes both.
        self.candidates(name.as_deref())
            .find(|key| key.key.choose_scheme(hello.signature_schemes()).is_some())
            .cloned()
    }
}
