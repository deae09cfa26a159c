//! One certificate chain with its key: loaded, and held against each other and the calendar.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::{Error, pem};
use crate::config::model::Certificate;

/// A chain that can be shown, with the DNS names it is good for.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) key: Arc<CertifiedKey>,
    /// In lower case, wildcards as they are written.
    pub(super) names: Vec<String>,
}

/// Reads chain and key and checks all that would make clients refuse them.
pub(super) fn load(
    certificate: &Certificate,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Loaded, Vec<Error>> {
    let chain = load_chain(&certificate.cert, now);
    let key = load_key(&certificate.key, provider);
    match (chain, key) {
        (Ok((chain, names)), Ok(key)) => {
            let key = CertifiedKey::new(chain, key);
            check_match(certificate, &key).map_err(|error| vec![error])?;
            Ok(Loaded {
                key: Arc::new(key),
                names,
            })
        }
        (chain, key) => Err([chain.err(), key.err()].into_iter().flatten().collect()),
    }
}

fn load_chain(
    file: &Path,
    now: SystemTime,
) -> Result<(Vec<CertificateDer<'static>>, Vec<String>), Error> {
    let chain = pem::certificates(file)?;
    let names = check_leaf(file, &chain[0], now)?;
    Ok((chain, names))
}

fn load_key(file: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, Error> {
    let key = pem::private_key(file)?;
    provider
        .key_provider
        .load_private_key(key)
        .map_err(|source| Error::UnusableKey {
            file: file.into(),
            source,
        })
}

fn check_match(certificate: &Certificate, key: &CertifiedKey) -> Result<(), Error> {
    match key.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::KeyMismatch {
            cert: certificate.cert.clone(),
            key: certificate.key.clone(),
        }),
        Err(error) => Err(Error::MalformedCertificate {
            file: certificate.cert.clone(),
            cause: error.to_string(),
        }),
    }
}

/// The names of the certificate that clients verify, unless it has expired.
///
/// One that is not valid yet passes: its issuer's clock may be ahead of ours.
fn check_leaf(
    file: &Path,
    leaf: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<Vec<String>, Error> {
    let malformed = |cause: String| Error::MalformedCertificate {
        file: file.into(),
        cause,
    };
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|error| malformed(error.to_string()))?;
    let not_after = leaf.validity().not_after;
    if seconds_since_epoch(now) > not_after.timestamp() {
        return Err(Error::Expired {
            file: file.into(),
            expired: not_after.to_string(),
        });
    }
    let names = leaf
        .subject_alternative_name()
        .map_err(|error| malformed(error.to_string()))?;
    Ok(names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect())
}

fn seconds_since_epoch(now: SystemTime) -> i64 {
    let elapsed = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
