//! Certificates and keys out of PEM files, read within a bound.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, SubjectPublicKeyInfoDer,
};

use super::Error;

/// The bundle of all public roots is a quarter of this.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Every certificate of the file, in its order; at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let text = read(file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Pem {
            file: file.into(),
            source,
        })?;
    if certificates.is_empty() {
        return Err(Error::NoCertificate { file: file.into() });
    }
    Ok(certificates)
}

/// Every revocation list of the file, in its order; at least one.
pub(super) fn revocations(
    file: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let text = read(file)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let lists = lists.map_err(|source| Error::Pem {
        file: file.into(),
        source,
    })?;
    if lists.is_empty() {
        return Err(Error::NoRevocations { file: file.into() });
    }
    Ok(lists)
}

/// The first private key of the file.
pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    let text = read(file)?;
    if is_encrypted(&text) {
        return Err(Error::EncryptedKey { file: file.into() });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => Error::NoKey { file: file.into() },
        source => Error::Pem {
            file: file.into(),
            source,
        },
    })
}

/// The first public key of the file, as SubjectPublicKeyInfo.
///
/// # Errors
/// Why there is none.
pub fn public_key(file: &Path) -> Result<Vec<u8>, Error> {
    let text = read(file)?;
    let key = SubjectPublicKeyInfoDer::from_pem_slice(&text);
    key.map(|key| key.to_vec()).map_err(|source| match source {
        pem::Error::NoItemsFound => Error::NoPublicKey { file: file.into() },
        source => Error::Pem {
            file: file.into(),
            source,
        },
    })
}

/// A file that is a secret; a line end behind it is no part of it.
///
/// # Errors
/// Why it can't be read.
pub fn secret(file: &Path) -> Result<Vec<u8>, Error> {
    let mut secret = read(file)?;
    for end in [b'\n', b'\r'] {
        if secret.last() == Some(&end) {
            secret.pop();
        }
    }
    Ok(secret)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |source: io::Error| Error::Unreadable {
        file: file.into(),
        source,
    };
    // Opening a pipe would wait for its writer.
    if !fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(Error::NotAFile { file: file.into() });
    }
    let mut text = Vec::new();
    let mut limited = File::open(file)
        .map_err(unreadable)?
        .take(MAX_FILE_BYTES + 1);
    let length = limited.read_to_end(&mut text).map_err(unreadable)?;
    if u64::try_from(length).is_ok_and(|length| length <= MAX_FILE_BYTES) {
        Ok(text)
    } else {
        Err(Error::TooLarge {
            file: file.into(),
            limit_bytes: MAX_FILE_BYTES,
        })
    }
}

/// PKCS #8 says so in its label, the older kinds in a field below it (RFC 1421).
fn is_encrypted(text: &[u8]) -> bool {
    let holds = |mark: &[u8]| memchr::memmem::find(text, mark).is_some();
    holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED")
}
