//! Fields that a client or a route does not get to say.

use crate::logic::request::framing::same_but_for_underscores;

/// Whether a field is the protocol's business, so that no route may set or remove it.
pub fn is_reserved(name: &str) -> bool {
    PROTOCOL
        .iter()
        .chain(&HANDSHAKE)
        .any(|field| is(name.as_bytes(), field))
}

/// Fields that say where a message ends and what its connection is.
const PROTOCOL: [&str; 7] = [
    "connection",
    "upgrade",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "keep-alive",
];

/// Who the client is, in our words alone. RFC 7239's Forwarded says the same in a syntax that has
/// fooled many a reader, so it goes.
const OURS: [&str; 7] = [
    "host",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
];

/// The fields of RFC 6455 section 11.3, written from the checked offer.
pub(super) const HANDSHAKE: [&str; 5] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
];

/// Whether only we may say this: CGI reads `X_Forwarded_For` as `X-Forwarded-For`.
pub(in crate::logic::request) fn is_ours(name: &[u8]) -> bool {
    let prefix = name.get(..11).unwrap_or_default();
    same_but_for_underscores(prefix, "x-tidegate-")
        || OURS.iter().any(|ours| same_but_for_underscores(name, ours))
}

/// Whether a name is this field's, however it is written.
pub(super) fn is(name: &[u8], field: &str) -> bool {
    name.eq_ignore_ascii_case(field.as_bytes())
}
