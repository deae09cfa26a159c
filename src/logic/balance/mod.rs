//! Which server gets the next connection.

use std::num::NonZeroU16;

/// `upstream.balance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Smooth weighted round robin.
    RoundRobin,
    /// Fewest live connections over weight.
    LeastConn,
    /// By the client's address, weighted rendezvous hashing.
    IpHash,
}

/// A server that may be picked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Stable over reloads: a hash of the server's address.
    pub id: u64,
    /// Its share.
    pub weight: NonZeroU16,
    /// Its live connections and requests in flight.
    pub load: u32,
}
