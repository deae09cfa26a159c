//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use super::{Opening, Violation};
use crate::logic::endpoint::Ends;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Longest line, its end included (section 2.1).
const MAX_LINE_BYTES: usize = 107;

/// Reads a line that begins with the signature.
pub(super) fn read(bytes: &[u8]) -> Result<Opening, Violation> {
    let window = &bytes[..bytes.len().min(MAX_LINE_BYTES)];
    let Some(end) = window.iter().position(|&byte| byte == b'\n') else {
        return match window.len() {
            MAX_LINE_BYTES => Err(Violation::TooLong),
            _ => Ok(Opening::Unfinished),
        };
    };
    let line = str::from_utf8(&window[SIGNATURE.len()..end]).ok();
    let line = line.and_then(|line| line.strip_suffix('\r'));
    Ok(Opening::Header {
        length: end + 1,
        ends: ends(line.ok_or(Violation::Line)?).ok_or(Violation::Line)?,
    })
}

/// Writes a line.
pub(super) fn written(ends: Option<Ends>) -> Vec<u8> {
    let line = match ends {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some(Ends { peer, local }) => format!(
            "PROXY {} {} {} {} {}\r\n",
            if peer.is_ipv4() { "TCP4" } else { "TCP6" },
            peer.ip(),
            local.ip(),
            peer.port(),
            local.port()
        ),
    };
    line.into_bytes()
}

/// Whom a line speaks of; `None` when it is malformed.
fn ends(line: &str) -> Option<Option<Ends>> {
    let (family, rest) = line.split_once(' ').unwrap_or((line, ""));
    match family {
        "TCP4" => addresses::<Ipv4Addr>(rest).map(Some),
        "TCP6" => addresses::<Ipv6Addr>(rest).map(Some),
        // Section 2.1: what follows it is ignored.
        "UNKNOWN" => Some(None),
        _ => None,
    }
}

fn addresses<A: FromStr + Into<IpAddr>>(text: &str) -> Option<Ends> {
    let mut words = text.split(' ');
    let mut word = || words.next();
    let (peer, local) = (address::<A>(word()?)?, address::<A>(word()?)?);
    let (peer_port, local_port) = (port(word()?)?, port(word()?)?);
    word().is_none().then(|| Ends {
        peer: SocketAddr::new(peer, peer_port),
        local: SocketAddr::new(local, local_port),
    })
}

fn address<A: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<A>().ok().map(Into::into)
}

/// Decimal, without sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(line: &str) -> Result<Opening, Violation> {
        read(line.as_bytes())
    }

    #[test]
    fn addresses_are_read_as_they_are_written() {
        for (line, peer, local) in [
            (
                "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\nGET",
                "1.2.3.4:9",
                "5.6.7.8:10",
            ),
            (
                "PROXY TCP6 2001:db8::1 ::1 65535 0\r\n",
                "[2001:db8::1]:65535",
                "[::1]:0",
            ),
        ] {
            let ends = Ends {
                peer: peer.parse().unwrap(),
                local: local.parse().unwrap(),
            };
            let length = line.find('\n').unwrap() + 1;
            assert_eq!(
                header(line),
                Ok(Opening::Header {
                    length,
                    ends: Some(ends)
                })
            );
        }
    }

    #[test]
    fn an_unknown_sender_names_nobody_whatever_follows() {
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
            "PROXY UNKNOWN any thing\r\n",
        ] {
            let length = line.len();
            assert_eq!(
                header(line),
                Ok(Opening::Header { length, ends: None }),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_that_is_not_exact_is_refused() {
        for line in [
            "PROXY \r\n",
            "PROXY TCP4\r\n",
            "PROXY TCP5 1.2.3.4 5.6.7.8 9 10\r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 9 10\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 10 11\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 10 \r\n",
            "PROXY TCP4  1.2.3.4 5.6.7.8 9 10\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +9 10\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 09 10\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 9 -1\r\n",
            "PROXY TCP4 1.2.3.256 5.6.7.8 9 10\r\n",
            "PROXY TCP4 01.2.3.4 5.6.7.8 9 10\r\n",
            "PROXY TCP4 ::1 ::2 9 10\r\n",
            "PROXY TCP6 1.2.3.4 5.6.7.8 9 10\r\n",
            "PROXY TCP6 fe80::1%eth0 ::2 9 10\r\n",
            "PROXY TCP4 1.2.3.4\t5.6.7.8 9 10\r\n",
            "PROXY tcp4 1.2.3.4 5.6.7.8 9 10\r\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            assert_eq!(header(line), Err(Violation::Line), "{line:?}");
        }
        assert_eq!(read(b"PROXY UNKNOWN \xff\r\n"), Err(Violation::Line));
    }

    #[test]
    fn a_line_has_107_bytes_and_no_more() {
        let line = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
        let length = MAX_LINE_BYTES;
        assert_eq!(
            header(&line(107)),
            Ok(Opening::Header { length, ends: None })
        );
        assert_eq!(header(&line(108)), Err(Violation::TooLong));
        assert_eq!(header(&line(108)[..106]), Ok(Opening::Unfinished));
    }
}
