//! Kinds that are numbers: counts, durations, sizes, rates.

use std::fmt::Display;
use std::num::NonZeroU16;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{Describe, Kind, Written};
use crate::config::defaults::MAX_MODE;
use crate::config::reader::Reader;
use crate::config::tree::{Node, Value};
use crate::config::units;
use crate::logic::limit::Rate;
use crate::logic::trace::Share;

/// A number from `.0` to `.1`.
#[derive(Clone, Copy)]
pub(in crate::config) struct Count(pub(in crate::config) u64, pub(in crate::config) u64);

impl Count {
    fn number(&self, node: &Node, reader: &mut Reader) -> Option<u64> {
        let Self(least, most) = *self;
        let Value::Integer(number) = node.value else {
            reader.wrong_type(node, format!("write a number from {least} to {most}"));
            return None;
        };
        let number = number.and_then(|number| u64::try_from(number).ok());
        in_bounds(number, *self, node, reader, |number| number.to_string())
    }
}

impl Describe for Count {
    fn words(&self) -> String {
        format!("number from {} to {}", self.0, self.1)
    }

    fn schema(&self) -> Json {
        json!({ "type": "integer", "minimum": self.0, "maximum": self.1 })
    }
}

impl<T: TryFrom<u64> + TryInto<u64> + Copy + Display> Kind<T> for Count {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<T> {
        self.number(node, reader)
            .and_then(|number| T::try_from(number).ok())
    }

    fn write(&self, value: &T) -> Written {
        Written::Plain(value.to_string())
    }
}

/// A part of a whole, from 0 to 1.
pub(in crate::config) struct Fraction;

impl Describe for Fraction {
    fn words(&self) -> String {
        "fraction from 0.0 to 1.0".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

impl Kind<Share> for Fraction {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Share> {
        let instead = "write a fraction from 0.0 to 1.0";
        let fraction = match node.value {
            Value::Fraction(fraction) => fraction,
            Value::Integer(Some(0)) => 0.0,
            Value::Integer(Some(1)) => 1.0,
            Value::Integer(_) => f64::INFINITY,
            _ => {
                reader.wrong_type(node, instead);
                return None;
            }
        };
        let share = Share::of(fraction);
        if share.is_none() {
            reader.wrong(node, "not from 0.0 to 1.0", instead);
        }
        share
    }

    fn write(&self, value: &Share) -> Written {
        Written::Plain(value.to_string())
    }
}

/// Permissions, as chmod(1) writes them.
pub(in crate::config) struct Mode;

impl Describe for Mode {
    fn words(&self) -> String {
        "permissions such as `\"0660\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": "^0*[0-7]{3}$" })
    }
}

impl Kind<u32> for Mode {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<u32> {
        let instead = r#"write "0660""#;
        let text = reader.text(node, instead)?;
        let is_octal = text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
        let mode = u32::from_str_radix(&text, 8).ok();
        let mode = mode.filter(|mode| is_octal && text.len() >= 3 && *mode <= MAX_MODE);
        if mode.is_none() {
            reader.wrong(node, "not permissions", instead);
        }
        mode
    }

    fn write(&self, value: &u32) -> Written {
        Written::Text(format!("{value:04o}"))
    }
}

/// A number from 1 to `.0`.
pub(in crate::config) struct Positive(pub(in crate::config) u16);

impl Positive {
    fn count(&self) -> Count {
        Count(1, self.0.into())
    }
}

impl Describe for Positive {
    fn words(&self) -> String {
        self.count().words()
    }

    fn schema(&self) -> Json {
        self.count().schema()
    }
}

impl Kind<NonZeroU16> for Positive {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<NonZeroU16> {
        let number = self.count().number(node, reader)?;
        u16::try_from(number).ok().and_then(NonZeroU16::new)
    }

    fn write(&self, value: &NonZeroU16) -> Written {
        Written::Plain(value.to_string())
    }
}

/// A number up to `.0`, where 0 stands for none.
pub(in crate::config) struct ZeroIsNone(pub(in crate::config) u64);

impl Describe for ZeroIsNone {
    fn words(&self) -> String {
        Count(0, self.0).words()
    }

    fn schema(&self) -> Json {
        Count(0, self.0).schema()
    }
}

impl<T: TryFrom<u64> + Copy + Display> Kind<Option<T>> for ZeroIsNone {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Option<T>> {
        match Count(0, self.0).number(node, reader)? {
            0 => Some(None),
            number => T::try_from(number).ok().map(Some),
        }
    }

    fn write(&self, value: &Option<T>) -> Written {
        Written::Plain(value.map_or("0".to_owned(), |value| value.to_string()))
    }
}

/// A duration from `.0` to `.1`.
pub(in crate::config) struct Time(
    pub(in crate::config) Duration,
    pub(in crate::config) Duration,
);

