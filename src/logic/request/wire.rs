//! Field lines as they stand on the wire.

use std::borrow::Cow;
use std::io::Write as _;

use super::Framing;

/// Appends one field line; name and value are fit for one.
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// A text of any kind as a field's value, and of no two texts the same one: visible ASCII and spaces
/// inside stay, all else and `%` is percent-encoded.
pub(super) fn field_text(text: &str) -> Cow<'_, [u8]> {
    let last = text.len().saturating_sub(1);
    let stays = |(at, byte): (usize, u8)| match byte {
        b'%' => false,
        b' ' => at > 0 && at < last,
        byte => byte.is_ascii_graphic(),
    };
    if text.bytes().enumerate().all(stays) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut value = Vec::with_capacity(text.len() * 2);
    for (at, byte) in text.bytes().enumerate() {
        if stays((at, byte)) {
            value.push(byte);
        } else {
            // Writing to a Vec cannot fail.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value.into()
}

/// Puts the framing that was found good, so that the next reader sees the body we mean.
pub(super) fn put_framing(framing: Framing, mut put: impl FnMut(&[u8], &[u8])) {
    match framing {
        Framing::Length(length) => put(b"Content-Length", length.to_string().as_bytes()),
        Framing::Chunked => put(b"Transfer-Encoding", b"chunked"),
        Framing::None | Framing::UntilClose => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_becomes_a_value_that_no_other_text_becomes() {
        for (text, value) in [
            ("ann", "ann"),
            ("Ann Lee", "Ann Lee"),
            ("a@b.example,c=\"d\"", "a@b.example,c=\"d\""),
            (" ann ", "%20ann%20"),
            ("100%", "100%25"),
            ("zoë", "zo%C3%AB"),
            ("a\r\nX: y\0\u{1b}\t", "a%0D%0AX: y%00%1B%09"),
            ("", ""),
        ] {
            assert_eq!(field_text(text), value.as_bytes(), "{text:?}");
        }
    }
}
