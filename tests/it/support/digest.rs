//! SHA-256 over what passes by: two ends that saw the same bytes agree.

use std::fmt;

use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::hash::Context;

/// The hash of the bytes added so far.
pub struct Digest(Box<dyn Context>);

/// A finished hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Sum(Vec<u8>);

impl Digest {
    /// Of nothing.
    pub fn new() -> Self {
        let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite");
        Self(suite.common.hash_provider.start())
    }

    /// Of these bytes.
    pub fn of(bytes: &[u8]) -> Sum {
        let mut digest = Self::new();
        digest.add(bytes);
        digest.sum()
    }

    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash.
    pub fn sum(self) -> Sum {
        Sum(self.0.finish().as_ref().to_vec())
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[test]
fn the_digest_is_that_of_the_standard() {
    let mut digest = Digest::new();
    digest.add(b"a");
    digest.add(b"bc");
    let sum = digest.sum();
    assert_eq!(sum, Digest::of(b"abc"));
    // FIPS 180-4, appendix B.1.
    let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(format!("{sum:?}"), expected);
}
