//! Who may come in by certificate.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use sha1::{Digest, Sha1};

use super::tickets::Policy;
use super::{Error, pem, root_store};
use crate::config::model::{ClientAuth, Tls};

/// A verifier with the fingerprint of its policy.
pub(super) struct Verifier {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) policy: Policy,
}

/// The verifier that the table asks for.
pub(super) fn load(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Verifier, Error> {
    let (ca, compulsory) = match &tls.client_auth {
        ClientAuth::Off => {
            let verifier = WebPkiClientVerifier::no_client_auth();
            return Ok(Verifier {
                verifier,
                policy: fingerprint("off", &[], &[]),
            });
        }
        ClientAuth::Optional { ca } => (ca, false),
        ClientAuth::Require { ca } => (ca, true),
    };
    let roots = pem::certificates(ca)?;
    let crls = tls
        .client_crl
        .as_deref()
        .map(pem::revocations)
        .transpose()?;
    let crls = crls.unwrap_or_default();
    let mode = if compulsory { "require" } else { "optional" };
    let policy = fingerprint(mode, &roots, &crls);
    let store = Arc::new(root_store(ca, roots)?);
    let builder = WebPkiClientVerifier::builder_with_provider(store, Arc::clone(provider));
    // A list that is out of date says nothing of who was revoked since.
    let builder = builder.with_crls(crls).enforce_revocation_expiration();
    let builder = if compulsory {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    let verifier = builder.build().map_err(|source| match &tls.client_crl {
        Some(crl) if matches!(source, VerifierBuilderError::InvalidCrl(_)) => Error::ClientCrl {
            file: crl.clone(),
            source,
        },
        _ => Error::ClientCa {
            file: ca.clone(),
            source,
        },
    })?;
    Ok(Verifier { verifier, policy })
}

/// Tells policies apart and no more: it travels inside the encrypted ticket. What was revoked since
/// a ticket was issued makes another policy, so that it does not let anybody in.
fn fingerprint(
    mode: &str,
    roots: &[CertificateDer<'_>],
    crls: &[CertificateRevocationListDer<'_>],
) -> Policy {
    let start = Sha1::new().chain_update(mode);
    let hash = roots
        .iter()
        .fold(start, |hash, root| hash.chain_update(root));
    let hash = crls.iter().fold(hash, |hash, crl| hash.chain_update(crl));
    hash.finalize().into()
}
