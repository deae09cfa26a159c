//! Session tickets: one ticketer per process, its tickets bound to who issued them.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// The process's ticketer: keys of six hours, those before them still accepted.
///
/// # Errors
/// When the system gives no randomness.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    Ticketer::new()
}

/// What a listener asks of client certificates, as a fingerprint.
pub(super) type Policy = [u8; 20];

/// Binds tickets to a policy.
///
/// rustls resumes any ticket that decrypts and does not ask again for a client certificate: a
/// ticket from a listener that asks for none would open one that requires one.
pub(super) fn bound_to(policy: Policy, ticketer: Arc<dyn ProducesTickets>) -> Arc<Bound> {
    Arc::new(Bound { policy, ticketer })
}

#[derive(Debug)]
pub(super) struct Bound {
    policy: Policy,
    ticketer: Arc<dyn ProducesTickets>,
}

impl ProducesTickets for Bound {
    fn enabled(&self) -> bool {
        self.ticketer.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.ticketer.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.ticketer.encrypt(&[&self.policy, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let mut plain = self.ticketer.decrypt(cipher)?;
        if !plain.starts_with(&self.policy) {
            return None;
        }
        plain.drain(..self.policy.len());
        Some(plain)
    }
}
