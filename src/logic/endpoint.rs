//! Where sockets are: an internet address, or a path on this machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// Where somebody listens: a listener of ours, or a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix(Arc<Path>),
}

/// Both ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The client's.
    pub peer: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
}

impl Endpoint {
    /// Longest path of a unix socket: `sun_path` of unix(7) without its closing zero.
    pub const MAX_PATH_BYTES: usize = 107;

    /// The path of `unix:/path`.
    pub fn unix_path(text: &str) -> Option<&Path> {
        text.strip_prefix("unix:").map(Path::new)
    }

    /// The address to connect to it from at this turn, of those of its IP version; none leaves it to
    /// the kernel.
    pub fn source(&self, among: &[IpAddr], turn: usize) -> Option<IpAddr> {
        let Self::Tcp(address) = self else {
            return None;
        };
        let fitting = || (among.iter()).filter(|source| source.is_ipv4() == address.is_ipv4());
        let at = turn.checked_rem(fitting().count())?;
        fitting().nth(at).copied()
    }
}

impl Ends {
    /// Those of a client on a unix socket: it is on this machine and has no port.
    pub const ON_THIS_MACHINE: Self = Self {
        peer: THIS_MACHINE,
        local: THIS_MACHINE,
    };
}

const THIS_MACHINE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As the configuration, labels and logs write it.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_the_same_ip_version_take_turns() {
        let among = ["127.0.0.1", "::1", "127.0.0.2"].map(|source| source.parse().unwrap());
        let from = |server: &Endpoint| {
            let turns = (0..3).map(|turn| server.source(&among, turn));
            turns
                .map(|source| source.map(|source| source.to_string()))
                .collect::<Option<Vec<_>>>()
        };
        let v4 = Endpoint::Tcp("127.0.0.1:80".parse().unwrap());
        let v6 = Endpoint::Tcp("[::1]:80".parse().unwrap());
        let unix = Endpoint::Unix(Path::new("/run/app.sock").into());
        assert_eq!(from(&v4).unwrap(), ["127.0.0.1", "127.0.0.2", "127.0.0.1"]);
        assert_eq!(from(&v6).unwrap(), ["::1", "::1", "::1"]);
        assert_eq!(from(&unix), None);
        assert_eq!(v6.source(&among[..1], 0), None);
    }
}
