//! The request as the backend gets it: what is ours to say replaces what the client claimed.

use std::sync::Arc;

use super::framing::same_but_for_underscores;
use super::hop::HopByHop;
use super::{Client, Framing, Request};
use crate::logic::websocket::handshake::{Extension, Offer};

/// A request on its way to a backend.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The client's request.
    pub request: &'a Request,
    /// Who sent it.
    pub client: &'a Client,
    /// What it offers, where it asks for a WebSocket.
    pub offer: Option<&'a Offer>,
    /// The path the backend sees: the request's own, or the rewritten one.
    pub path: &'a str,
    /// The query the backend sees.
    pub query: Option<&'a str>,
    /// Whom a token names, for X-Tidegate-User.
    pub user: Option<&'a str>,
    /// `route.headers.set`.
    pub set: &'a [(Arc<str>, Arc<str>)],
    /// `route.headers.remove`, in lower case.
    pub remove: &'a [Arc<str>],
}

impl Outbound<'_> {
    /// Appends the head to `out`. The client's fields keep their order and spelling; fields of one
    /// connection go first, ours come after, the route's last, so that `Connection: X-Forwarded-For`
    /// takes nothing away.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        self.write_request_line(out);
        self.write_host(out);
        self.write_passing(out);
        self.write_forwarded(out);
        match self.offer {
            Some(offer) => write_offer(offer, out),
            None => write_framing(self.request.framing(), out),
        }
        for (name, value) in self.set.iter().filter(|(name, _)| !is_reserved(name)) {
            write_field(out, name.as_bytes(), value.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    fn write_request_line(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.request.method().as_bytes());
        out.push(b' ');
        out.extend_from_slice(self.path.as_bytes());
        if let Some(query) = self.query {
            out.push(b'?');
            out.extend_from_slice(query.as_bytes());
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
    }

    /// As the client sent it, unless the route sets another.
    fn write_host(&self, out: &mut Vec<u8>) {
        if !self.sets(b"host") {
            write_field(out, b"Host", self.host());
        }
    }

    fn host(&self) -> &[u8] {
        self.request
            .head()
            .fields()
            .values("host")
            .next()
            .unwrap_or_default()
    }

    /// What of the client's fields goes on.
    fn write_passing(&self, out: &mut Vec<u8>) {
        let fields = self.request.head().fields();
        let hop = HopByHop::of(fields);
        let passes = |name: &[u8]| {
            !hop.stops(name) && !is_ours(name) && !self.is_of_the_upgrade(name) && self.keeps(name)
        };
        for field in fields.iter().filter(|field| passes(field.name)) {
            write_field(out, field.name, field.value);
        }
    }

    /// RFC 9110 section 10.1.1: an upgrade has no body that a 100 could be asked for.
    fn is_of_the_upgrade(&self, name: &[u8]) -> bool {
        let is = |field: &str| name.eq_ignore_ascii_case(field.as_bytes());
        self.offer.is_some() && (is("expect") || HANDSHAKE.iter().any(|field| is(field)))
    }

    fn write_forwarded(&self, out: &mut Vec<u8>) {
        let Client {
            address,
            peer,
            scheme,
            ..
        } = *self.client;
        let port = self.request.host().port().unwrap_or(scheme.default_port());
        self.write_ours(
            out,
            "X-Forwarded-For",
            self.forwarded_for(&peer.to_string()),
        );
        self.write_ours(out, "X-Forwarded-Proto", scheme.word());
        self.write_ours(
            out,
            "X-Forwarded-Host",
            self.vouched("x-forwarded-host").unwrap_or(self.host()),
        );
        let port = port.to_string();
        self.write_ours(
            out,
            "X-Forwarded-Port",
            self.vouched("x-forwarded-port").unwrap_or(port.as_bytes()),
        );
        self.write_ours(out, "X-Real-IP", address.to_string());
        if let Some(user) = self.user {
            self.write_ours(out, "X-Tidegate-User", user);
        }
    }

    /// The hops a trusted peer reports, and the peer itself.
    fn forwarded_for(&self, peer: &str) -> Vec<u8> {
        let mut hops = Vec::new();
        if self.client.vouched {
            for value in self.request.head().fields().values("x-forwarded-for") {
                hops.extend_from_slice(value);
                hops.extend_from_slice(b", ");
            }
        }
        hops.extend_from_slice(peer.as_bytes());
        hops
    }

    /// What a trusted peer says in a field, if it says one thing.
    fn vouched(&self, name: &str) -> Option<&[u8]> {
        let value = self.request.head().fields().one(name).ok().flatten();
        value.filter(|value| self.client.vouched && !value.is_empty())
    }

    fn write_ours(&self, out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
        if self.keeps(name.as_bytes()) {
            write_field(out, name.as_bytes(), value.as_ref());
        }
    }

    /// Whether the route lets a field be.
    fn keeps(&self, name: &[u8]) -> bool {
        !self.sets(name)
            && !self
                .remove
                .iter()
                .any(|field| name.eq_ignore_ascii_case(field.as_bytes()))
    }

    fn sets(&self, name: &[u8]) -> bool {
        self.set
            .iter()
            .any(|(field, _)| name.eq_ignore_ascii_case(field.as_bytes()))
    }
}

/// Whether a field is the protocol's business, so that no route may set or remove it.
pub fn is_reserved(name: &str) -> bool {
    let is = |field: &&str| name.eq_ignore_ascii_case(field);
    [
        "connection",
        "upgrade",
        "content-length",
        "transfer-encoding",
        "te",
        "trailer",
        "keep-alive",
    ]
    .iter()
    .chain(&HANDSHAKE)
    .any(is)
}

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
const HANDSHAKE: [&str; 5] = [
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "sec-websocket-accept",
];

/// Whether only we may say this: CGI reads `X_Forwarded_For` as `X-Forwarded-For`.
fn is_ours(name: &[u8]) -> bool {
    let prefix = name.get(..11).unwrap_or_default();
    same_but_for_underscores(prefix, "x-tidegate-")
        || OURS.iter().any(|ours| same_but_for_underscores(name, ours))
}

fn write_offer(offer: &Offer, out: &mut Vec<u8>) {
    write_field(out, b"Upgrade", b"websocket");
    write_field(out, b"Connection", b"Upgrade");
    write_field(out, b"Sec-WebSocket-Key", offer.key());
    write_field(out, b"Sec-WebSocket-Version", b"13");
    if !offer.protocols().is_empty() {
        write_field(
            out,
            b"Sec-WebSocket-Protocol",
            offer.protocols().join(", ").as_bytes(),
        );
    }
    if !offer.extensions().is_empty() {
        let extensions: Vec<_> = offer
            .extensions()
            .iter()
            .map(Extension::to_string)
            .collect();
        write_field(
            out,
            b"Sec-WebSocket-Extensions",
            extensions.join(", ").as_bytes(),
        );
    }
}

/// The framing that was checked, so that the backend reads the body we mean.
pub(super) fn write_framing(framing: Framing, out: &mut Vec<u8>) {
    match framing {
        Framing::Length(length) => {
            write_field(out, b"Content-Length", length.to_string().as_bytes());
        }
        Framing::Chunked => write_field(out, b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}

pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}
