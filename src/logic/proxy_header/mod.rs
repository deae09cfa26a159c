//! The PROXY protocol of HAProxy (`proxy-protocol.txt`), versions 1 and 2: what a proxy in front
//! says of a connection before its first byte, and what we say to a server.

mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::endpoint::Ends;

/// Longest header that is read; what a sender adds to the addresses (TLVs) must fit in.
pub const MAX_BYTES: usize = 4096;

/// The form of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What the bytes at the beginning of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// So far a header could be coming, or one is not complete.
    Unfinished,
    /// No header.
    Other,
    /// A header.
    Header {
        /// How many bytes it has.
        length: usize,
        /// Whom it speaks of; nothing where it speaks for the sender itself, or names nobody.
        ends: Option<Ends>,
    },
}

/// How a header breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Longer than it may be.
    #[error("too long")]
    TooLong,
    /// The line is not one that version 1 knows.
    #[error("malformed line")]
    Line,
    /// Neither version 2, nor LOCAL or PROXY.
    #[error("unknown version or command")]
    Command,
    /// Of an unknown family or transport.
    #[error("unknown family or transport")]
    Family,
    /// The addresses or the TLVs end behind the header's own end.
    #[error("length does not fit the content")]
    Length,
}

impl Opening {
    /// Reads the beginning of a connection, as far as it has come. Whatever it is when it is no
    /// longer unfinished, further bytes do not change it.
    ///
    /// # Errors
    /// [`Violation`], when a header begins here and is none.
    pub fn read(bytes: &[u8]) -> Result<Self, Violation> {
        for (signature, read) in [
            (v1::SIGNATURE, v1::read as fn(&[u8]) -> _),
            (v2::SIGNATURE, v2::read),
        ] {
            if bytes.starts_with(signature) {
                return read(bytes);
            }
            if signature.starts_with(bytes) {
                return Ok(Self::Unfinished);
            }
        }
        Ok(Self::Other)
    }
}

impl Version {
    /// The header that says whom a connection is for; of nobody, it is the sender's own.
    pub fn header(self, ends: Option<Ends>) -> Vec<u8> {
        let ends = ends.map(in_one_family);
        match self {
            Self::V1 => v1::written(ends),
            Self::V2 => v2::written(ends),
        }
    }
}

/// Both addresses as IPv4 where they are, else both as IPv6: a header has one family.
fn in_one_family(Ends { peer, local }: Ends) -> Ends {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (peer, local) = (canonical(peer), canonical(local));
    if peer.is_ipv4() == local.is_ipv4() {
        return Ends { peer, local };
    }
    Ends {
        peer: as_v6(peer),
        local: as_v6(local),
    }
}

fn as_v6(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) => SocketAddr::new(v4.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(peer: &str, local: &str) -> Ends {
        Ends {
            peer: peer.parse().unwrap(),
            local: local.parse().unwrap(),
        }
    }

    #[test]
    fn what_does_not_begin_like_a_header_is_none() {
        for other in [
            "GET / HTTP/1.1\r\n",
            "POST / HTTP/1.1\r\n",
            "PROXX",
            "PROXYTCP4",
            "proxy TCP4",
            "\r\n\r\nGET",
            "\r\nGET",
            "\u{16}\u{3}\u{1}",
        ] {
            assert_eq!(
                Opening::read(other.as_bytes()),
                Ok(Opening::Other),
                "{other:?}"
            );
        }
    }

    #[test]
    fn addresses_of_two_families_are_told_in_the_larger() {
        let mixed = ends("10.0.0.1:1", "[2001:db8::1]:2");
        assert_eq!(
            Version::V1.header(Some(mixed)),
            b"PROXY TCP6 ::ffff:10.0.0.1 2001:db8::1 1 2\r\n"
        );
        let mapped = ends("[::ffff:10.0.0.1]:1", "10.0.0.2:2");
        assert_eq!(
            Version::V1.header(Some(mapped)),
            b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_at_every_cut(
            peer: SocketAddr, local: SocketAddr, text in any::<bool>(), rest in ".{0,20}",
        ) {
            let version = if text { Version::V1 } else { Version::V2 };
            // Scope and flow are no part of a header.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let said = in_one_family(Ends { peer: plain(peer), local: plain(local) });
            let mut wire = version.header(Some(said));
            let length = wire.len();
            for end in 0..length {
                prop_assert_eq!(Opening::read(&wire[..end]), Ok(Opening::Unfinished));
            }
            wire.extend_from_slice(rest.as_bytes());
            let read = Opening::Header { length, ends: Some(said) };
            prop_assert_eq!(Opening::read(&wire), Ok(read));
        }

        #[test]
        fn further_bytes_change_no_verdict(bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..80),
            "PROXY [ -~]{0,110}(\r\n)?[a-z]{0,3}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|rest| [v2::SIGNATURE, &rest].concat()),
        ]) {
            let whole = Opening::read(&bytes);
            for end in 0..bytes.len() {
                let part = Opening::read(&bytes[..end]);
                prop_assert!(part == Ok(Opening::Unfinished) || part == whole, "{:?} {:?}", part, whole);
            }
            if let Ok(Opening::Header { length, .. }) = whole {
                prop_assert!(length <= bytes.len().min(MAX_BYTES));
            }
        }
    }
}
