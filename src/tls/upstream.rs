//! From `[upstream.NAME.tls]` to a rustls configuration: whom we believe, and who we say we are.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::ResolvesClientCert;
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use sha1::{Digest, Sha1};

use super::{Error, NoVerify, PROTOCOLS, certificate, pem, root_store};
use crate::config::model::UpstreamTls;

/// Tells apart what configurations are built from: two that are alike share their sessions.
pub type Fingerprint = [u8; 20];

/// The system's roots, read when the first upstream wants them.
#[derive(Debug, Default)]
pub struct SystemRoots(OnceCell<Arc<RootCertStore>>);

/// Reads every file that the table names and builds the upstream's configuration.
///
/// # Errors
/// Everything that is wrong with the files, not only the first thing.
pub fn build(
    tls: &UpstreamTls,
    system: &SystemRoots,
) -> Result<(ClientConfig, Fingerprint), Vec<Error>> {
    build_at(tls, system, SystemTime::now())
}

pub(super) fn build_at(
    tls: &UpstreamTls,
    system: &SystemRoots,
    now: SystemTime,
) -> Result<(ClientConfig, Fingerprint), Vec<Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut sources = Sha1::new();
    let mut errors = Vec::new();
    let believing = believing(tls, system, &provider, &mut sources)
        .map_err(|error| errors.push(error))
        .ok();
    let identity = (tls.client_certificate.as_ref())
        .map(|pair| certificate::load(pair, &provider, now))
        .transpose()
        .map_err(|found| errors.extend(found))
        .ok();
    let (Some(believing), Some(identity)) = (believing, identity) else {
        return Err(errors);
    };
    let mut config = match identity {
        None => believing.with_no_client_auth(),
        Some(identity) => {
            // The key goes with its certificate: they were held against each other.
            for certificate in &identity.key.cert {
                sources.update(certificate);
            }
            let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(identity.key));
            believing.with_client_cert_resolver(shown)
        }
    };
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok((config, sources.finalize().into()))
}

/// The first half of a configuration: which servers it believes.
fn believing(
    tls: &UpstreamTls,
    system: &SystemRoots,
    provider: &Arc<CryptoProvider>,
    sources: &mut Sha1,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Provider { source })?;
    if tls.insecure {
        sources.update("insecure");
        let verifier = Arc::new(NoVerify::new(Arc::clone(provider)));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier));
    }
    let roots = match &tls.ca {
        Some(file) => roots_of(file)?,
        None => system.roots()?,
    };
    for root in &roots.roots {
        sources.update(&root.subject);
        sources.update(&root.subject_public_key_info);
    }
    Ok(builder.with_root_certificates(roots))
}

fn roots_of(file: &Path) -> Result<Arc<RootCertStore>, Error> {
    root_store(file, pem::certificates(file)?).map(Arc::new)
}

impl SystemRoots {
    fn roots(&self) -> Result<Arc<RootCertStore>, Error> {
        if let Some(roots) = self.0.get() {
            return Ok(Arc::clone(roots));
        }
        let mut roots = RootCertStore::empty();
        // A system has hundreds; some of them are always odd.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(Error::NoSystemRoots);
        }
        Ok(Arc::clone(self.0.get_or_init(|| Arc::new(roots))))
    }
}
