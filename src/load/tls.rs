//! How the generator speaks TLS.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::connection::TlsClient;
use super::plan::{Target, TlsOptions};
use super::tls_sessions::Sessions;

/// Why TLS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The roots can't be read.
    #[error("{} can't be read", file.display())]
    Roots {
        /// Where they should be.
        file: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file holds no roots.
    #[error("{} holds no certificate", file.display())]
    Empty {
        /// Which.
        file: PathBuf,
    },
    /// The system has no roots.
    #[error("the system has no root certificates (use --ca FILE, or --tls-insecure)")]
    NoRoots,
    /// The host's name can't stand in a certificate.
    #[error("{host} is not a name that a certificate could have")]
    Name {
        /// The host.
        host: String,
        /// Why.
        source: InvalidDnsNameError,
    },
    /// The library refuses its own defaults.
    #[error("TLS can't be set up")]
    Setup {
        /// Why.
        #[from]
        source: rustls::Error,
    },
}

/// What one thread's so many clients need towards the target; `None` for a plain one.
pub(super) fn client(
    target: &Target,
    options: &TlsOptions,
    clients: usize,
) -> Result<Option<TlsClient>, TlsError> {
    if !target.secure {
        return Ok(None);
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = match &options.verifier {
        Some(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(verifier)),
        None => builder.with_root_certificates(roots(options.ca.as_ref())?),
    }
    .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = match options.resume {
        true => Resumption::store(Arc::new(Sessions::new(clients))),
        false => Resumption::disabled(),
    };
    let name = ServerName::try_from(target.host.clone()).map_err(|source| TlsError::Name {
        host: target.host.clone(),
        source,
    })?;
    Ok(Some(TlsClient {
        config: Arc::new(config),
        name,
    }))
}

fn roots(file: Option<&PathBuf>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return match store.is_empty() {
            true => Err(TlsError::NoRoots),
            false => Ok(store),
        };
    };
    let unreadable = |source| TlsError::Roots {
        file: file.clone(),
        source,
    };
    for root in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        store.add(root.map_err(unreadable)?)?;
    }
    match store.is_empty() {
        true => Err(TlsError::Empty { file: file.clone() }),
        false => Ok(store),
    }
}
