//! The response as the client gets it: the backend's own, without what belongs to our connection to it.

use std::io::Write as _;

use super::fields::Field;
use super::hop::HopByHop;
use super::to_backend::{write_field, write_framing};
use super::{Framing, ResponseHead};
use crate::logic::websocket::handshake::{Agreed, Offer, accept_for};

/// Appends the head of an ordinary response to `out`. `framing` is how the body goes to the client,
/// `closes` whether the connection ends behind it; it must where the end of the stream delimits the body.
pub fn write_response(head: &ResponseHead, framing: Framing, closes: bool, out: &mut Vec<u8>) {
    write_status_line(head, out);
    write_passing(head, |_| false, out);
    match framing {
        Framing::None => write_announced_length(head, out),
        _ => write_framing(framing, out),
    }
    match (closes || framing == Framing::UntilClose, head.status()) {
        (true, _) => write_field(out, b"Connection", b"close"),
        // RFC 9110 section 15.5.22: a 426 names the protocol; it stopped here with our connection.
        (false, 426) => write_field(out, b"Connection", b"Upgrade"),
        (false, _) => {}
    }
    if head.status() == 426 {
        write_field(out, b"Upgrade", b"websocket");
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of a verified 101 to `out`: the backend's end-to-end fields, and the handshake as
/// it was found good.
pub fn write_switching(head: &ResponseHead, offer: &Offer, agreed: &Agreed, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    write_field(out, b"Upgrade", b"websocket");
    write_field(out, b"Connection", b"Upgrade");
    write_field(out, b"Sec-WebSocket-Accept", &accept_for(offer.key()));
    if let Some(protocol) = &agreed.protocol {
        write_field(out, b"Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    for extensions in head.fields().values("sec-websocket-extensions") {
        write_field(out, b"Sec-WebSocket-Extensions", extensions);
    }
    let is_handshake = |field: &Field<'_>| {
        field
            .name
            .get(..14)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"sec-websocket-"))
    };
    write_passing(head, is_handshake, out);
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(head: &ResponseHead, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = write!(out, "HTTP/1.1 {} ", head.status());
    out.extend_from_slice(head.reason());
    out.extend_from_slice(b"\r\n");
}

/// The fields that go on, but for those the caller writes itself.
fn write_passing(head: &ResponseHead, written: impl Fn(&Field<'_>) -> bool, out: &mut Vec<u8>) {
    let hop = HopByHop::of(head.fields());
    for field in head
        .fields()
        .iter()
        .filter(|field| !hop.stops(field.name) && !written(field))
    {
        write_field(out, field.name, field.value);
    }
}

/// RFC 9110 section 8.6: HEAD and 304 may say how long the body would have been; 1xx and 204 may not.
fn write_announced_length(head: &ResponseHead, out: &mut Vec<u8>) {
    if !matches!(head.status(), 100..=199 | 204)
        && let Some(length) = head.fields().values("content-length").next()
    {
        write_field(out, b"Content-Length", length);
    }
}
