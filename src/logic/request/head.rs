//! Message heads: where one ends in a stream, and what its lines are (RFC 9112).
//! Knows grammar only; what a request means is `syntax`.

use std::fmt;
use std::ops::Range;
use std::str;

use bytes::Bytes;
use memchr::{memchr_iter, memchr3_iter};

use super::Malformed;
use super::fields::{Fields, range_within};

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