impl Describe for Time {
    fn words(&self) -> String {
        let [least, most] = [self.0, self.1].map(units::written_duration);
        format!("duration from {least} to {most}")
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": r"^[0-9]+(ms|s|m|h)$|\$\{" })
    }
}

impl Kind<Duration> for Time {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Duration> {
        let [least, most] = [self.0, self.1].map(units::written_duration);
        let instead = format!(r#"write "250ms", "30s", "5m" or "1h", from {least} to {most}"#);
        let text = reader.text(node, &instead)?;
        match units::duration(&text) {
            None => reader.wrong(node, "not a duration", instead),
            Some(time) if time < self.0 => {
                reader.wrong(node, "too short", format!("from {least} to {most}"));
            }
            Some(time) if time > self.1 => {
                reader.wrong(node, "too long", format!("from {least} to {most}"));
            }
            Some(time) => return Some(time),
        }
        None
    }

    fn write(&self, value: &Duration) -> Written {
        Written::Text(units::written_duration(*value))
    }
}

/// A size in bytes from `.0` to `.1`.
pub(in crate::config) struct Size(pub(in crate::config) u64, pub(in crate::config) u64);

impl Describe for Size {
    fn words(&self) -> String {
        let [least, most] = [self.0, self.1].map(units::written_size);
        format!("size from {least} to {most}")
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [
            { "type": "integer", "minimum": self.0, "maximum": self.1 },
            { "type": "string", "pattern": r"^[0-9]+([KMG]iB|[kKmMgG])?$|\$\{" },
        ] })
    }
}

impl<T: TryFrom<u64> + TryInto<u64> + Copy> Kind<T> for Size {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<T> {
        let Self(least, most) = *self;
        let instead = format!(
            r#"write "64KiB" or a number of bytes from {least} up to {}"#,
            units::written_size(most)
        );
        let bytes = match &node.value {
            Value::Integer(number) => number.and_then(|number| u64::try_from(number).ok()),
            _ => {
                let text = reader.text(node, &instead)?;
                let size = units::size(&text);
                if size.is_none() {
                    reader.wrong(node, "not a size", instead);
                    return None;
                }
                size
            }
        };
        in_bounds(bytes, Count(least, most), node, reader, units::written_size)
            .and_then(|bytes| T::try_from(bytes).ok())
    }

    fn write(&self, value: &T) -> Written {
        let bytes = (*value).try_into().unwrap_or(u64::MAX);
        let text = units::written_size(bytes);
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Written::Plain(text)
        } else {
            Written::Text(text)
        }
    }
}

/// So many a second, and how many at once.
pub(in crate::config) struct PerSecond;

impl Describe for PerSecond {
    fn words(&self) -> String {
        "rate such as `\"10/s burst 20\"`".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "string", "pattern": r"^[0-9]+/s( burst [0-9]+)?$|\$\{" })
    }
}

impl Kind<Rate> for PerSecond {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Rate> {
        rate(
            node,
            reader,
            units::count,
            r#"write "10/s" or "10/s burst 20""#,
        )
    }

    fn write(&self, value: &Rate) -> Written {
        Written::Text(units::written_rate(*value, |number| number.to_string()))
    }
}

/// So many bytes a second, and how many at once.
pub(in crate::config) struct BytesPerSecond;

impl Describe for BytesPerSecond {
    fn words(&self) -> String {
        "rate such as `\"1MiB/s burst 4MiB\"`".to_owned()
    }

    fn schema(&self) -> Json {
        let size = "[0-9]+([KMG]iB|[kKmMgG])?";
        json!({ "type": "string", "pattern": format!(r"^{size}/s( burst {size})?$|\$\{{") })
    }
}

impl Kind<Rate> for BytesPerSecond {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<Rate> {
        rate(
            node,
            reader,
            units::size,
            r#"write "1MiB/s" or "1MiB/s burst 4MiB""#,
        )
    }

    fn write(&self, value: &Rate) -> Written {
        Written::Text(units::written_rate(*value, units::written_size))
    }
}

fn rate(
    node: &Node,
    reader: &mut Reader,
    amount: fn(&str) -> Option<u64>,
    instead: &str,
) -> Option<Rate> {
    let text = reader.text(node, instead)?;
    let rate = units::rate(&text, amount);
    if rate.is_none() {
        reader.wrong(node, "not a rate", instead);
    }
    rate
}

fn in_bounds(
    number: Option<u64>,
    Count(least, most): Count,
    node: &Node,
    reader: &mut Reader,
    written: fn(u64) -> String,
) -> Option<u64> {
    let number = number.filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let instead = format!("from {} to {}", written(least), written(most));
        reader.wrong(node, "out of range", instead);
    }
    number
}
