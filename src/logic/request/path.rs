//! The one form of a path, for routes, access rules and backend alike.
//!
//! What two parsers could read as two different paths is refused, never repaired.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::Malformed;

/// The normal form of an absolute path (RFC 3986 section 6.2.2): escapes of unreserved characters
/// decoded, all others in capitals, characters that a URI may not have escaped.
///
/// # Errors
/// Dot segments in any spelling, empty segments, backslashes, escaped slashes, backslashes and
/// NULs, `#`, `?`, white space, controls and bytes above 0x7e, escapes without two digits.
pub fn normal_form(path: &[u8]) -> Result<Cow<'_, str>, Malformed> {
    if path.first() != Some(&b'/') {
        return Err(Malformed::Target);
    }
    let path = match str::from_utf8(path) {
        Ok(text) if path.iter().copied().all(is_normal) => Cow::Borrowed(text),
        _ => Cow::Owned(rewritten(path)?),
    };
    check_segments(&path)?;
    Ok(path)
}

/// Whether a byte stands for itself in the normal form.
const fn is_normal(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'/' | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn rewritten(path: &[u8]) -> Result<String, Malformed> {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path.iter().copied();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let escaped = escaped_byte(rest.next(), rest.next())?;
                push(&mut normal, escaped, is_unreserved(escaped));
            }
            b'\\' | b'#' | b'?' | ..=b' ' | 0x7f.. => return Err(Malformed::PathCharacter),
            other => push(&mut normal, other, is_normal(other)),
        }
    }
    Ok(normal)
}

/// The byte behind a percent sign.
fn escaped_byte(high: Option<u8>, low: Option<u8>) -> Result<u8, Malformed> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    let (Some(high), Some(low)) = (digit(high), digit(low)) else {
        return Err(Malformed::PathEscape);
    };
    match u8::try_from(high * 16 + low) {
        Ok(b'/' | b'\\' | 0) => Err(Malformed::PathHiddenSlash),
        Ok(byte) => Ok(byte),
        Err(_) => Err(Malformed::PathEscape),
    }
}

fn push(normal: &mut String, byte: u8, plain: bool) {
    if plain {
        normal.push(char::from(byte));
    } else {
        // Writing to a String cannot fail.
        let _ = write!(normal, "%{byte:02X}");
    }
}

fn check_segments(path: &str) -> Result<(), Malformed> {
    // A single empty segment at the end is a trailing slash.
    let mut segments = path[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(Malformed::PathEmptySegment);
        }
        // Some servers cut `;parameters` off a segment before they look at its dots.
        let name = segment.split_once("%3B").map_or(segment, |(name, _)| name);
        let name = name.split_once(';').map_or(name, |(name, _)| name);
        if matches!(name, "." | "..") {
            return Err(Malformed::PathDotSegment);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_form() {
        let rows = [
            ("/", "/"),
            ("/ws", "/ws"),
            ("/ws/", "/ws/"),
            ("/%77%73", "/ws"),
            ("/%7Euser/%7euser", "/~user/~user"),
            ("/a%2db", "/a-b"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a%3ab:c", "/a%3Ab:c"),
            ("/%252e%252e", "/%252e%252e"),
            ("/...", "/..."),
            ("/.a/..b/c..", "/.a/..b/c.."),
            ("/a;x=..", "/a;x=.."),
            ("/{a}|^`\"<>", "/%7Ba%7D%7C%5E%60%22%3C%3E"),
            ("/%7ba%7d", "/%7Ba%7D"),
        ];
        for (path, expected) in rows {
            assert_eq!(
                normal_form(path.as_bytes()).as_deref(),
                Ok(expected),
                "{path}"
            );
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        use Malformed as M;
        let rows: [(&[u8], M); 32] = [
            (b"", M::Target),
            (b"ws", M::Target),
            (b"*", M::Target),
            (b"//", M::PathEmptySegment),
            (b"/a//b", M::PathEmptySegment),
            (b"/a//", M::PathEmptySegment),
            (b"/.", M::PathDotSegment),
            (b"/..", M::PathDotSegment),
            (b"/a/../b", M::PathDotSegment),
            (b"/a/./b", M::PathDotSegment),
            (b"/%2e", M::PathDotSegment),
            (b"/a/%2E%2e/b", M::PathDotSegment),
            (b"/a/.%2e/", M::PathDotSegment),
            (b"/a/..;/b", M::PathDotSegment),
            (b"/a/..;x=y/b", M::PathDotSegment),
            (b"/a/.;", M::PathDotSegment),
            (b"/a/%2e%2e%3b/b", M::PathDotSegment),
            (b"/a\\b", M::PathCharacter),
            (b"/a#b", M::PathCharacter),
            (b"/a?b", M::PathCharacter),
            (b"/a b", M::PathCharacter),
            (b"/a\x7f", M::PathCharacter),
            (b"/a\x80", M::PathCharacter),
            (b"/caf\xc3\xa9", M::PathCharacter),
            (b"/a%2fb", M::PathHiddenSlash),
            (b"/a%2Fb", M::PathHiddenSlash),
            (b"/a%5cb", M::PathHiddenSlash),
            (b"/a%00", M::PathHiddenSlash),
            (b"/a%", M::PathEscape),
            (b"/a%4", M::PathEscape),
            (b"/a%zz", M::PathEscape),
            (b"/a%+1", M::PathEscape),
        ];
        for (path, expected) in rows {
            assert_eq!(normal_form(path), Err(expected), "{}", path.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn the_normal_form_of_a_normal_form_is_itself(path in "/[ -~]{0,40}") {
            if let Ok(normal) = normal_form(path.as_bytes()) {
                prop_assert_eq!(normal_form(normal.as_bytes()), Ok(Cow::Borrowed(&*normal)));
            }
        }

        #[test]
        fn a_normal_form_has_nothing_to_argue_about(
            path in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            if let Ok(normal) = normal_form(&path) {
                prop_assert!(normal.bytes().all(|byte| is_normal(byte) || byte == b'%'));
                prop_assert!(!normal.contains("//"));
                prop_assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
            }
        }

        #[test]
        fn escaping_an_unreserved_character_changes_nothing(
            name in "[a-z0-9._~-]{1,10}",
            at in 0usize..10,
        ) {
            let at = at.min(name.len() - 1);
            let (before, after) = (&name[..at], &name[at + 1..]);
            let escaped = format!("/{before}%{:02x}{after}", name.as_bytes()[at]);
            let plain = format!("/{name}");
            prop_assert_eq!(normal_form(escaped.as_bytes()), normal_form(plain.as_bytes()));
        }
    }
}
