//! The request as the backend gets it: what is ours to say replaces what the client claimed.

mod forwarded;
mod reserved;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use super::framing::same_but_for_underscores;
use super::hop::HopByHop;
use super::wire::{put_framing, write_field};
use super::{Client, Fields, Framing, Proof, Request, trailers};
use crate::logic::websocket::handshake::{Extension, Offer};
use reserved::{HANDSHAKE, is};

pub(super) use reserved::is_ours;
pub use reserved::is_reserved;

/// A request on its way to a backend.
#[derive(Clone, Copy, Debug)]
pub struct Outbound<'a> {
    /// The client's request.
    pub request: &'a Request,
    /// Who sent it.
    pub client: &'a Client,
    /// The port it came in on.
    pub port: u16,
    /// What it offers, where it asks for a WebSocket.
    pub offer: Option<&'a Offer>,
    /// The path the backend sees: the request's own, or the rewritten one.
    pub path: &'a str,
    /// The query the backend sees.
    pub query: Option<&'a str>,
    /// What the client proved by certificate.
    pub proof: &'a Proof,
    /// Whom a token names, for X-Tidegate-User.
    pub user: Option<&'a str>,
    /// `route.headers.set`.
    pub set: &'a [(Arc<str>, Arc<str>)],
    /// `route.headers.remove`, in lower case.
    pub remove: &'a [Arc<str>],
}

impl Outbound<'_> {
    /// Appends the head to `out`.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let method = self.request.method();
        for part in [method, " ", self.target().as_ref(), " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        self.each_field(|name, value| write_field(out, name, value));
        out.extend_from_slice(b"\r\n");
    }

    /// What is asked for: path and query.
    pub fn target(&self) -> Cow<'_, str> {
        match self.query {
            Some(query) => format!("{}?{query}", self.path).into(),
            None => self.path.into(),
        }
    }

    /// Every field of the head. The client's keep their order and spelling; those of its
    /// connection are taken off first and ours put on after, so that `Connection: X-Forwarded-For`
    /// takes nothing away; the route's come last.
    pub fn each_field(&self, mut put: impl FnMut(&[u8], &[u8])) {
        // As the client sent it, unless the route sets another.
        if !self.sets(b"host") {
            put(b"Host", self.host());
        }
        self.each_passing(&mut put);
        self.each_forwarded(&mut put);
        match self.offer {
            Some(offer) => each_of_offer(offer, &mut put),
            None => self.each_of_body(&mut put),
        }
        for (name, value) in self.set.iter().filter(|(name, _)| !is_reserved(name)) {
            put(name.as_bytes(), value.as_bytes());
        }
    }

    fn fields(&self) -> &Fields {
        self.request.head().fields()
    }

    fn host(&self) -> &[u8] {
        self.fields().values("host").next().unwrap_or_default()
    }

    /// What of the client's fields goes on.
    fn each_passing(&self, put: &mut impl FnMut(&[u8], &[u8])) {
        let hop = HopByHop::of(self.fields());
        // RFC 9110 section 10.1.1: whether a 100 is due is between the client and us.
        let said_anew = |name: &[u8]| is(name, "expect") || is_ours(name) || self.offers(name);
        let passes = |name: &[u8]| !hop.stops(name) && !said_anew(name) && self.keeps(name);
        for field in self.fields().iter().filter(|field| passes(field.name)) {
            put(field.name, field.value);
        }
    }

    /// Whether the offer says this.
    fn offers(&self, name: &[u8]) -> bool {
        self.offer.is_some() && HANDSHAKE.iter().any(|field| is(name, field))
    }

    /// How a plain request's body is delimited, and which trailer fields may follow it.
    fn each_of_body(&self, put: &mut impl FnMut(&[u8], &[u8])) {
        let framing = self.request.framing();
        put_framing(framing, &mut *put);
        let trailers = trailers::announced(self.fields());
        let trailers: Vec<_> = trailers.filter(|name| self.keeps(name)).collect();
        if framing == Framing::Chunked && !trailers.is_empty() {
            put(b"Trailer", &trailers.join(&b", "[..]));
        }
    }

    /// Whether the route lets a field be. CGI reads `X_App` as the `X-App` that a route sets.
    fn keeps(&self, name: &[u8]) -> bool {
        let mut removed = self.remove.iter();
        !self.sets(name) && !removed.any(|field| same_but_for_underscores(name, field))
    }

    fn sets(&self, name: &[u8]) -> bool {
        let mut set = self.set.iter();
        set.any(|(field, _)| same_but_for_underscores(name, field))
    }
}

fn each_of_offer(offer: &Offer, put: &mut impl FnMut(&[u8], &[u8])) {
    put(b"Upgrade", b"websocket");
    put(b"Connection", b"Upgrade");
    put(b"Sec-WebSocket-Key", offer.key());
    put(b"Sec-WebSocket-Version", b"13");
    if !offer.protocols().is_empty() {
        let protocols = offer.protocols().join(", ");
        put(b"Sec-WebSocket-Protocol", protocols.as_bytes());
    }
    if !offer.extensions().is_empty() {
        let extensions: Vec<_> = offer
            .extensions()
            .iter()
            .map(Extension::to_string)
            .collect();
        put(
            b"Sec-WebSocket-Extensions",
            extensions.join(", ").as_bytes(),
        );
    }
}
