//! W3C Trace Context: where a request stands in a trace that others began, and which traces are kept.

use std::fmt;
use std::sync::Arc;

/// A `traceparent`: the trace, the span that sent it, and whether it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub struct TraceParent {
    pub trace_id: u128,
    pub span_id: u64,
    pub sampled: bool,
}

/// How many of a million are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u32);

/// Where spans go: `http://HOST:PORT/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// A name or an address, without brackets.
    pub host: Arc<str>,
    /// Its port.
    pub port: u16,
    /// The path, with its slash.
    pub path: Arc<str>,
}

impl TraceParent {
    /// Length of version 00.
    const LEN: usize = 55;

    /// Reads a field; nothing when it may not be believed (W3C Trace Context section 3.2.2).
    pub fn parse(field: &[u8]) -> Option<Self> {
        let (version, rest) = (hex(field.get(..2)?)?, field.get(Self::LEN..)?);
        // A later version may say more, behind another dash.
        let is_known = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| field[*at] == b'-');
        let trace_id = hex(&field[3..35])?;
        let span_id = u64::try_from(hex(&field[36..52])?).ok()?;
        let flags = hex(&field[53..55])?;
        let is_good = is_known && dashes && trace_id != 0 && span_id != 0;
        is_good.then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(
            f,
            "00-{:032x}-{:016x}-{flags:02x}",
            self.trace_id, self.span_id
        )
    }
}

impl Share {
    /// All of them.
    pub const ALL: Self = Self(Self::WHOLE);
    /// A million.
    const WHOLE: u32 = 1_000_000;

    /// So many of a million.
    pub const fn new(millionths: u32) -> Option<Self> {
        if millionths > Self::WHOLE {
            return None;
        }
        Some(Self(millionths))
    }

    /// A fraction from 0 to 1.
    pub fn of(fraction: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&fraction) {
            return None;
        }
        let millionths = (fraction * f64::from(Self::WHOLE)).round();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to a million"
        )]
        Self::new(millionths as u32)
    }

    /// Whether it takes what this die says: a number below a million.
    pub const fn takes(self, die: u32) -> bool {
        die % Self::WHOLE < self.0
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (f64::from(self.0) / f64::from(Self::WHOLE)).fmt(f)
    }
}

impl Collector {
    /// Reads a URL without credentials, query or fragment.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible(rest) || rest.contains(['?', '#', '@']) {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                (host, port)
            }
            None => match authority.find(':') {
                Some(at) => authority.split_at(at),
                None => (authority, ""),
            },
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => 80,
            None => return None,
        };
        (!host.is_empty()).then(|| Self {
            host: host.into(),
            port,
            path: path.into(),
        })
    }

    /// The authority, as `Host` has it.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

/// Digits in lower case only, as the specification wants them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_specification_is_read_and_written() {
        let parent = TraceParent::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(parent.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(parent.span_id, 0x00f0_67aa_0ba9_02b7);
        assert!(parent.sampled);
        assert_eq!(parent.to_string(), GOOD);
    }

    #[test]
    fn what_may_not_be_believed_is_no_parent() {
        for bad in [
            "",
            "00",
            &GOOD[..54],
            &format!("{GOOD}-"),
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace("4bf9", "4BF9"),
            &GOOD.replace("-0", "_0"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(TraceParent::parse(bad.as_bytes()), None, "{bad}");
        }
        let later = format!("{}-more", GOOD.replace("00-4", "cc-4"));
        assert!(TraceParent::parse(later.as_bytes()).is_some());
    }

    #[test]
    fn a_share_takes_as_many_as_it_says() {
        let taken = |share: Share| (0..1_000_000).filter(|die| share.takes(*die)).count();
        assert_eq!(taken(Share::of(0.01).unwrap()), 10_000);
        assert_eq!(taken(Share::of(0.0).unwrap()), 0);
        assert_eq!(taken(Share::ALL), 1_000_000);
        assert_eq!(Share::of(0.01).unwrap().to_string(), "0.01");
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert_eq!(Share::of(wrong), None);
        }
    }

    #[test]
    fn a_collector_is_a_plain_url() {
        for (url, written) in [
            (
                "http://127.0.0.1:4318/v1/traces",
                "http://127.0.0.1:4318/v1/traces",
            ),
            ("http://otel", "http://otel:80/"),
            ("http://[::1]:4318/x", "http://[::1]:4318/x"),
        ] {
            assert_eq!(Collector::parse(url).unwrap().to_string(), written);
        }
        for bad in [
            "https://otel/",
            "otel:4318",
            "http://",
            "http://:1/",
            "http://a:0/",
            "http://a:x/",
            "http://u@a/",
            "http://a/?q",
            "http://a b/",
            "http://[::1/",
            "http://a/\r\nX: y",
        ] {
            assert_eq!(Collector::parse(bad), None, "{bad}");
        }
    }
}
