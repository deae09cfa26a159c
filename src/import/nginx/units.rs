//! Times, sizes and rates as nginx writes them, as ours.

/// `30`, `30s`, `500ms`, `1h`, `1d`, `1h 30m` written together, as one of ours.
pub fn time(text: &str) -> Option<String> {
    let millis = milliseconds(text)?;
    Some(match millis {
        ms if ms % 3_600_000 == 0 && ms > 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    })
}

/// The whole seconds of a time.
pub fn seconds(text: &str) -> Option<u64> {
    milliseconds(text).map(|ms| ms / 1000)
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let factor = match unit {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "M" => 30 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(factor)?)?;
        rest = tail.trim_start();
    }
    (!text.is_empty()).then_some(total)
}

/// `512`, `8k`, `1m`, `1g`, in bytes.
pub fn bytes(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (number, factor) = match lower.as_bytes().last()? {
        b'k' => (&lower[..lower.len() - 1], 1 << 10),
        b'm' => (&lower[..lower.len() - 1], 1 << 20),
        b'g' => (&lower[..lower.len() - 1], 1 << 30),
        _ => (lower.as_str(), 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// `10r/s`, `60r/m`, in whole requests a second.
pub fn per_second(text: &str) -> Option<u64> {
    if let Some(number) = text.strip_suffix("r/s") {
        return number.parse().ok();
    }
    let number: u64 = text.strip_suffix("r/m")?.parse().ok()?;
    number.is_multiple_of(60).then_some(number / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_nginx_reads_them() {
        for (theirs, ours) in [
            ("30", Some("30s")),
            ("60s", Some("60s")),
            ("500ms", Some("500ms")),
            ("1d", Some("24h")),
            ("1h30m", Some("5400s")),
            ("3600", Some("1h")),
            ("0", Some("0s")),
            ("", None),
            ("x", None),
            ("s", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(time(theirs).as_deref(), ours, "{theirs}");
        }
    }

    #[test]
    fn sizes_and_rates_are_read_as_nginx_reads_them() {
        assert_eq!(bytes("8k"), Some(8192));
        assert_eq!(bytes("1M"), Some(1 << 20));
        assert_eq!(bytes("x"), None);
        assert_eq!(per_second("10r/s"), Some(10));
        assert_eq!(per_second("120r/m"), Some(2));
        assert_eq!(per_second("30r/m"), None);
    }
}
