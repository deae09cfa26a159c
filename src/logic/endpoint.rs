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
