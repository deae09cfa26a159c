//! Who the client is: the peer, or whom the proxies in front of us vouch for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;

use super::{Fields, Scheme};

/// Who sent a request, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's own address.
    pub address: IpAddr,
    /// Who sent it to us; the client itself where no proxy stands between.
    pub peer: IpAddr,
    /// Whether the peer is a proxy whose word counts.
    pub vouched: bool,
    /// How the client reached the first of the proxies, or us.
    pub scheme: Scheme,
}

/// What a client's certificate says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its subject (RFC 4514).
    pub subject: Arc<str>,
    /// Its subject alternative names: `DNS:a.example, URI:spiffe://b`.
    pub names: Arc<str>,
}

/// Who a client proved to be in its TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// The listener asks for no certificate.
    #[default]
    NotAsked,
    /// It may show one, and did not.
    Absent,
    /// One that an authority of ours signed.
    Certificate(Certificate),
}

impl Proof {
    /// The certificate that was shown.
    pub const fn certificate(&self) -> Option<&Certificate> {
        match self {
            Self::Certificate(certificate) => Some(certificate),
            Self::NotAsked | Self::Absent => None,
        }
    }
}

/// What one client is for balancing, limits and counts: an IPv4 address or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientKey {
    /// The whole address.
    V4(Ipv4Addr),
    /// The network that one subscriber gets.
    V6Net([u16; 4]),
}

impl Client {
    /// Reads X-Forwarded-For and X-Forwarded-Proto where the peer is trusted. `peer` is the source
    /// of a PROXY header where one was accepted; `scheme` is that of our own listener.
    pub fn of(fields: &Fields, peer: IpAddr, scheme: Scheme, trusted: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let vouched = is_trusted(peer, trusted);
        if !vouched {
            return Self {
                address: peer,
                peer,
                vouched,
                scheme,
            };
        }
        let address = rightmost_untrusted(fields, peer, trusted);
        Self {
            address,
            peer,
            vouched,
            scheme: forwarded_scheme(fields).unwrap_or(scheme),
        }
    }

    /// What this client counts as.
    pub const fn key(&self) -> ClientKey {
        ClientKey::of(self.address)
    }
}

impl ClientKey {
    /// What a client of that address counts as; an IPv4 address mapped into IPv6 is the IPv4 one.
    pub const fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self::V6Net([a, b, c, d])
            }
        }
    }

    /// As a number, for hashing. No subscriber's /64 is below 2^32, so the two kinds do not meet.
    pub fn as_u64(self) -> u64 {
        match self {
            Self::V4(address) => u64::from(address.to_bits()),
            Self::V6Net(net) => net
                .iter()
                .fold(0, |bits, &part| bits << 16 | u64::from(part)),
        }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4(address) => address.fmt(f),
            Self::V6Net([a, b, c, d]) => write!(f, "{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)),
        }
    }
}

/// Whether the word of a peer with this address counts.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let address = address.to_canonical();
    trusted.iter().any(|net| net.contains(&address))
}

/// Each trusted hop vouches for the one to its left; the first that nobody vouches for, or that is
/// no address, ends the walk.
fn rightmost_untrusted(fields: &Fields, peer: IpAddr, trusted: &[IpNet]) -> IpAddr {
    // Commas alone part the hops: in quotes a client could hide what its proxy wrote behind them.
    let values = fields.values("x-forwarded-for");
    let hops: Vec<_> = values
        .flat_map(|value| value.split(|&byte| byte == b','))
        .collect();
    let mut address = peer;
    for hop in hops.into_iter().rev().map_while(hop_address) {
        address = hop;
        if !is_trusted(address, trusted) {
            break;
        }
    }
    address
}

/// An address, alone or with the port that some proxies add.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = str::from_utf8(hop).ok()?.trim_ascii();
    let bracketed = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match bracketed {
        Some(address) => IpAddr::V6(address.parse().ok()?),
        None => hop
            .parse()
            .or_else(|_| hop.parse().map(|hop: SocketAddr| hop.ip()))
            .ok()?,
    };
    Some(address.to_canonical())
}

