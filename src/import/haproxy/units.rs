//! Times as HAProxy writes them, as ours.

/// `5s`, `500` (milliseconds), `1h`, as one of ours.
pub fn time(text: &str) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let micros = number.checked_mul(match unit {
        "us" => 1,
        "" | "ms" => 1000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return None,
    })?;
    // Less than a millisecond is still not nothing.
    Some(match micros.div_ceil(1000) {
        ms if ms % 3_600_000 == 0 && ms > 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_is_milliseconds() {
        for (theirs, ours) in [
            ("5000", Some("5s")),
            ("500", Some("500ms")),
            ("1h", Some("1h")),
            ("30m", Some("1800s")),
            ("1d", Some("24h")),
            ("100us", Some("1ms")),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(time(theirs).as_deref(), ours, "{theirs}");
        }
    }
}
