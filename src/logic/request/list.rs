//! Lists in field values (RFC 9110 section 5.6.1) and the tokens they are made of.

/// The elements of a list: split at commas outside quoted strings, trimmed, empty ones left out.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_unquoted(value, b',').filter(|element| !element.is_empty())
}

/// The parts between `separator`, trimmed of optional white space; a separator inside a quoted
/// string does not count.
pub fn split_unquoted(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoting = Quoting::default();
    value
        .split(move |&byte| !quoting.covers(byte) && byte == separator)
        .map(trim)
}

/// Whether `value` is a token (RFC 9110 section 5.6.2).
pub fn is_token(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().copied().all(is_token_byte)
}

/// Whether `byte` may stand in a token.
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(
        byte,
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9'
            | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_'
            | b'`' | b'|' | b'~'
    )
}

/// Without the optional white space at both ends (RFC 9110 section 5.6.3).
pub fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Follows quoted strings (RFC 9110 section 5.6.4) byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quoting {
    inside: bool,
    escaped: bool,
}

impl Quoting {
    /// Takes the next byte; true when it belongs to a quoted string, its quotes included.
    pub fn covers(&mut self, byte: u8) -> bool {
        let was_inside = self.inside;
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.inside => self.escaped = true,
            b'"' => self.inside = !self.inside,
            _ => {}
        }
        was_inside || self.inside
    }

    /// Whether a quoted string is still open.
    pub const fn is_open(self) -> bool {
        self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_at_commas_outside_quotes() {
        let rows: [(&[u8], &[&[u8]]); 7] = [
            (b"", &[]),
            (b"a", &[b"a"]),
            (b" a ,\tb", &[b"a", b"b"]),
            (b",, a,, ,b,", &[b"a", b"b"]),
            (br#""a, b", c"#, &[br#""a, b""#, b"c"]),
            (br#"a="x\",y", c"#, &[br#"a="x\",y""#, b"c"]),
            (br#""never closed, c"#, &[br#""never closed, c"#]),
        ];
        for (value, expected) in rows {
            assert_eq!(elements(value).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_token_has_no_separator_and_is_not_empty() {
        for token in ["a", "x-y.z", "permessage-deflate", "!#$%&'*+-.^_`|~09"] {
            assert!(is_token(token.as_bytes()), "{token}");
        }
        for other in ["", "a b", "a/b", "\"a\"", "a,b", "é", "a\0"] {
            assert!(!is_token(other.as_bytes()), "{other}");
        }
    }
}
