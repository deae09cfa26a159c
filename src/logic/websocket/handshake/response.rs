//! Whether a backend's 101 answers the client's offer (RFC 6455 section 4.1, "the client MUST
//! validate the server's response").

use thiserror::Error;

use super::extensions::{DEFLATE, Extension};
use super::{Offer, accept_for};
use crate::logic::request::{Fields, ResponseHead, list};

/// `route.handshake`: how exact a backend's 101 must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// As RFC 6455 section 4.2.2 says.
    #[default]
    Strict,
    /// A missing or odd `Connection`, another spelling of `Upgrade`, an unoffered subprotocol and
    /// an unoffered extension are forgiven. `Sec-WebSocket-Accept` never is.
    Lax,
}

/// What both ends agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreed {
    /// The subprotocol, where there is one.
    pub protocol: Option<Box<str>>,
    /// Whether messages may be compressed with permessage-deflate, which marks them with RSV1.
    pub deflate: bool,
}

/// How a backend's 101 breaks the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum HandshakeFault {
    #[error("the status is not 101")]
    Status,
    #[error("101 needs HTTP/1.1")]
    Version,
    #[error("Upgrade is not websocket")]
    Upgrade,
    #[error("Connection does not list upgrade")]
    Connection,
    #[error("Sec-WebSocket-Accept is missing")]
    AcceptMissing,
    #[error("Sec-WebSocket-Accept stands more than once")]
    AcceptTwice,
    #[error("Sec-WebSocket-Accept does not fit the key")]
    AcceptWrong,
    #[error("Sec-WebSocket-Protocol is not one token")]
    ProtocolSyntax,
    #[error("the subprotocol was not offered")]
    ProtocolUnoffered,
    #[error("Sec-WebSocket-Extensions is not a list of extensions")]
    ExtensionSyntax,
    #[error("an extension was not offered")]
    ExtensionUnoffered,
    #[error("the parameters of an extension do not fit the offer")]
    ExtensionParameters,
    #[error("an extension stands more than once")]
    ExtensionTwice,
}

/// Holds a backend's 101 against the offer that was sent to it.
///
/// # Errors
/// The first thing that is wrong and not forgiven.
pub fn verify(
    head: &ResponseHead,
    offer: &Offer,
    strictness: Strictness,
) -> Result<Agreed, HandshakeFault> {
    let fields = head.fields();
    if head.status() != 101 {
        return Err(HandshakeFault::Status);
    }
    if head.minor() != 1 {
        return Err(HandshakeFault::Version);
    }
    check_upgrade(fields, strictness)?;
    check_accept(fields, offer)?;
    Ok(Agreed {
        protocol: protocol(fields, offer, strictness)?,
        deflate: extensions(fields, offer, strictness)?,
    })
}

/// RFC 6455 section 4.1, items 2 and 3.
fn check_upgrade(fields: &Fields, strictness: Strictness) -> Result<(), HandshakeFault> {
    let upgrade = fields.one("upgrade").ok().flatten();
    let upgraded = match strictness {
        Strictness::Strict => upgrade.is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")),
        Strictness::Lax => fields.values("upgrade").any(mentions_websocket),
    };
    if !upgraded {
        return Err(HandshakeFault::Upgrade);
    }
    if strictness == Strictness::Strict && !fields.lists("connection", "upgrade") {
        return Err(HandshakeFault::Connection);
    }
    Ok(())
}

fn mentions_websocket(value: &[u8]) -> bool {
    value
        .to_ascii_lowercase()
        .windows(9)
        .any(|part| part == b"websocket")
}

/// RFC 6455 section 4.1, item 4.
fn check_accept(fields: &Fields, offer: &Offer) -> Result<(), HandshakeFault> {
    let accept = fields
        .one("sec-websocket-accept")
        .map_err(|_| HandshakeFault::AcceptTwice)?;
    match accept {
        None => Err(HandshakeFault::AcceptMissing),
        Some(accept) if accept == accept_for(offer.key()) => Ok(()),
        Some(_) => Err(HandshakeFault::AcceptWrong),
    }
}

/// RFC 6455 section 4.1, item 6.
fn protocol(
    fields: &Fields,
    offer: &Offer,
    strictness: Strictness,
) -> Result<Option<Box<str>>, HandshakeFault> {
    let value = fields
        .one("sec-websocket-protocol")
        .map_err(|_| HandshakeFault::ProtocolSyntax)?;
    let Some(value) = value else {
        return Ok(None);
    };
    let protocol = str::from_utf8(value).map_err(|_| HandshakeFault::ProtocolSyntax)?;
    if !list::is_token(value) {
        return Err(HandshakeFault::ProtocolSyntax);
    }
    let offered = offer
        .protocols()
        .iter()
        .any(|offered| &**offered == protocol);
    if offered || strictness == Strictness::Lax {
        Ok(Some(protocol.into()))
    } else {
        Err(HandshakeFault::ProtocolUnoffered)
    }
}

/// RFC 6455 section 4.1, item 5; true when permessage-deflate is agreed on.
fn extensions(
    fields: &Fields,
    offer: &Offer,
    strictness: Strictness,
) -> Result<bool, HandshakeFault> {
    let mut deflate = false;
    for element in fields.elements("sec-websocket-extensions") {
        let answer = Extension::parse(element).ok_or(HandshakeFault::ExtensionSyntax)?;
        check_extension(&answer, offer, strictness)?;
        if &*answer.name == DEFLATE && std::mem::replace(&mut deflate, true) {
            return Err(HandshakeFault::ExtensionTwice);
        }
    }
    Ok(deflate)
}

fn check_extension(
    answer: &Extension,
    offer: &Offer,
    strictness: Strictness,
) -> Result<(), HandshakeFault> {
    let offers = offer.extensions();
    if offers.iter().any(|offer| offer.admits(answer)) {
        return Ok(());
    }
    if offers.iter().any(|offer| offer.name == answer.name) {
        return Err(HandshakeFault::ExtensionParameters);
    }
    match strictness {
        Strictness::Lax => Ok(()),
        Strictness::Strict => Err(HandshakeFault::ExtensionUnoffered),
    }
}
