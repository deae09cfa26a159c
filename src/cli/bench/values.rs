//! How the options' values are written.

use std::num::NonZeroU64;
use std::time::Duration;

use super::{Auto, Unlimited};

/// Threads hold three messages at once, connections their part of them.
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

pub(super) fn rate(text: &str) -> Result<NonZeroU64, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .map_err(|_| "not a rate (write 500/s)".to_owned())
}

pub(super) fn rate_or_max(text: &str) -> Result<Unlimited<NonZeroU64>, String> {
    if text == "max" {
        Ok(None)
    } else {
        rate(text).map(Some)
    }
}

pub(super) fn threads(text: &str) -> Result<Auto<NonZeroU64>, String> {
    if text == "auto" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| "not a number of threads (write auto, or 4)".to_owned())
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read = || {
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        number
            .checked_mul(millis)
            .filter(|&millis| millis > 0)
            .map(Duration::from_millis)
    };
    read().ok_or_else(|| "not a time (write 500ms, 10s or 5m)".to_owned())
}

pub(super) fn size(text: &str) -> Result<usize, String> {
    let read = || {
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: usize = match unit {
            "" => 1,
            "KiB" | "k" => 1024,
            "MiB" | "m" => 1024 * 1024,
            _ => return None,
        };
        number.parse::<usize>().ok()?.checked_mul(factor)
    };
    read()
        .filter(|&bytes| bytes <= MAX_MESSAGE_BYTES)
        .ok_or_else(|| "not a size (write 128, 64KiB or 1MiB, up to 256MiB)".to_owned())
}
