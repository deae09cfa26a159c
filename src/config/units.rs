//! Durations, sizes and rates as the configuration spells them.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::logic::limit::Rate;

/// Reads `250ms`, `30s`, `5m`, `1h`; `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// Writes a duration so that [`duration`] reads it back, in the largest unit that is exact, but
/// a minute as people write timeouts: `60s`.
pub(super) fn written_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 && ms > 60_000 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// Reads `125`, `64KiB`, `1MiB`, `1GiB`, and nginx's `64k`, `1m`, `1g`; `None` for anything else.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "" => 1,
        "KiB" | "k" | "K" => KIB,
        "MiB" | "m" | "M" => MIB,
        "GiB" | "g" | "G" => GIB,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// Writes a size so that [`size`] reads it back, in the largest unit that is exact.
pub(super) fn written_size(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        n if n % GIB == 0 => format!("{}GiB", n / GIB),
        n if n % MIB == 0 => format!("{}MiB", n / MIB),
        n if n % KIB == 0 => format!("{}KiB", n / KIB),
        n => n.to_string(),
    }
}

/// Reads `10/s` and `10/s burst 20`, with amounts as `amount` reads them.
pub(super) fn rate(text: &str, amount: fn(&str) -> Option<u64>) -> Option<Rate> {
    let (per_second, rest) = text.split_once("/s")?;
    let per_second = NonZeroU64::new(amount(per_second)?)?;
    let burst = match rest {
        "" => per_second,
        rest => NonZeroU64::new(amount(rest.strip_prefix(" burst ")?)?)?,
    };
    Some(Rate { per_second, burst })
}

/// Writes a rate so that [`rate`] reads it back.
pub(super) fn written_rate(rate: Rate, amount: fn(u64) -> String) -> String {
    let per_second = amount(rate.per_second.get());
    match rate.burst == rate.per_second {
        true => format!("{per_second}/s"),
        false => format!("{per_second}/s burst {}", amount(rate.burst.get())),
    }
}

/// Reads a plain number.
pub(super) fn count(text: &str) -> Option<u64> {
    match number_and_unit(text)? {
        (number, "") => Some(number),
        _ => None,
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_the_contract_spells_them() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("30s"), Some(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        for text in [
            "",
            "30",
            "s",
            "-1s",
            "+1s",
            "1 s",
            "1.5s",
            "1d",
            "1S",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
        assert_eq!(duration("18446744073709551615h"), None);
    }

    #[test]
    fn sizes_are_read_as_the_contract_and_nginx_spell_them() {
        assert_eq!(size("125"), Some(125));
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("64k"), Some(65_536));
        assert_eq!(size("1MiB"), size("1m"));
        for text in [
            "",
            "64XB",
            "64KB",
            "64kb",
            "KiB",
            "-1",
            "1.5MiB",
            "18446744073709551615k",
        ] {
            assert_eq!(size(text), None, "{text}");
        }
    }

    #[test]
    fn a_rate_without_burst_has_a_bucket_of_one_second() {
        let rate = |text| rate(text, count);
        let expected = |per_second, burst| {
            Some(Rate {
                per_second: NonZeroU64::new(per_second).unwrap(),
                burst: NonZeroU64::new(burst).unwrap(),
            })
        };
        assert_eq!(rate("10/s"), expected(10, 10));
        assert_eq!(rate("10/s burst 20"), expected(10, 20));
        for text in [
            "10",
            "0/s",
            "10/s burst 0",
            "10/m",
            "10/s burst",
            "10/s  burst 2",
            "/s",
            "1k/s",
        ] {
            assert_eq!(rate(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number in 0..u64::MAX / 2, step in prop::sample::select(vec![1u64, 1000, 60_000, 1024, MIB])) {
            let number = number / step * step;
            prop_assert_eq!(size(&written_size(number)), Some(number));
            let time = Duration::from_millis(number / 1000);
            prop_assert_eq!(duration(&written_duration(time)), Some(time));
        }

        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (duration(&text), size(&text), rate(&text, size));
        }
    }
}
