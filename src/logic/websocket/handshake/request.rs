//! What a client offers when it asks for a WebSocket (RFC 6455 section 4.2.1).
//! That it asks at all, and with which `Connection` and body, is checked with the request's syntax.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::Extension;
use crate::logic::refusal::Refusal;
use crate::logic::request::{Fields, Malformed, Request, list};

/// A client's half of the handshake, found good: what the backend gets to see and what its answer is
/// measured against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    key: Key,
    protocols: Vec<Box<str>>,
    extensions: Vec<Extension>,
}

/// `Sec-WebSocket-Key`: 24 characters that are 16 bytes in base64.
pub type Key = [u8; 24];

impl Offer {
    /// Checks method, version, key, subprotocols and extensions of a request that asks for a
    /// WebSocket, in this order.
    ///
    /// # Errors
    /// The first check that failed: 405, 426 or 400.
    pub fn check(request: &Request) -> Result<Self, Refusal> {
        let fields = request.head().fields();
        if request.method() != "GET" {
            return Err(Refusal::UpgradeMethod);
        }
        if fields.one("sec-websocket-version") != Ok(Some(b"13")) {
            return Err(Refusal::UpgradeVersion);
        }
        Ok(Self {
            key: key(fields)?,
            protocols: protocols(fields)?,
            extensions: extensions(fields)?,
        })
    }

    /// The key as it stands in the field.
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// The subprotocols, by preference.
    pub fn protocols(&self) -> &[Box<str>] {
        &self.protocols
    }

    /// The extensions, by preference.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }
}

/// Bits beyond the 16 bytes are nobody's business: RFC 6455 asks for the length alone.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

fn key(fields: &Fields) -> Result<Key, Malformed> {
    let value = fields
        .one("sec-websocket-key")
        .map_err(|_| Malformed::KeyTwice)?;
    let key = Key::try_from(value.ok_or(Malformed::KeyMissing)?);
    let key = key.map_err(|_| Malformed::KeySyntax)?;
    // The decoder wants room for 18 bytes, which 24 characters could be.
    match BASE64.decode_slice(key, &mut [0; 18]) {
        Ok(16) => Ok(key),
        _ => Err(Malformed::KeySyntax),
    }
}

/// RFC 6455 section 4.1, item 10: tokens, all different.
fn protocols(fields: &Fields) -> Result<Vec<Box<str>>, Malformed> {
    let protocols: Option<Vec<_>> = list_field(fields, "sec-websocket-protocol")
        .map(token_text)
        .collect();
    let protocols = protocols.ok_or(Malformed::Protocols)?;
    let mut sorted: Vec<_> = protocols.iter().collect();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| pair[0] == pair[1]);
    if repeated {
        Err(Malformed::Protocols)
    } else {
        Ok(protocols)
    }
}

fn extensions(fields: &Fields) -> Result<Vec<Extension>, Malformed> {
    let extensions: Option<_> = list_field(fields, "sec-websocket-extensions")
        .map(Extension::parse)
        .collect();
    extensions.ok_or(Malformed::Extensions)
}

/// The list's elements; a line that has none counts as one empty element, for the list must not be empty.
fn list_field<'a>(fields: &'a Fields, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields.values(name).flat_map(|value| {
        let empty = list::elements(value).next().is_none();
        list::elements(value).chain(empty.then_some(b"".as_slice()))
    })
}

fn token_text(element: &[u8]) -> Option<Box<str>> {
    let text = str::from_utf8(element).ok()?;
    list::is_token(element).then(|| text.into())
}
