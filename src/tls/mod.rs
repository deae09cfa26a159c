//! From `[listener.NAME.tls]`, and in `upstream.rs` from `[upstream.NAME.tls]`, to a rustls
//! configuration; what is spoken with it, in `stream/`. Opens files, never a socket.

mod certificate;
mod client_auth;
mod error;
mod no_verify;
mod peer;
mod pem;
mod sni;
mod stream;
mod tickets;
pub mod upstream;
mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

use crate::config::model::{Tls, TlsVersion};

pub use error::Error;
pub use no_verify::NoVerify;
pub use peer::certificate as peer_certificate;
pub use pem::{public_key, secret};
pub use stream::TlsStream;
pub use tickets::ticketer;
pub use words::{InWords, is_no_tls};

/// What is spoken inside, on both legs; who speaks only other protocols is refused (RFC 7301).
const PROTOCOLS: [&[u8]; 1] = [b"http/1.1"];

/// Reads every file that the table names and builds the listener's configuration.
///
/// `ticketer` is the process's one [`ticketer`]: sessions resume on any worker, and across reloads
/// as long as the listener's rules for client certificates stay as they were.
///
/// # Errors
/// Everything that is wrong with the files, not only the first thing.
pub fn build(
    tls: &Tls,
    ticketer: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, Vec<Error>> {
    build_at(tls, ticketer, SystemTime::now())
}

fn build_at(
    tls: &Tls,
    ticketer: Arc<dyn ProducesTickets>,
    now: SystemTime,
) -> Result<Arc<ServerConfig>, Vec<Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut errors = Vec::new();
    let mut resolver = sni::Resolver::default();
    for certificate in &tls.certificates {
        match certificate::load(certificate, &provider, now) {
            Ok(certificate) => resolver.add(certificate),
            Err(found) => errors.extend(found),
        }
    }
    let verifier = client_auth::load(tls, &provider)
        .map_err(|error| errors.push(error))
        .ok()
        .filter(|_| errors.is_empty());
    let Some(verifier) = verifier else {
        return Err(errors);
    };

    let mut config = builder(provider, tls.min_version)
        .map_err(|source| vec![Error::Provider { source }])?
        .with_client_cert_verifier(verifier.verifier)
        .with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // Tickets carry the whole state, so nothing is held for clients that may never return.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = tickets::bound_to(verifier.policy, ticketer);
    Ok(Arc::new(config))
}

fn builder(
    provider: Arc<CryptoProvider>,
    min_version: TlsVersion,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, rustls::Error> {
    let versions: &[&SupportedProtocolVersion] = match min_version {
        TlsVersion::V1_2 => &[&TLS13, &TLS12],
        TlsVersion::V1_3 => &[&TLS13],
    };
    ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)
}

/// Who may issue the certificates that are believed.
fn root_store(file: &Path, roots: Vec<CertificateDer<'static>>) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store
            .add(root)
            .map_err(|error| Error::MalformedCertificate {
                file: file.into(),
                cause: error.to_string(),
            })?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests;
