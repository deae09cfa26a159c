//! Message heads: where one ends in a stream, and what its lines are (RFC 9112).
//! Knows grammar only; what a request means is `syntax`.

use std::fmt;
use std::ops::Range;
use std::str;

use bytes::{Bytes, BytesMut};
use memchr::{memchr_iter, memchr3_iter};

use super::Malformed;
use super::fields::{Field, Fields, range_within};

/// Finds the end of the head at the start of `buf`: the length of everything up to and including
/// the empty line, or `None` when more bytes are needed.
///
/// `searched` is how many bytes of `buf` the previous call for this head saw (0 at first), so that
/// a head that comes byte by byte costs linear time.
///
/// # Errors
/// A bare CR, bare LF or NUL is refused where it stands, [`Malformed::HeadTooLarge`] as soon as the
/// head cannot end within `max_bytes`.
pub fn head_end(buf: &[u8], searched: usize, max_bytes: usize) -> Result<Option<usize>, Malformed> {
    let start = skip_empty_lines(buf)?;
    // An empty line may have begun up to three bytes before the border.
    let from = searched.saturating_sub(3).max(start);
    let unsearched = buf.get(from..).unwrap_or_default();
    for at in memchr3_iter(b'\r', b'\n', 0, unsearched).map(|offset| from + offset) {
        check_line_byte(buf, at)?;
        if buf[start..=at].ends_with(b"\r\n\r\n") {
            let end = at + 1;
            return if end <= max_bytes {
                Ok(Some(end))
            } else {
                Err(Malformed::HeadTooLarge)
            };
        }
    }
    if buf.len() < max_bytes {
        Ok(None)
    } else {
        Err(Malformed::HeadTooLarge)
    }
}

/// The head of a request: valid grammar, no meaning yet. Owned, so that it lives across awaits
/// and serves every retry.
#[derive(Clone)]
pub struct RequestHead {
    method: Range<usize>,
    target: Range<usize>,
    minor: u8,
    fields: Fields,
    head: Bytes,
}

impl RequestHead {
    /// Parses a whole head, as [`head_end`] delimits it.
    ///
    /// # Errors
    /// What is wrong with it; obsolete line folding and space before a colon are.
    pub fn parse(head: Bytes, max_fields: usize) -> Result<Self, Malformed> {
        let head = head.slice(skip_empty_lines(&head)?..);
        let mut slots = field_slots(&head, max_fields)?;
        let mut parsed = httparse::Request::new(&mut slots);
        ensure_whole(parsed.parse(&head)?, &head)?;
        let (Some(method), Some(target), Some(minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Malformed::StartLine);
        };
        Ok(Self {
            method: range_within(&head, method.as_bytes()),
            target: range_within(&head, target.as_bytes()),
            minor,
            fields: Fields::new(head.clone(), parsed.headers),
            head,
        })
    }

    /// The method, in the sender's case.
    pub fn method(&self) -> &str {
        // The parser admits tokens only, which are ASCII.
        str::from_utf8(&self.head[self.method.clone()]).unwrap_or_default()
    }

    /// The target as it came.
    pub fn target(&self) -> &[u8] {
        &self.head[self.target.clone()]
    }

    /// 0 or 1: the `x` of HTTP/1.x.
    pub const fn minor(&self) -> u8 {
        self.minor
    }

    /// The header fields.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }
}

impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead")
            .field("method", &self.method())
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// The head of a response: valid grammar, no meaning yet.
#[derive(Clone)]
pub struct ResponseHead {
    status: u16,
    reason: Range<usize>,
    minor: u8,
    fields: Fields,
    head: Bytes,
}

impl ResponseHead {
    /// Parses a whole head, as [`head_end`] delimits it.
    ///
    /// # Errors
    /// What is wrong with it; no empty line may stand before a response.
    pub fn parse(head: Bytes, max_fields: usize) -> Result<Self, Malformed> {
        if head.starts_with(b"\r") {
            return Err(Malformed::EmptyLines);
        }
        let mut slots = field_slots(&head, max_fields)?;
        let mut parsed = httparse::Response::new(&mut slots);
        ensure_whole(parsed.parse(&head)?, &head)?;
        let (Some(status @ 100..), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(Malformed::StartLine);
        };
        Ok(Self {
            status,
            reason: range_within(&head, parsed.reason.unwrap_or_default().as_bytes()),
            minor,
            fields: Fields::new(head.clone(), parsed.headers),
            head,
        })
    }

