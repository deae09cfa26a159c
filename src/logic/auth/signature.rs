//! Signatures of tokens (RFC 7518 section 3): which algorithms there are, and the key that each of
//! them is checked with. A key is bound to its algorithms when it is loaded, so that no token can
//! choose how its signature is read.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    VerificationAlgorithm,
};
use thiserror::Error;

/// `route.auth.jwt.algorithms`: the word that a token's header has as `alg`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What signatures are checked with, as it stands in its file.
#[derive(Clone)]
pub enum Key {
    /// A public key: SubjectPublicKeyInfo in DER.
    Public(Vec<u8>),
    /// A shared secret.
    Secret(Vec<u8>),
}

/// One is a secret, the other tells nobody anything.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public(_) => "Public(..)",
            Self::Secret(_) => "Secret(..)",
        })
    }
}

/// Largest RSA key; checking a signature takes time with its square.
const MAX_RSA_BITS: usize = 8192;

/// A key that an algorithm can't be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("is no key for {}, which takes {}", .0.word(), .0.takes())]
pub struct KeyFault(pub Algorithm);

impl Algorithm {
    /// Every algorithm, in the order of RFC 7518.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::ES256,
        Self::ES384,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::EdDSA,
    ];

    /// The word of the token's header.
    pub const fn word(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// Whether both sides share its key.
    pub const fn is_symmetric(self) -> bool {
        matches!(self.means(), Means::Hmac(_))
    }

    const fn is_rsa(self) -> bool {
        !matches!(self, Self::ES256 | Self::ES384 | Self::EdDSA) && !self.is_symmetric()
    }

    const fn takes(self) -> &'static str {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => "a secret",
            Self::ES256 => "an elliptic curve key on P-256",
            Self::ES384 => "an elliptic curve key on P-384",
            Self::EdDSA => "an Ed25519 key",
            _ => "an RSA key of 2048 to 8192 bits",
        }
    }

    const fn means(self) -> Means {
        match self {
            Self::HS256 => Means::Hmac(hmac::HMAC_SHA256),
            Self::HS384 => Means::Hmac(hmac::HMAC_SHA384),
            Self::HS512 => Means::Hmac(hmac::HMAC_SHA512),
            Self::RS256 => Means::Public(&RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Means::Public(&RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Means::Public(&RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Means::Public(&RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Means::Public(&RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Means::Public(&RSA_PSS_2048_8192_SHA512),
            Self::ES256 => Means::Public(&ECDSA_P256_SHA256_FIXED),
            Self::ES384 => Means::Public(&ECDSA_P384_SHA384_FIXED),
            Self::EdDSA => Means::Public(&ED25519),
        }
    }
}

/// What the cryptographic library calls an algorithm.
enum Means {
    Hmac(hmac::Algorithm),
    Public(&'static dyn VerificationAlgorithm),
}

/// An algorithm with a key that fits it.
pub(super) struct Verifier {
    pub(super) algorithm: Algorithm,
    key: Ready,
}

enum Ready {
    Hmac(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

impl Verifier {
    pub(super) fn new(algorithm: Algorithm, key: &Key) -> Result<Self, KeyFault> {
        let key = match (algorithm.means(), key) {
            (Means::Hmac(means), Key::Secret(secret)) if !secret.is_empty() => {
                Ready::Hmac(Box::new(hmac::Key::new(means, secret)))
            }
            (Means::Public(means), Key::Public(info))
                if !algorithm.is_rsa() || is_rsa_of_good_size(info) =>
            {
                let key = ParsedPublicKey::new(means, info);
                Ready::Public(key.map_err(|_| KeyFault(algorithm))?)
            }
            _ => return Err(KeyFault(algorithm)),
        };
        Ok(Self { algorithm, key })
    }

    /// Whether that is the signature of the message.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            // Compares in constant time.
            Ready::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Ready::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

/// The library looks at the size of an RSA key with each signature, which would fail every token.
fn is_rsa_of_good_size(info: &[u8]) -> bool {
    PublicEncryptingKey::from_der(info).is_ok_and(|key| key.key_size_bits() <= MAX_RSA_BITS)
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verifier").field(&self.algorithm).finish()
    }
}
