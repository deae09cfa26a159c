//! Who sends a request, by a proof that the request itself carries. A method is a file, a [`Kind`]
//! and its arm in [`build`].

mod claims;
pub mod jwt;
pub mod signature;
pub mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::request::{Framing, Request};
use super::websocket::handshake::Offer;
use signature::{Key, KeyFault};

pub use source::Source;

/// The methods there are, each with what it goes by.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A JSON Web Token, signed with this key.
    Jwt(Arc<jwt::Terms>, Key),
}

/// A method, ready to judge requests.
pub trait Method: fmt::Debug + Send + Sync {
    /// Takes the proof out of the request, so that nobody behind us sees it, and judges it. Time
    /// counts from the Unix epoch.
    ///
    /// # Errors
    /// Why the request may not come in.
    fn identify(
        &self,
        request: &mut Request,
        offer: Option<&mut Offer>,
        now: Duration,
    ) -> Result<Identity, TokenFault>;
}

/// Whom a proof names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The user, where the proof names one.
    pub user: Option<Arc<str>>,
    /// When a WebSocket opened with it ends, since the Unix epoch.
    pub until: Option<Duration>,
}

/// Why a token does not let its bearer in. Nothing of the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum TokenFault {
    #[error("token missing")]
    Missing,
    #[error("token given more than once")]
    Ambiguous,
    #[error("token too large")]
    TooLarge,
    #[error("token malformed")]
    Malformed,
    #[error("token algorithm refused")]
    Algorithm,
    #[error("token has critical extensions")]
    Critical,
    #[error("token signature wrong")]
    Signature,
    #[error("token expired")]
    Expired,
    #[error("token has no exp")]
    Endless,
    #[error("token not valid yet")]
    Early,
    #[error("token of another issuer")]
    Issuer,
    #[error("token for another audience")]
    Audience,
}

/// Makes a method ready.
///
/// # Errors
/// When key and method do not fit each other.
pub fn build(kind: Kind) -> Result<Arc<dyn Method>, KeyFault> {
    match kind {
        Kind::Jwt(terms, key) => Ok(Arc::new(jwt::Jwt::new(terms, &key)?)),
    }
}

/// Whom the request comes from, by what its route asks for.
///
/// # Errors
/// Why it may not come in.
pub fn identify(
    method: Option<&dyn Method>,
    request: &mut Request,
    offer: Option<&mut Offer>,
    now: Duration,
) -> Result<Identity, TokenFault> {
    match method {
        Some(method) => method.identify(request, offer, now),
        None => Ok(Identity::default()),
    }
}

/// Whether a browser asks what it may ask (Fetch, "CORS-preflight request"). It never shows
/// credentials then, so that nothing can be asked of it.
pub fn is_preflight(request: &Request) -> bool {
    let fields = request.head().fields();
    request.method() == "OPTIONS"
        && request.framing() == Framing::None
        && fields.contains("origin")
        && fields.contains("access-control-request-method")
}
