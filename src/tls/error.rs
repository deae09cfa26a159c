//! What can be wrong with certificates, keys and roots, each with the file to look at.

use std::io;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem;
use rustls::server::VerifierBuilderError;

/// A file that TLS needs and cannot use. The operator is to blame, and told how to go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Missing, or not ours to read.
    #[error("{} can't be read", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory, a pipe or a device.
    #[error("{} is not a regular file", file.display())]
    NotAFile {
        /// Which.
        file: PathBuf,
    },
    /// Larger than any chain or list of roots.
    #[error("{} is larger than {limit_bytes} bytes", file.display())]
    TooLarge {
        /// Which.
        file: PathBuf,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// Cut off or garbled.
    #[error("{} is not whole PEM", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// Where it breaks.
        source: pem::Error,
    },
    /// No CERTIFICATE section.
    #[error("{} holds no certificate (write a PEM file with a CERTIFICATE section)", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// No X509 CRL section.
    #[error("{} holds no revocation list (write a PEM file with an X509 CRL section, of every authority one)", file.display())]
    NoRevocations {
        /// Which.
        file: PathBuf,
    },
    /// A revocation list that can't be used.
    #[error("{} holds a malformed revocation list", file.display())]
    ClientCrl {
        /// Which.
        file: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// No private key section.
    #[error("{} holds no private key (write a PEM file with a PRIVATE KEY section)", file.display())]
    NoKey {
        /// Which.
        file: PathBuf,
    },
    /// No public key section.
    #[error("{} holds no public key (write a PEM file with a PUBLIC KEY section: openssl pkey -in KEY -pubout, or openssl x509 -in CERT -noout -pubkey)", file.display())]
    NoPublicKey {
        /// Which.
        file: PathBuf,
    },
    /// The key wants a passphrase, and nobody is there to type it.
    #[error("{} is encrypted (remove the passphrase: openssl pkey -in ENCRYPTED -out KEY)", file.display())]
    EncryptedKey {
        /// Which.
        file: PathBuf,
    },
    /// A key of a kind that TLS here does not use.
    #[error("{} is not a usable key (use RSA from 2048 bits, ECDSA P-256/P-384/P-521 or Ed25519)", file.display())]
    UnusableKey {
        /// Which.
        file: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// Good PEM around a bad certificate.
    #[error("{} holds a malformed certificate: {cause}", file.display())]
    MalformedCertificate {
        /// Which.
        file: PathBuf,
        /// Where it breaks.
        cause: String,
    },
    /// The key belongs to another certificate.
    #[error("{} is not the key of the first certificate in {}", key.display(), cert.display())]
    KeyMismatch {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Its time has passed.
    #[error("{} expired on {expired}", file.display())]
    Expired {
        /// Which.
        file: PathBuf,
        /// When.
        expired: String,
    },
    /// Roots that can't verify anybody.
    #[error("{} can't verify clients", file.display())]
    ClientCa {
        /// Which.
        file: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// There is nobody to believe.
    #[error("the system has no root certificates (write ca = \"FILE\")")]
    NoSystemRoots,
    /// The cryptographic library lacks what it was built to have.
    #[error("TLS can't be set up")]
    Provider {
        /// Why.
        source: rustls::Error,
    },
}

impl Error {
    /// The file to look at; empty when it is none.
    pub fn file(&self) -> &Path {
        match self {
            Self::Unreadable { file, .. }
            | Self::NotAFile { file }
            | Self::TooLarge { file, .. }
            | Self::Pem { file, .. }
            | Self::NoCertificate { file }
            | Self::NoRevocations { file }
            | Self::ClientCrl { file, .. }
            | Self::NoKey { file }
            | Self::NoPublicKey { file }
            | Self::EncryptedKey { file }
            | Self::UnusableKey { file, .. }
            | Self::MalformedCertificate { file, .. }
            | Self::KeyMismatch { key: file, .. }
            | Self::Expired { file, .. }
            | Self::ClientCa { file, .. } => file,
            Self::NoSystemRoots | Self::Provider { .. } => Path::new(""),
        }
    }
}
