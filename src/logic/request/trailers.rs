//! Trailer fields: those that may stand behind a body, read and chosen (RFC 9110 section 6.5).

use bytes::{BufMut, Bytes, BytesMut};

use super::Fields;
use super::body::BodyFault;
use super::hop::HopByHop;
use super::list::is_token;
use super::to_backend::{is_ours, is_reserved};

/// Most trailer fields in one message.
pub const MAX_TRAILERS: usize = 64;

/// Reads a trailer section: its lines, without the empty one behind them.
///
/// # Errors
/// When a line is no field, or there are more than [`MAX_TRAILERS`].
pub fn read(section: &[u8]) -> Result<Fields, BodyFault> {
    let mut whole = BytesMut::with_capacity(section.len() + 2);
    whole.put(section);
    whole.put(&b"\r\n"[..]);
    let whole: Bytes = whole.freeze();
    let mut slots = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    match httparse::parse_headers(&whole, &mut slots) {
        Ok(httparse::Status::Complete((length, lines))) if length == whole.len() => {
            Ok(Fields::new(whole.clone(), lines))
        }
        _ => Err(BodyFault::Trailer),
    }
}

/// The names that a message's Trailer fields announce, of those that may pass.
pub fn announced(fields: &Fields) -> impl Iterator<Item = &[u8]> {
    fields
        .elements("trailer")
        .filter(|name| is_token(name) && may_pass(name))
}

/// Whether a trailer field may go on. RFC 9110 section 6.5.1: nothing that says how a message is
/// framed, routed, authenticated, chosen or read, as whoever merged it into the head would be
/// fooled.
pub fn may_pass(name: &[u8]) -> bool {
    let is = |field: &&str| name.eq_ignore_ascii_case(field.as_bytes());
    let starts = |prefix: &&str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    !HopByHop::always(name)
        && !is_ours(name)
        && !str::from_utf8(name).is_ok_and(is_reserved)
        && !HEAD_ONLY.iter().any(is)
        && !HEAD_ONLY_PREFIXES.iter().any(starts)
}

/// Request modifiers, authentication, content and response control.
const HEAD_ONLY: [&str; 20] = [
    "age",
    "authorization",
    "cache-control",
    "cookie",
    "date",
    "expect",
    "expires",
    "location",
    "max-forwards",
    "origin",
    "pragma",
    "range",
    "referer",
    "retry-after",
    "set-cookie",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
];

const HEAD_ONLY_PREFIXES: [&str; 6] = [
    "accept",
    "access-control-",
    "content-",
    "if-",
    "proxy-",
    "sec-",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::fields;

    #[test]
    fn a_section_is_read_as_fields() {
        let fields = read(b"X-Sum: 1\r\nx-b:\r\n").unwrap();
        let lines: Vec<_> = fields.iter().map(|line| (line.name, line.value)).collect();
        let expected: [(&[u8], &[u8]); 2] = [(b"X-Sum", b"1"), (b"x-b", b"")];
        assert_eq!(lines, expected);
        assert_eq!(read(b"").unwrap().iter().count(), 0);
    }

    /// ATTACKS B08.
    #[test]
    fn what_is_no_field_is_refused_and_so_are_too_many() {
        for section in [
            "no colon\r\n",
            " folded: x\r\n",
            "a: b\r\n c\r\n",
            "a : b\r\n",
        ] {
            let refused = read(section.as_bytes()).map(|_| ());
            assert_eq!(refused, Err(BodyFault::Trailer), "{section:?}");
        }
        assert!(read("a: b\r\n".repeat(MAX_TRAILERS).as_bytes()).is_ok());
        let flood = "a: b\r\n".repeat(MAX_TRAILERS + 1);
        assert_eq!(read(flood.as_bytes()).map(|_| ()), Err(BodyFault::Trailer));
    }

    /// ATTACKS B08.
    #[test]
    fn fields_that_a_head_is_judged_by_are_no_trailers() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Host",
            "Authorization",
            "Cookie",
            "Set-Cookie",
            "Connection",
            "Content-Type",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Tidegate-User",
            "Sec-WebSocket-Accept",
            "If-Match",
        ] {
            assert!(!may_pass(name.as_bytes()), "{name}");
        }
        for name in ["X-Checksum", "Server-Timing", "Digest", "Grpc-Status"] {
            assert!(may_pass(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn only_names_that_may_pass_are_announced() {
        let fields = fields("Trailer: X-Sum, Host, \"x\"\r\nTrailer: x-b\r\n");
        let names: Vec<_> = announced(&fields).collect();
        assert_eq!(names, [&b"X-Sum"[..], b"x-b"]);
    }
}
