//! How long a message's body is (RFC 9112 section 6.3), and what makes that ambiguous.

use super::fields::Fields;
use super::{Malformed, RequestHead, ResponseHead};

/// What delimits a message's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// The end of the stream; responses only.
    UntilClose,
}

impl Framing {
    /// How a request's body is delimited.
    ///
    /// # Errors
    /// Whatever two implementations could read differently: RFC 9112 section 6.3 lets a proxy
    /// repair some of it, and every repair has been somebody's smuggling hole.
    pub fn of_request(head: &RequestHead) -> Result<Self, Malformed> {
        let announced = announced(head.fields(), head.minor())?;
        Ok(announced.unwrap_or(Self::None))
    }

    /// How the body of the response to a request of that method is delimited.
    ///
    /// # Errors
    /// As for requests.
    pub fn of_response(head: &ResponseHead, request_method: &str) -> Result<Self, Malformed> {
        let announced = announced(head.fields(), head.minor())?;
        if request_method == "HEAD" || matches!(head.status(), 100..=199 | 204 | 304) {
            return Ok(Self::None);
        }
        Ok(announced.unwrap_or(Self::UntilClose))
    }
}

/// What the fields say, if they say anything.
fn announced(fields: &Fields, minor: u8) -> Result<Option<Framing>, Malformed> {
    refuse_twins(fields)?;
    let length = fields
        .one("content-length")
        .map_err(|_| Malformed::ContentLength)?;
    let coding = fields
        .one("transfer-encoding")
        .map_err(|_| Malformed::TransferEncoding)?;
    match (coding, length) {
        (Some(_), Some(_)) => Err(Malformed::TwoLengths),
        (Some(_), None) if minor == 0 => Err(Malformed::TransferEncodingInHttp10),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Framing::Chunked))
        }
        (Some(_), None) => Err(Malformed::TransferEncoding),
        (None, Some(length)) => content_length(length).map(Framing::Length).map(Some),
        (None, None) => Ok(None),
    }
}

/// `Transfer_Encoding` is `Transfer-Encoding` to whatever reads fields as CGI variables.
fn refuse_twins(fields: &Fields) -> Result<(), Malformed> {
    let is_twin = |name: &[u8]| {
        name.contains(&b'_')
            && ["transfer-encoding", "content-length"]
                .iter()
                .any(|real| same_but_for_underscores(name, real))
    };
    if fields.iter().any(|field| is_twin(field.name)) {
        Err(Malformed::FramingTwin)
    } else {
        Ok(())
    }
}

/// Whether `name` is `real`, in any case, with `_` read as `-`.
pub(super) fn same_but_for_underscores(name: &[u8], real: &str) -> bool {
    let dashed = |byte: &u8| {
        if *byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    name.iter().map(dashed).eq(real.bytes())
}

/// RFC 9110 section 8.6: digits alone. Anything that does not fit a signed 64-bit number is refused,
/// because somewhere behind us it would be read into one.
fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = str::from_utf8(value).map_err(|_| Malformed::ContentLength)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::ContentLength);
    }
    let length: i64 = digits.parse().map_err(|_| Malformed::ContentLength)?;
    u64::try_from(length).map_err(|_| Malformed::ContentLength)
}
