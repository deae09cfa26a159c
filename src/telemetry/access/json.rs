//! A JSON object as one line of printable ASCII, whatever its texts are: what a peer chose cannot
//! break the line, hide in it or steer a terminal.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

use crate::config::defaults::ACCESS_LOG_TEXT_BYTES;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Value<'a> {
    Null,
    Number(u64),
    /// A number as a text: beyond 2^53 many a reader would round it.
    Digits(u64),
    Text(&'a str),
    Address(IpAddr),
    /// In milliseconds, to the microsecond.
    Millis(Duration),
    /// In UTC, to the millisecond (RFC 3339).
    Moment(SystemTime),
}

/// Appends an object of these fields and a line end.
pub fn write_line<'a>(fields: impl Iterator<Item = (&'static str, Value<'a>)>, out: &mut Vec<u8>) {
    let mut separator = b'{';
    for (name, value) in fields {
        out.push(separator);
        write_text(name, out);
        out.push(b':');
        write_value(value, out);
        separator = b',';
    }
    out.extend_from_slice(b"}\n");
}

/// What a peer sent, as it may be kept for the log: text, cut with a mark where it is longer than
/// [`ACCESS_LOG_TEXT_BYTES`].
pub fn bounded(bytes: &[u8]) -> Box<str> {
    // The bytes behind the bound show whether a character that reaches over it is a whole one.
    let seen = &bytes[..bytes.len().min(ACCESS_LOG_TEXT_BYTES + 3)];
    let text = String::from_utf8_lossy(seen);
    let fits = |&(at, char): &(usize, char)| at + char.len_utf8() <= ACCESS_LOG_TEXT_BYTES;
    let end = text.char_indices().take_while(fits).last();
    let end = end.map_or(0, |(at, char)| at + char.len_utf8());
    match &text[..end] {
        whole if end == text.len() => whole.into(),
        start => format!("{start}{CUT_MARK}").into(),
    }
}

/// Stands at the end of a text that was cut.
const CUT_MARK: char = '…';

fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    // Writing to a Vec cannot fail.
    let _ = match value {
        Value::Null => write!(out, "null"),
        Value::Number(number) => write!(out, "{number}"),
        Value::Digits(number) => write!(out, "\"{number}\""),
        Value::Address(address) => write!(out, "\"{address}\""),
        Value::Millis(span) => write!(out, "{}.{:03}", span.as_millis(), span.as_micros() % 1000),
        Value::Moment(at) => write_moment(at.into(), out),
        Value::Text(text) => {
            write_text(text, out);
            Ok(())
        }
    };
}

fn write_moment(at: OffsetDateTime, out: &mut Vec<u8>) -> std::io::Result<()> {
    let (year, month, day) = at.to_calendar_date();
    let (hour, minute, second, milli) = at.to_hms_milli();
    write!(
        out,
        "\"{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z\"",
        u8::from(month)
    )
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend([b'\\', if char == '"' { b'"' } else { b'\\' }]),
            ' '..='~' => out.extend_from_slice(char.encode_utf8(&mut [0]).as_bytes()),
            _ => write_escaped(char, out),
        }
    }
    out.push(b'"');
}

/// RFC 8259 section 7: UTF-16 in hexadecimal, a pair of surrogates beyond the first plane.
fn write_escaped(char: char, out: &mut Vec<u8>) {
    for unit in char.encode_utf16(&mut [0; 2]) {
        // Writing to a Vec cannot fail.
        let _ = write!(out, "\\u{unit:04x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    fn line(value: Value<'_>) -> String {
        let mut out = Vec::new();
        write_line([("it", value)].into_iter(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_kind_of_value_is_written_as_json_knows_it() {
        for (value, written) in [
            (Value::Null, "null"),
            (Value::Number(u64::MAX), "18446744073709551615"),
            (Value::Digits(u64::MAX), "\"18446744073709551615\""),
            (Value::Text("/ws"), "\"/ws\""),
            (Value::Address([192, 0, 2, 1].into()), "\"192.0.2.1\""),
            (Value::Millis(Duration::from_micros(1_234_567)), "1234.567"),
            (Value::Millis(Duration::from_nanos(1_999)), "0.001"),
            (
                Value::Moment(SystemTime::UNIX_EPOCH + Duration::from_millis(1_772_323_199_007)),
                "\"2026-02-28T23:59:59.007Z\"",
            ),
        ] {
            assert_eq!(line(value), format!("{{\"it\":{written}}}\n"));
        }
    }

    #[test]
    fn quotes_controls_and_direction_marks_are_escaped() {
        let hostile = "\" \\ \r\n \u{1b}[31m \0 \u{202e} \u{7f} \u{85} <script> 😀";
        let expected =
            r#"\" \\ \u000d\u000a \u001b[31m \u0000 \u202e \u007f \u0085 <script> \ud83d\ude00"#;
        assert_eq!(
            line(Value::Text(hostile)),
            format!("{{\"it\":\"{expected}\"}}\n")
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(&*bounded(b"/caf\xe9"), "/caf\u{fffd}");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character_and_marked() {
        let long = "é".repeat(ACCESS_LOG_TEXT_BYTES);
        let kept = "é".repeat(ACCESS_LOG_TEXT_BYTES / 2);
        assert_eq!(*bounded(long.as_bytes()), format!("{kept}…"));
        let odd = format!("x{long}");
        let kept = "é".repeat(ACCESS_LOG_TEXT_BYTES / 2 - 1);
        assert_eq!(*bounded(odd.as_bytes()), format!("x{kept}…"));
        let exact = "x".repeat(ACCESS_LOG_TEXT_BYTES);
        assert_eq!(*bounded(exact.as_bytes()), *exact);
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_of_printable_ascii_that_reads_back(text in "\\PC*|.*") {
            let line = line(Value::Text(&text));
            let (end, rest) = line.as_bytes().split_last().unwrap();
            prop_assert_eq!(*end, b'\n');
            prop_assert!(rest.iter().all(|byte| matches!(byte, b' '..=b'~')));
            let json: Json = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(&json["it"], &Json::String(text));
        }

        #[test]
        fn any_bytes_are_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let text = bounded(&bytes);
            prop_assert!(text.len() <= ACCESS_LOG_TEXT_BYTES + CUT_MARK.len_utf8());
            // The mark may make up for all that was cut.
            let whole = String::from_utf8_lossy(&bytes).len() <= ACCESS_LOG_TEXT_BYTES;
            prop_assert_eq!(text.ends_with(CUT_MARK), !whole);
        }
    }
}
