//! Who may come in by certificate.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha1::{Digest, Sha1};

use super::tickets::Policy;
use super::{Error, pem, root_store};
use crate::config::model::ClientAuth;

/// A verifier with the fingerprint of its policy.
pub(super) struct Verifier {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) policy: Policy,
}

/// The verifier that the table asks for.
pub(super) fn load(
    client_auth: &ClientAuth,
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, Error> {
    let (ca, compulsory) = match client_auth {
        ClientAuth::Off => {
            let verifier = WebPkiClientVerifier::no_client_auth();
            return Ok(Verifier {
                verifier,
                policy: fingerprint("off", &[]),
            });
        }
        ClientAuth::Optional { ca } => (ca, false),
        ClientAuth::Require { ca } => (ca, true),
    };
    let roots = pem::certificates(ca)?;
    let policy = fingerprint(if compulsory { "require" } else { "optional" }, &roots);
    let store = Arc::new(root_store(ca, roots)?);
    let builder = WebPkiClientVerifier::builder_with_provider(store, Arc::clone(provider));
    let builder = if compulsory {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let verifier = builder.build().map_err(|source| Error::ClientCa {
        file: ca.clone(),
        source,
    })?;
    Ok(Verifier { verifier, policy })
}

/// Tells policies apart and no more: it travels inside the encrypted ticket.
fn fingerprint(mode: &str, roots: &[CertificateDer<'_>]) -> Policy {
    let start = Sha1::new().chain_update(mode);
    roots
        .iter()
        .fold(start, |hash, root| hash.chain_update(root))
        .finalize()
        .into()
}
