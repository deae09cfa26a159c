//! The response as the client gets it: the backend's, without what belongs to our connection to it.

use std::io::Write as _;

use super::fields::Field;
use super::hop::HopByHop;
use super::wire::{put_framing, write_field};
use super::{Framing, ResponseHead};
use crate::logic::websocket::handshake::Agreed;

/// Appends the head of an ordinary response to `out`. `framing` is how the body goes to the client,
/// `closes` whether the connection ends behind it, as it must where that delimits the body.
pub fn write_response(head: &ResponseHead, framing: Framing, closes: bool, out: &mut Vec<u8>) {
    write_status_line(head, out);
    write_passing(head, |_| false, out);
    match framing {
        Framing::None => write_announced_length(head, out),
        _ => put_framing(framing, |name, value| write_field(out, name, value)),
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

/// Appends the head of a verified 101 to `out`: the backend's end-to-end fields, and the handshake
/// as it was found good.
pub fn write_switching(head: &ResponseHead, agreed: &Agreed, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
    write_field(out, b"Upgrade", b"websocket");
    write_field(out, b"Connection", b"Upgrade");
    for accept in head.fields().values("sec-websocket-accept") {
        write_field(out, b"Sec-WebSocket-Accept", accept);
    }
    if let Some(protocol) = &agreed.protocol {
        write_field(out, b"Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    // One line each, as they came; a line without any would be an error to the client.
    for extension in head.fields().elements("sec-websocket-extensions") {
        write_field(out, b"Sec-WebSocket-Extensions", extension);
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

/// RFC 9110 section 8.6: HEAD and 304 may say how long the body would be; 1xx and 204 may not.
fn write_announced_length(head: &ResponseHead, out: &mut Vec<u8>) {
    if !matches!(head.status(), 100..=199 | 204)
        && let Some(length) = head.fields().values("content-length").next()
    {
        write_field(out, b"Content-Length", length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::{crlf, response_head};
    use crate::logic::websocket::handshake::testing::{offer, switching};
    use crate::logic::websocket::handshake::{Strictness, verify};

    fn passed(head: &str, framing: Framing, closes: bool) -> String {
        let head = response_head(crlf(head) + "\r\n").unwrap();
        let mut out = Vec::new();
        write_response(&head, framing, closes, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn switched(offered: &str, lines: &str) -> String {
        let (offer, head) = (offer(&crlf(offered)).unwrap(), switching(&crlf(lines)));
        let agreed = verify(&head, &offer, Strictness::Strict).unwrap();
        let mut out = Vec::new();
        write_switching(&head, &agreed, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn wire(text: &str) -> String {
        crlf(text) + "\r\n"
    }

    /// ATTACKS C01, C02.
    #[test]
    fn an_ordinary_answer_passes_without_fields_of_the_connection() {
        let text = "HTTP/1.1 200 All Well
                    Server: b/1
                    Upgrade: websocket
                    Connection: Upgrade, X-Secret
                    X-Secret: 1
                    Keep-Alive: 5
                    Proxy-Authenticate: x
                    Content-Length: 2
                    Set-Cookie: a
                    Set-Cookie: b";
        let expected = "HTTP/1.1 200 All Well
                        Server: b/1
                        Set-Cookie: a
                        Set-Cookie: b
                        Content-Length: 2";
        assert_eq!(passed(text, Framing::Length(2), false), wire(expected));
        let text = "HTTP/1.1 403 No\nTransfer-Encoding: chunked\nTrailer: x";
        let expected = "HTTP/1.1 403 No\nTransfer-Encoding: chunked\nConnection: close";
        assert_eq!(passed(text, Framing::Chunked, true), wire(expected));
    }

    #[test]
    fn a_426_names_the_protocol_again() {
        let text = "HTTP/1.1 426 Upgrade Required
                    Upgrade: websocket
                    Connection: Upgrade
                    Content-Length: 0";
        let expected = "HTTP/1.1 426 Upgrade Required
                        Content-Length: 0
                        Connection: Upgrade
                        Upgrade: websocket";
        assert_eq!(passed(text, Framing::Length(0), false), wire(expected));
    }

    #[test]
    fn a_body_that_ends_with_the_stream_ends_the_connection() {
        let written = passed("HTTP/1.1 200 OK", Framing::UntilClose, false);
        assert_eq!(written, wire("HTTP/1.1 200 OK\nConnection: close"));
    }

    #[test]
    fn a_length_without_body_passes_where_it_may_stand() {
        for (status, passes) in [
            ("200 OK", true),
            ("304 Not Modified", true),
            ("204 No", false),
        ] {
            let line = format!("HTTP/1.1 {status}");
            let text = format!("{line}\nContent-Length: 5");
            let expected = if passes { &text } else { &line };
            assert_eq!(passed(&text, Framing::None, false), wire(expected));
        }
    }

    /// ATTACKS C07, C08.
    #[test]
    fn a_101_passes_without_length_and_fields_of_the_connection() {
        let lines = "Content-Length: 5
                     Transfer-Encoding: chunked
                     Keep-Alive: 5
                     Proxy-Authenticate: x
                     Connection: X-Secret, Sec-WebSocket-Accept
                     X-Secret: 1
                     Trailer: x
                     Set-Cookie: a";
        let expected = "HTTP/1.1 101 Switching Protocols
                        Upgrade: websocket
                        Connection: Upgrade
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
                        Set-Cookie: a";
        assert_eq!(switched("", lines), wire(expected));
    }

    #[test]
    fn a_101_says_what_was_agreed_on() {
        let offered = "Sec-WebSocket-Protocol: a, b\nSec-WebSocket-Extensions: permessage-deflate";
        let lines = "Sec-WebSocket-Protocol: b
                     Sec-WebSocket-Extensions: permessage-deflate
                     Sec-WebSocket-Extensions:";
        let head = response_head(switched(offered, lines)).unwrap();
        let one = |name| head.fields().one(name).unwrap().unwrap();
        assert_eq!(one("sec-websocket-protocol"), b"b");
        assert_eq!(one("sec-websocket-extensions"), b"permessage-deflate");
        assert!(verify(&head, &offer(&crlf(offered)).unwrap(), Strictness::Strict).is_ok());
    }
}
