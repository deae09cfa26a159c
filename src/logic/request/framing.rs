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
    let dashed = |byte: u8| {
        if byte == b'_' {
            b'-'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    let name = name.iter().copied().map(dashed);
    name.eq(real.bytes().map(dashed))
}

/// RFC 9110 section 8.6: digits alone. What does not fit a signed 64-bit number is refused, because
/// somewhere behind us it would be read into one.
fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let digits = str::from_utf8(value).map_err(|_| Malformed::ContentLength)?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed::ContentLength);
    }
    let length: i64 = digits.parse().map_err(|_| Malformed::ContentLength)?;
    u64::try_from(length).map_err(|_| Malformed::ContentLength)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::request::testing::{request_head, response_head};

    fn request(version: &str, lines: &str) -> Result<Framing, Malformed> {
        let head = request_head(format!("POST / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"))?;
        Framing::of_request(&head)
    }

    fn response(method: &str, status: &str, lines: &str) -> Result<Framing, Malformed> {
        let head = response_head(format!("HTTP/1.1 {status} X\r\n{lines}\r\n"))?;
        Framing::of_response(&head, method)
    }

    #[test]
    fn a_request_says_how_long_its_body_is_in_one_way() {
        let rows = [
            ("", Framing::None),
            ("Content-Length: 0\r\n", Framing::Length(0)),
            ("content-length:\t 007 \r\n", Framing::Length(7)),
            (
                "Content-Length: 9223372036854775807\r\n",
                Framing::Length(u64::MAX >> 1),
            ),
            ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
            ("TRANSFER-ENCODING: Chunked\r\n", Framing::Chunked),
        ];
        for (lines, expected) in rows {
            assert_eq!(request("1.1", lines), Ok(expected), "{lines}");
        }
    }

    /// ATTACKS B01, B02, B04.
    #[test]
    fn a_length_that_two_parsers_could_read_differently_is_refused() {
        use Malformed as M;
        let rows = [
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                M::TwoLengths,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                M::TwoLengths,
            ),
            (
                "transfer-encoding: CHUNKED\r\ncontent-length: 5\r\n",
                M::TwoLengths,
            ),
            (
                "Content-Length: 5\r\nContent-Length: 6\r\n",
                M::ContentLength,
            ),
            (
                "Content-Length: 5\r\nContent-Length: 5\r\n",
                M::ContentLength,
            ),
            ("Content-Length: 5, 5\r\n", M::ContentLength),
            ("Content-Length: +5\r\n", M::ContentLength),
            ("Content-Length: -1\r\n", M::ContentLength),
            ("Content-Length: 0x5\r\n", M::ContentLength),
            ("Content-Length: 5 5\r\n", M::ContentLength),
            ("Content-Length: 1e1\r\n", M::ContentLength),
            ("Content-Length: 5.0\r\n", M::ContentLength),
            ("Content-Length:\r\n", M::ContentLength),
            ("Content-Length: 9223372036854775808\r\n", M::ContentLength),
            ("Content-Length: 18446744073709551616\r\n", M::ContentLength),
            ("Content-Length: 99999999999999999999\r\n", M::ContentLength),
            ("Content-Length: \u{0665}\r\n", M::ContentLength),
            ("Transfer-Encoding:\r\n", M::TransferEncoding),
            ("Transfer-Encoding: gzip\r\n", M::TransferEncoding),
            ("Transfer-Encoding: gzip, chunked\r\n", M::TransferEncoding),
            (
                "Transfer-Encoding: chunked, chunked\r\n",
                M::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                M::TransferEncoding,
            ),
            ("Transfer-Encoding: identity\r\n", M::TransferEncoding),
            ("Transfer-Encoding: \"chunked\"\r\n", M::TransferEncoding),
            ("Transfer-Encoding: chunked;q=1\r\n", M::TransferEncoding),
            ("Transfer-Encoding: \u{a0}chunked\r\n", M::TransferEncoding),
            ("Transfer_Encoding: chunked\r\n", M::FramingTwin),
            ("transfer_encoding: identity\r\n", M::FramingTwin),
            ("Content_Length: 5\r\n", M::FramingTwin),
        ];
        for (lines, expected) in rows {
            assert_eq!(request("1.1", lines), Err(expected), "{lines}");
        }
    }

    /// ATTACKS B05.
    #[test]
    fn http_1_0_has_no_transfer_encoding() {
        let chunked = "Transfer-Encoding: chunked\r\n";
        assert_eq!(
            request("1.0", chunked),
            Err(Malformed::TransferEncodingInHttp10)
        );
        let head = response_head(format!("HTTP/1.0 200 OK\r\n{chunked}\r\n")).unwrap();
        assert_eq!(
            Framing::of_response(&head, "GET"),
            Err(Malformed::TransferEncodingInHttp10)
        );
    }

    #[test]
    fn a_response_is_delimited_as_its_request_and_status_say() {
        let rows = [
            ("GET", "200", "", Framing::UntilClose),
            ("GET", "200", "Content-Length: 5\r\n", Framing::Length(5)),
            (
                "GET",
                "200",
                "Transfer-Encoding: chunked\r\n",
                Framing::Chunked,
            ),
            ("HEAD", "200", "Content-Length: 5\r\n", Framing::None),
            (
                "HEAD",
                "200",
                "Transfer-Encoding: chunked\r\n",
                Framing::None,
            ),
            ("GET", "204", "", Framing::None),
            ("GET", "204", "Content-Length: 5\r\n", Framing::None),
            ("GET", "304", "Content-Length: 5\r\n", Framing::None),
            ("GET", "100", "", Framing::None),
        ];
        for (method, status, lines, expected) in rows {
            assert_eq!(
                response(method, status, lines),
                Ok(expected),
                "{method} {status} {lines}"
            );
        }
    }

    /// ATTACKS B16.
    #[test]
    fn an_ambiguous_response_is_refused() {
        for lines in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: -1\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
        ] {
            assert!(response("GET", "200", lines).is_err(), "{lines}");
            assert!(response("HEAD", "304", lines).is_err(), "{lines}");
        }
    }
}
