//! Version 2: binary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAX_BYTES, Opening, Violation};
use crate::logic::endpoint::Ends;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
const FIXED_BYTES: usize = 16;
/// Type and length of a TLV.
const TLV_FIXED_BYTES: usize = 3;
/// Both paths of a pair of unix sockets.
const UNIX_BYTES: usize = 216;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX_STREAM: u8 = 0x31;
const UDP4: u8 = 0x12;
const UDP6: u8 = 0x22;
const UNIX_DATAGRAM: u8 = 0x32;

/// Reads a header that begins with the signature.
pub(super) fn read(bytes: &[u8]) -> Result<Opening, Violation> {
    // Said before the rest has come: nobody waits for the end of what can't be good.
    let mut fixed = bytes[SIGNATURE.len()..].iter().copied();
    let command = match fixed.next() {
        None => return Ok(Opening::Unfinished),
        Some(command @ (LOCAL | PROXY)) => command,
        Some(_) => return Err(Violation::Command),
    };
    let (Some(family), Some(high), Some(low)) = (fixed.next(), fixed.next(), fixed.next()) else {
        return Ok(Opening::Unfinished);
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_BYTES {
        return Err(Violation::TooLong);
    }
    let Some(content) = bytes.get(FIXED_BYTES..length) else {
        return Ok(Opening::Unfinished);
    };
    // Section 2.2: of LOCAL, family and content are ignored.
    let ends = match command {
        PROXY => ends(family, content)?,
        _ => None,
    };
    Ok(Opening::Header { length, ends })
}

/// Writes a header.
pub(super) fn written(ends: Option<Ends>) -> Vec<u8> {
    let (command, family, content) = match ends {
        None => (LOCAL, UNSPECIFIED, Vec::new()),
        Some(ends @ Ends { peer, .. }) => {
            let family = if peer.is_ipv4() { TCP4 } else { TCP6 };
            (PROXY, family, addresses(ends))
        }
    };
    // 36 bytes at most.
    let length = u16::try_from(content.len()).unwrap_or_default();
    [
        SIGNATURE,
        &[command, family],
        &length.to_be_bytes(),
        &content,
    ]
    .concat()
}

fn addresses(Ends { peer, local }: Ends) -> Vec<u8> {
    let mut content = Vec::with_capacity(36);
    for address in [peer, local] {
        match address.ip() {
            IpAddr::V4(v4) => content.extend(v4.octets()),
            IpAddr::V6(v6) => content.extend(v6.octets()),
        }
    }
    content.extend(peer.port().to_be_bytes());
    content.extend(local.port().to_be_bytes());
    content
}

/// Whom a PROXY header speaks of.
fn ends(family: u8, content: &[u8]) -> Result<Option<Ends>, Violation> {
    let (ends, tlvs) = match family {
        // Section 2.2: the connection's own, where the sender does not know, or speaks of datagrams.
        UNSPECIFIED | UDP4 | UDP6 | UNIX_DATAGRAM => return Ok(None),
        TCP4 => address_pair::<4, Ipv4Addr>(content).ok_or(Violation::Length)?,
        TCP6 => address_pair::<16, Ipv6Addr>(content).ok_or(Violation::Length)?,
        UNIX_STREAM => (None, content.get(UNIX_BYTES..).ok_or(Violation::Length)?),
        _ => return Err(Violation::Family),
    };
    check_tlvs(tlvs)?;
    Ok(ends)
}

/// Two addresses of `N` bytes and their ports, and what follows them.
fn address_pair<const N: usize, A: From<[u8; N]> + Into<IpAddr>>(
    content: &[u8],
) -> Option<(Option<Ends>, &[u8])> {
    let (peer, content) = content.split_first_chunk::<N>()?;
    let (local, content) = content.split_first_chunk::<N>()?;
    let (peer_port, content) = content.split_first_chunk()?;
    let (local_port, tlvs) = content.split_first_chunk()?;
    let socket =
        |address: [u8; N], port| SocketAddr::new(A::from(address).into(), u16::from_be_bytes(port));
    let ends = Ends {
        peer: socket(*peer, *peer_port),
        local: socket(*local, *local_port),
    };
    Some((Some(ends), tlvs))
}

/// Nothing that a TLV says is used, but each must end where the next begins.
fn check_tlvs(mut tlvs: &[u8]) -> Result<(), Violation> {
    while let [_, high, low, ..] = *tlvs {
        let length = TLV_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
        tlvs = tlvs.get(length..).ok_or(Violation::Length)?;
    }
    tlvs.is_empty().then_some(()).ok_or(Violation::Length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(command: u8, family: u8, length: usize, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, content].concat()
    }

    fn header(command: u8, family: u8, content: &[u8]) -> Result<Opening, Violation> {
        read(&wire(command, family, content.len(), content))
    }

    fn named(ends: Option<Ends>, content: &[u8]) -> Result<Opening, Violation> {
        let length = FIXED_BYTES + content.len();
        Ok(Opening::Header { length, ends })
    }

    const V4: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 10];

    fn v4() -> Option<Ends> {
        Some(Ends {
            peer: "1.2.3.4:9".parse().unwrap(),
            local: "5.6.7.8:10".parse().unwrap(),
        })
    }

    #[test]
    fn tlvs_are_passed_over() {
        assert_eq!(header(PROXY, TCP4, &V4), named(v4(), &V4));
        let with_tlvs = [&V4[..], b"\x01\0\x02h2\x04\0\0\xee\0\x01x"].concat();
        assert_eq!(header(PROXY, TCP4, &with_tlvs), named(v4(), &with_tlvs));
    }

    #[test]
    fn who_speaks_for_itself_for_a_unix_socket_or_for_datagrams_names_nobody() {
        for (command, family, content) in [
            (LOCAL, UNSPECIFIED, vec![]),
            (LOCAL, TCP4, V4.to_vec()),
            (LOCAL, 0xff, vec![1]),
            (PROXY, UNSPECIFIED, vec![]),
            (PROXY, UNSPECIFIED, vec![1, 2]),
            (PROXY, UNIX_STREAM, vec![0; UNIX_BYTES]),
            (PROXY, UDP4, V4.to_vec()),
            (PROXY, UDP6, vec![0; 36]),
            (PROXY, UNIX_DATAGRAM, vec![0; UNIX_BYTES]),
        ] {
            assert_eq!(header(command, family, &content), named(None, &content));
        }
    }

    #[test]
    fn what_the_protocol_does_not_know_is_refused() {
        for command in [0x00, 0x01, 0x11, 0x22, 0x2f, 0x31, 0xff] {
            assert_eq!(
                header(command, TCP4, &V4),
                Err(Violation::Command),
                "{command:x}"
            );
        }
        for family in [0x01, 0x10, 0x13, 0x20, 0x23, 0x33, 0x41, 0xff] {
            assert_eq!(
                header(PROXY, family, &[0; 300]),
                Err(Violation::Family),
                "{family:x}"
            );
        }
    }

    #[test]
    fn content_that_does_not_fit_its_length_is_refused() {
        let cases: [(u8, &[u8]); 8] = [
            (TCP4, &V4[..11]),
            (TCP4, b""),
            (TCP6, &[0; 35]),
            (UNIX_STREAM, &[0; 215]),
            (TCP4, &[&V4[..], b"\x01"].concat()),
            (TCP4, &[&V4[..], b"\x01\0"].concat()),
            (TCP4, &[&V4[..], b"\x01\0\x01"].concat()),
            (TCP4, &[&V4[..], b"\x01\xff\xffx"].concat()),
        ];
        for (family, content) in cases {
            let refused = header(PROXY, family, content);
            assert_eq!(refused, Err(Violation::Length), "{family:x} {content:?}");
        }
    }

    #[test]
    fn what_announces_too_much_is_refused_before_it_comes() {
        let most = MAX_BYTES - FIXED_BYTES;
        assert_eq!(read(&wire(LOCAL, 0, most, b"")), Ok(Opening::Unfinished));
        assert_eq!(
            read(&wire(LOCAL, 0, most + 1, b"")),
            Err(Violation::TooLong)
        );
        assert_eq!(
            read(&wire(PROXY, TCP4, 65535, &V4)),
            Err(Violation::TooLong)
        );
    }
}