/// What a trusted peer says, if it says one thing.
fn forwarded_scheme(fields: &Fields) -> Option<Scheme> {
    let value = fields.one("x-forwarded-proto").ok()??.to_ascii_lowercase();
    match &*value {
        b"http" | b"ws" => Some(Scheme::Http),
        b"https" | b"wss" => Some(Scheme::Https),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logic::request::testing::fields;

    fn client(peer: &str, lines: &str) -> Client {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Client::of(
            &fields(lines),
            peer.parse().unwrap(),
            Scheme::Http,
            &trusted,
        )
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_nobody_vouches_for() {
        let rows = [
            ("1.2.3.4", "X-Forwarded-For: 9.9.9.9\r\n", "1.2.3.4"),
            ("10.0.0.1", "", "10.0.0.1"),
            ("10.0.0.1", "X-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9"),
            (
                "::ffff:10.0.0.1",
                "X-Forwarded-For: ::ffff:9.9.9.9\r\n",
                "9.9.9.9",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 8.8.8.8, 9.9.9.9\r\n",
                "9.9.9.9",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 9.9.9.9, 10.0.0.2, 10.0.0.3\r\n",
                "9.9.9.9",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For: 9.9.9.9\r\n",
                "9.9.9.9",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 10.0.0.3, 10.0.0.2\r\n",
                "10.0.0.3",
            ),
            ("10.0.0.1", "X-Forwarded-For: 9.9.9.9:1234\r\n", "9.9.9.9"),
            (
                "10.0.0.1",
                "X-Forwarded-For: [2001:db8::1]:1234\r\n",
                "2001:db8::1",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: [2001:db8::1]\r\n",
                "2001:db8::1",
            ),
            ("fd00::1", "X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"),
            // Garbage vouches for nobody: the walk stops at the last hop that is known.
            (
                "10.0.0.1",
                "X-Forwarded-For: 9.9.9.9, unknown\r\n",
                "10.0.0.1",
            ),
            (
                "10.0.0.1",
                "X-Forwarded-For: 9.9.9.9, unknown, 10.0.0.2\r\n",
                "10.0.0.2",
            ),
            ("10.0.0.1", "X-Forwarded-For: fe80::1%eth0\r\n", "10.0.0.1"),
            ("10.0.0.1", "X-Forwarded-For: 9.9.9.9,\r\n", "10.0.0.1"),
            ("10.0.0.1", "X-Forwarded-For: \", 9.9.9.9\r\n", "9.9.9.9"),
            ("10.0.0.1", "X_Forwarded_For: 9.9.9.9\r\n", "10.0.0.1"),
        ];
        for (peer, lines, expected) in rows {
            assert_eq!(
                client(peer, lines).address.to_string(),
                expected,
                "{peer} {lines}"
            );
        }
    }

    #[test]
    fn a_hundred_hops_and_eight_kilobytes_are_walked() {
        let hops = vec!["10.0.0.7"; 800].join(", ");
        let client = client("10.0.0.1", &format!("X-Forwarded-For: 9.9.9.9, {hops}\r\n"));
        assert_eq!(client.address.to_string(), "9.9.9.9");
    }

    #[test]
    fn the_scheme_comes_from_a_trusted_peer_that_says_one_thing() {
        let rows = [
            ("1.2.3.4", "X-Forwarded-Proto: https\r\n", Scheme::Http),
            ("10.0.0.1", "X-Forwarded-Proto: https\r\n", Scheme::Https),
            ("10.0.0.1", "X-Forwarded-Proto: WSS\r\n", Scheme::Https),
            (
                "10.0.0.1",
                "X-Forwarded-Proto: http, https\r\n",
                Scheme::Http,
            ),
            (
                "10.0.0.1",
                "X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n",
                Scheme::Http,
            ),
        ];
        for (peer, lines, expected) in rows {
            assert_eq!(client(peer, lines).scheme, expected, "{peer} {lines}");
        }
    }

    #[test]
    fn one_client_is_an_ipv4_address_or_an_ipv6_64() {
        let key = |address: &str| ClientKey::of(address.parse().unwrap());
        assert_eq!(key("::ffff:1.2.3.4"), key("1.2.3.4"));
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("1.2.3.4").to_string(), "1.2.3.4");
        assert_eq!(key("2001:db8::1").to_string(), "2001:db8::/64");
        assert_eq!(key("1.2.3.4").as_u64(), 0x0102_0304);
        assert_eq!(key("2001:db8:1:2::9").as_u64(), 0x2001_0db8_0001_0002);
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_the_client_whatever_it_says(value in "[ -~]{0,60}") {
            let client = client("1.2.3.4", &format!("X-Forwarded-For: {value}\r\n"));
            prop_assert_eq!(client.address.to_string(), "1.2.3.4");
        }

        #[test]
        fn what_the_client_wrote_never_outweighs_what_its_proxy_saw(value in "[ -~]{0,60}") {
            let client = client("10.0.0.1", &format!("X-Forwarded-For: {value}, 9.9.9.9\r\n"));
            prop_assert_eq!(client.address.to_string(), "9.9.9.9");
        }
    }
}