    /// A head that a library has read, from its parts; each is what the grammar makes it.
    pub fn of_parts<'a>(
        status: u16,
        reason: &[u8],
        minor: u8,
        fields: impl Iterator<Item = Field<'a>>,
    ) -> Self {
        let mut bytes = BytesMut::with_capacity(PARTS_BYTES);
        let mut put = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            start..bytes.len()
        };
        let reason = put(reason);
        let lines: Vec<_> = fields
            .map(|field| (put(field.name), put(field.value)))
            .collect();
        let head = bytes.freeze();
        Self {
            status,
            reason,
            minor,
            fields: Fields::of_ranges(head.clone(), lines),
            head,
        }
    }

    /// 100 to 999.
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase; empty where there is none.
    pub fn reason(&self) -> &[u8] {
        &self.head[self.reason.clone()]
    }

    /// 0 or 1: the `x` of HTTP/1.x.
    pub const fn minor(&self) -> u8 {
        self.minor
    }

    /// The header fields.
    pub const fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Whether another response follows for the same request (RFC 9110 section 15.2).
    pub const fn is_interim(&self) -> bool {
        matches!(self.status, 100 | 102..=199)
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseHead")
            .field("status", &self.status)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// What a usual response head fits in.
const PARTS_BYTES: usize = 512;

/// Empty lines that a sloppy client may put before a request (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 4;

/// How many bytes of empty lines stand at the start.
fn skip_empty_lines(buf: &[u8]) -> Result<usize, Malformed> {
    let empty = buf
        .chunks_exact(2)
        .take_while(|pair| pair == b"\r\n")
        .take(MAX_EMPTY_LINES + 1);
    match empty.count() {
        lines if lines > MAX_EMPTY_LINES => Err(Malformed::EmptyLines),
        lines => Ok(lines * 2),
    }
}

/// Checks the CR, LF or NUL at `at` against its neighbours.
fn check_line_byte(buf: &[u8], at: usize) -> Result<(), Malformed> {
    let before = at.checked_sub(1).map(|i| buf[i]);
    match (buf[at], before, buf.get(at + 1)) {
        (0, ..) => Err(Malformed::Nul),
        (b'\n', Some(b'\r'), _) | (b'\r', _, Some(b'\n') | None) => Ok(()),
        (b'\r', ..) => Err(Malformed::BareCr),
        _ => Err(Malformed::BareLf),
    }
}

/// As many slots as the head has field lines.
fn field_slots<'a>(head: &[u8], max_fields: usize) -> Result<Vec<httparse::Header<'a>>, Malformed> {
    // The first and the empty line are no fields.
    let fields = memchr_iter(b'\n', head).count().saturating_sub(2);
    if fields > max_fields {
        return Err(Malformed::TooManyFields);
    }
    Ok(vec![httparse::EMPTY_HEADER; fields])
}

fn ensure_whole(status: httparse::Status<usize>, head: &[u8]) -> Result<(), Malformed> {
    match status {
        httparse::Status::Complete(length) if length == head.len() => Ok(()),
        _ => Err(Malformed::StartLine),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logic::request::testing::{request_head, response_head};

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// The answer when the bytes come in segments of `piece`.
    fn in_pieces(bytes: &[u8], piece: usize, max: usize) -> Result<Option<usize>, Malformed> {
        let mut searched = 0;
        for end in (0..bytes.len())
            .step_by(piece)
            .map(|start| (start + piece).min(bytes.len()))
        {
            if let Some(found) = head_end(&bytes[..end], searched, max)? {
                return Ok(Some(found));
            }
            searched = end;
        }
        Ok(None)
    }

    #[test]
    fn a_head_ends_at_its_empty_line() {
        assert_eq!(head_end(GET, 0, 100), Ok(Some(GET.len())));
        assert_eq!(
            head_end(&[GET, b"\0raw\n\r frames"].concat(), 0, 100),
            Ok(Some(GET.len()))
        );
        assert_eq!(head_end(&GET[..GET.len() - 1], 0, 100), Ok(None));
        assert_eq!(head_end(b"", 0, 100), Ok(None));
    }

    #[test]
    fn a_few_empty_lines_may_stand_before_a_request() {
        let four = [b"\r\n".repeat(4), GET.to_vec()].concat();
        assert_eq!(head_end(&four, 0, 100), Ok(Some(four.len())));
        assert_eq!(request_head(&four).unwrap().method(), "GET");
        assert_eq!(
            head_end(&b"\r\n".repeat(5), 0, 4000),
            Err(Malformed::EmptyLines)
        );
        assert_eq!(
            head_end(&b"\r\n".repeat(1000), 0, 4000),
            Err(Malformed::EmptyLines)
        );
    }

    #[test]
    fn bytes_that_part_lines_only_for_some_are_refused_where_they_stand() {
        let rows: [(&[u8], Malformed); 7] = [
            (b"GET / HTTP/1.1\n", Malformed::BareLf),
            (b"\n", Malformed::BareLf),
            (b"GET / HTTP/1.1\r\nHost: a\n", Malformed::BareLf),
            (
                b"GET / HTTP/1.1\r\nX: a\rSet-Cookie: evil",
                Malformed::BareCr,
            ),
            (b"GET / HTTP/1.1\r\r\n", Malformed::BareCr),
            (b"GET / HTTP/1.1\r\nX: \0", Malformed::Nul),
            (b"\x16\x03\x01\x00", Malformed::Nul),
        ];
        for (bytes, expected) in rows {
            assert_eq!(
                head_end(bytes, 0, 100),
                Err(expected),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn a_head_may_be_exactly_as_large_as_allowed() {
        assert_eq!(head_end(GET, 0, GET.len()), Ok(Some(GET.len())));
        assert_eq!(
            head_end(GET, 0, GET.len() - 1),
            Err(Malformed::HeadTooLarge)
        );
        assert_eq!(head_end(&[b'A'; 100], 0, 100), Err(Malformed::HeadTooLarge));
        assert_eq!(head_end(&[b'A'; 99], 0, 100), Ok(None));
    }

    #[test]
    fn a_head_may_have_exactly_as_many_fields_as_allowed() {
        let parse = |max| {
            RequestHead::parse(
                Bytes::from_static(b"\r\nGET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n"),
                max,
            )
        };
        assert_eq!(parse(2).unwrap().fields().iter().count(), 2);
        assert_eq!(parse(1).unwrap_err(), Malformed::TooManyFields);
    }

    #[test]
    fn a_request_head_keeps_order_and_spelling() {
        let head =
            request_head("POST /x?y HTTP/1.0\r\nHOST:a\r\nx-B: \t two words \t\r\nEmpty:\r\n\r\n")
                .unwrap();
        assert_eq!(
            (head.method(), head.target(), head.minor()),
            ("POST", &b"/x?y"[..], 0)
        );
        let lines: Vec<_> = head
            .fields()
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        let expected: [(&[u8], &[u8]); 3] =
            [(b"HOST", b"a"), (b"x-B", b"two words"), (b"Empty", b"")];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_breaks_the_grammar_of_a_request_is_refused() {
        use Malformed as M;
        let rows: [(&[u8], M); 16] = [
            (b"GET / HTTP/1.1\r\n folded: a\r\n\r\n", M::FieldName),
            (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", M::FieldName),
            (
                b"GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
                M::FieldName,
            ),
            (
                b"GET / HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n\r\n",
                M::FieldName,
            ),
            (
                b"GET / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
                M::FieldValue,
            ),
            (b"GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", M::FieldValue),
            (b"GET / HTTP/1.1\r\n: b\r\n\r\n", M::FieldName),
            (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", M::FieldName),
            (b"GET / HTTP/1.1\r\nA\xe9: b\r\n\r\n", M::FieldName),
            (b" GET / HTTP/1.1\r\n\r\n", M::StartLine),
            (b"GET  / HTTP/1.1\r\n\r\n", M::StartLine),
            (b"GET /a b HTTP/1.1\r\n\r\n", M::Version),
            (b"GET / HTTP/1.1 \r\n\r\n", M::StartLine),
            (b"GET /\r\n\r\n", M::StartLine),
            (b"PRI * HTTP/2.0\r\n\r\n", M::Version),
            (b"GET / http/1.1\r\n\r\n", M::Version),
        ];
        for (text, expected) in rows {
            let refused = request_head(text).map(|_| ()).unwrap_err();
            let both = [expected, M::StartLine];
            assert!(
                both.contains(&refused),
                "{}: {refused:?}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn a_response_head_keeps_status_and_phrase() {
        let head = response_head("HTTP/1.1 403 Not For You\r\nA: b\r\n\r\n").unwrap();
        assert_eq!(
            (head.status(), head.reason(), head.minor()),
            (403, &b"Not For You"[..], 1)
        );
        let head = response_head("HTTP/1.0 200\r\n\r\n").unwrap();
        assert_eq!(
            (head.status(), head.reason(), head.minor()),
            (200, &b""[..], 0)
        );
        assert!(
            response_head("HTTP/1.1 103 Early Hints\r\n\r\n")
                .unwrap()
                .is_interim()
        );
        assert!(
            !response_head("HTTP/1.1 101 Switching Protocols\r\n\r\n")
                .unwrap()
                .is_interim()
        );
    }

    #[test]
    fn what_breaks_the_grammar_of_a_response_is_refused() {
        let rows: [&[u8]; 11] = [
            b"SSH-2.0-x\r\n\r\n",
            b"\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 20 OK\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 099 Odd\r\n\r\n",
            b"HTTP/1.1  200 OK\r\n\r\n",
            b"HTTP/2 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n",
        ];
        for text in rows {
            assert!(response_head(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn debug_output_shows_no_value() {
        let head = request_head("GET /?token=s3cret HTTP/1.1\r\nCookie: s3cret\r\n\r\n").unwrap();
        assert!(!format!("{head:?}").contains("s3cret"));
    }

    proptest! {
        #[test]
        fn any_split_of_a_head_gives_the_same_answer(
            bytes in prop::collection::vec(prop_oneof![
                6 => prop::sample::select(b"\r\nA: ".to_vec()),
                1 => any::<u8>(),
            ], 0..80),
            piece in 1usize..9,
            max in 1usize..90,
        ) {
            let whole = head_end(&bytes, 0, max);
            let pieces = in_pieces(&bytes, piece, max);
            // Which fault is met first may depend on the pieces, that there is one may not.
            prop_assert_eq!(whole.ok(), pieces.ok());
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = head_end(&bytes, 0, 100);
            let _ = RequestHead::parse(Bytes::from(bytes.clone()), 10);
            let _ = ResponseHead::parse(Bytes::from(bytes), 10);
        }
    }
}
