//! Who the client is, in our words: X-Forwarded-*, X-Real-IP, X-Tidegate-*.

use std::io::Write as _;
use std::net::IpAddr;

use super::Outbound;
use crate::logic::request::wire::field_text;
use crate::logic::request::{Certificate, Client, Proof};

impl Outbound<'_> {
    /// Every field of them that the route leaves to us.
    pub(super) fn each_forwarded(&self, put: &mut impl FnMut(&[u8], &[u8])) {
        let Client {
            address, scheme, ..
        } = *self.client;
        let port = self.port.to_string();
        let host = self
            .vouched("x-forwarded-host")
            .unwrap_or_else(|| self.host());
        let port = self.vouched("x-forwarded-port").unwrap_or(port.as_bytes());
        let mut ours = |name: &str, value: &[u8]| {
            if self.keeps(name.as_bytes()) {
                put(name.as_bytes(), value);
            }
        };
        ours("X-Forwarded-For", &self.forwarded_for());
        ours("X-Forwarded-Proto", scheme.word().as_bytes());
        ours("X-Forwarded-Host", host);
        ours("X-Forwarded-Port", port);
        ours("X-Real-IP", &written(address));
        match self.proof {
            Proof::NotAsked => {}
            Proof::Absent => ours("X-Tidegate-Client-Verified", b"false"),
            Proof::Certificate(Certificate { subject, names }) => {
                ours("X-Tidegate-Client-Verified", b"true");
                ours("X-Tidegate-Client-Subject", &field_text(subject));
                ours("X-Tidegate-Client-San", &field_text(names));
            }
        }
        if let Some(user) = self.user {
            ours("X-Tidegate-User", &field_text(user));
        }
    }

    /// The hops a trusted peer reports, and the peer itself.
    fn forwarded_for(&self) -> Vec<u8> {
        let peer = written(self.client.peer);
        if !self.client.vouched {
            return peer;
        }
        let mut hops = Vec::new();
        for value in self.fields().values("x-forwarded-for") {
            hops.extend_from_slice(value);
            hops.extend_from_slice(b", ");
        }
        hops.extend_from_slice(&peer);
        hops
    }

    /// What a trusted peer says in a field, if it says one thing.
    fn vouched(&self, name: &str) -> Option<&[u8]> {
        let value = self.fields().one(name).ok().flatten();
        value.filter(|value| self.client.vouched && !value.is_empty())
    }
}

fn written(address: IpAddr) -> Vec<u8> {
    let mut text = Vec::with_capacity(ADDRESS_BYTES);
    match address {
        IpAddr::V4(address) => put_octets(&mut text, address.octets()),
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
    text
}

/// What `Display` writes, at a tenth of its cost.
fn put_octets(text: &mut Vec<u8>, octets: [u8; 4]) {
    for (place, octet) in octets.into_iter().enumerate() {
        if place > 0 {
            text.push(b'.');
        }
        for (least, unit) in [(100, 100), (10, 10), (0, 1)] {
            if octet >= least {
                text.push(b'0' + octet / unit % 10);
            }
        }
    }
}

/// What the longest address takes.
const ADDRESS_BYTES: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_is_displayed() {
        let fours = (0..=255).map(|octet| IpAddr::from([octet, 0, 10, 255 - octet]));
        for address in fours.chain(["2001:db8::1".parse().unwrap()]) {
            assert_eq!(written(address), address.to_string().into_bytes());
        }
    }
}
