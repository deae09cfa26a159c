//! JSON Web Tokens (RFC 7519) in JWS compact form: taken out of the request, checked, and asked
//! whom they name and until when. The signature comes first; nothing unsigned is read but the header.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::claims::Claims;
use super::signature::{Algorithm, Key, KeyFault, Verifier};
use super::source::{self, Source};
use super::{Identity, Method, TokenFault, is_preflight};
use crate::logic::request::Request;
use crate::logic::websocket::handshake::Offer;

/// Largest token; no request head is larger by default.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// How far the issuer's clock may be ahead of ours, for `nbf` and `iat`.
const LEEWAY: Duration = Duration::from_secs(60);

/// `[route.auth.jwt]` without the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// Where a token may stand; the first that has one decides.
    pub from: Vec<Source>,
    /// The signatures that count.
    pub algorithms: Vec<Algorithm>,
    /// What `iss` must be; `None` is anything.
    pub issuer: Option<Arc<str>>,
    /// What `aud` must be or contain; `None` is anything.
    pub audience: Option<Arc<str>>,
    /// The claim that names the user.
    pub user_claim: Arc<str>,
    /// Whether a WebSocket ends with its token.
    pub close_at_expiry: bool,
}

/// The terms with the key they are checked by.
#[derive(Debug)]
pub(super) struct Jwt {
    terms: Arc<Terms>,
    verifiers: Vec<Verifier>,
}

impl Jwt {
    pub(super) fn new(terms: Arc<Terms>, key: &Key) -> Result<Self, KeyFault> {
        let verifiers = terms.algorithms.iter();
        let verifiers = verifiers.map(|&algorithm| Verifier::new(algorithm, key));
        Ok(Self {
            verifiers: verifiers.collect::<Result<_, _>>()?,
            terms,
        })
    }

    /// The verdict on a token.
    pub(super) fn judge(&self, token: &[u8], now: Duration) -> Result<Identity, TokenFault> {
        let claims = self.verified(token)?;
        let expires = self.check_time(&claims, now)?;
        self.check_issuer(&claims)?;
        self.check_audience(&claims)?;
        Ok(Identity {
            user: user(claims.get(&self.terms.user_claim))?,
            until: Some(expires).filter(|_| self.terms.close_at_expiry),
        })
    }

    /// The claims of a token that one of the named algorithms signed.
    fn verified(&self, token: &[u8]) -> Result<Claims, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::TooLarge);
        }
        let parts: Vec<&[u8]> = token.splitn(4, |&byte| byte == b'.').collect();
        let &[header, payload, signature] = parts.as_slice() else {
            return Err(TokenFault::Malformed);
        };
        let message = &token[..header.len() + 1 + payload.len()];
        let header = Claims::parse(&decoded(header)?)?;
        let verifier = self.verifier(&header)?;
        if !verifier.verify(message, &decoded(signature)?) {
            return Err(TokenFault::Signature);
        }
        Claims::parse(&decoded(payload)?)
    }

    /// RFC 8725 section 3.1: the header picks one of the algorithms that are allowed, never a key.
    fn verifier(&self, header: &Claims) -> Result<&Verifier, TokenFault> {
        // RFC 7515 section 4.1.11: extensions that must be understood are not, by us.
        if header.get("crit").is_some() {
            return Err(TokenFault::Critical);
        }
        let named = header.text("alg")?.ok_or(TokenFault::Malformed)?;
        let verifier = self
            .verifiers
            .iter()
            .find(|it| it.algorithm.word() == named);
        verifier.ok_or(TokenFault::Algorithm)
    }

    /// RFC 7519 sections 4.1.4 to 4.1.6; when the token ends.
    fn check_time(&self, claims: &Claims, now: Duration) -> Result<Duration, TokenFault> {
        let moment = |name| claims.seconds(name).map(|it| it.map(Duration::from_secs));
        let expires = moment("exp")?.ok_or(TokenFault::Endless)?;
        if expires <= now {
            return Err(TokenFault::Expired);
        }
        for name in ["nbf", "iat"] {
            if moment(name)?.is_some_and(|begins| begins > now.saturating_add(LEEWAY)) {
                return Err(TokenFault::Early);
            }
        }
        Ok(expires)
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), TokenFault> {
        let issuer = claims.text("iss")?;
        match &self.terms.issuer {
            Some(expected) if issuer != Some(expected) => Err(TokenFault::Issuer),
            _ => Ok(()),
        }
    }

    /// RFC 7519 section 4.1.3: one text, or a list of them.
    fn check_audience(&self, claims: &Claims) -> Result<(), TokenFault> {
        let audiences = match claims.get("aud") {
            None => &[],
            Some(Value::Array(audiences)) => audiences.as_slice(),
            Some(audience) => std::slice::from_ref(audience),
        };
        if !audiences.iter().all(Value::is_string) {
            return Err(TokenFault::Malformed);
        }
        let is_for = |expected: &str| audiences.iter().any(|audience| audience == expected);
        match &self.terms.audience {
            Some(expected) if !is_for(expected) => Err(TokenFault::Audience),
            _ => Ok(()),
        }
    }
}

impl Method for Jwt {
    fn identify(
        &self,
        request: &mut Request,
        offer: Option<&mut Offer>,
        now: Duration,
    ) -> Result<Identity, TokenFault> {
        match source::take(&self.terms.from, request, offer) {
            // A browser sends the token once it was told that it may.
            Err(TokenFault::Missing) if is_preflight(request) => Ok(Identity::default()),
            token => self.judge(&token?, now),
        }
    }
}

/// RFC 7515 section 2: base64url without padding, and no bit to spare.
fn decoded(part: &[u8]) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenFault::Malformed)
}

/// A text or a whole number; a token may name nobody.
fn user(claim: Option<&Value>) -> Result<Option<Arc<str>>, TokenFault> {
    match claim {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str().into())),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string().into())),
        Some(_) => Err(TokenFault::Malformed),
    }
}
