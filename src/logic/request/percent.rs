//! Percent encoding (RFC 3986 section 2.1), undone.

use std::borrow::Cow;

/// The bytes that a text stands for; what only looks like an escape stays as it is.
pub fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('%') {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(hex);
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    bytes.into()
}

fn hex(digits: &[u8]) -> Option<u8> {
    // The parser below takes a sign for a digit.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_escape_stays_as_it_is() {
        for (text, expected) in [
            ("%2Fx", "/x"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%+1", "%+1"),
            ("a+b", "a+b"),
        ] {
            assert_eq!(*decoded(text), *expected.as_bytes(), "{text}");
        }
    }
}
