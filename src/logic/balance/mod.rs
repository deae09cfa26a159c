//! Which server gets the next connection, and who waits for one: one trait, one file per algorithm.
//! Knows nothing of sockets, health or retries; `choose` sorts out who may be picked at all.

mod choose;
mod hash;
mod ip_hash;
mod least_conn;
mod queue;
pub mod rebalance;
mod round_robin;
mod slow_start;

use std::num::NonZeroU16;

pub use choose::{Chooser, ServerView, Unavailable};
pub use hash::server_id;
pub use queue::{Queue, Turn, Verdict};
pub use slow_start::SlowStart;

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
    /// Stable over reloads and nodes: [`server_id`] of the server's address.
    pub id: u64,
    /// Its share, as configured.
    pub weight: NonZeroU16,
    /// How much of that share counts while it starts slowly.
    pub slow_start: SlowStart,
    /// Its live connections and requests in flight.
    pub load: u32,
}

/// An algorithm with what it remembers from pick to pick.
pub trait Balance: Send {
    /// The index of the candidate that gets this client's connection; `None` without candidates.
    ///
    /// `client` is the client's key: the 4 bytes of an IPv4 address, the first 8 of an IPv6 one.
    fn pick(&mut self, candidates: &[Candidate], client: &[u8]) -> Option<usize>;

    /// Somebody was sent away for this candidate's sake: it gets a turn of theirs. Algorithms
    /// that look at the load, or at the client, need not be told.
    fn owe(&mut self, _candidates: &[Candidate], _index: usize) {}
}

/// The algorithm of this kind, with nothing remembered.
pub fn build(kind: Kind) -> Box<dyn Balance> {
    match kind {
        Kind::RoundRobin => Box::new(round_robin::RoundRobin::default()),
        Kind::LeastConn => Box::new(least_conn::LeastConn::default()),
        Kind::IpHash => Box::new(ip_hash::IpHash),
    }
}

impl Candidate {
    /// Its weight as far as it is warm, in thousandths.
    fn share(&self) -> u32 {
        u32::from(self.weight.get()) * u32::from(self.slow_start.per_mille())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 3] = [Kind::RoundRobin, Kind::LeastConn, Kind::IpHash];

    /// Candidates with ids 1, 2, 3 …, these weights, warm and idle.
    pub(super) fn candidates(weights: &[u16]) -> Vec<Candidate> {
        (1..)
            .zip(weights)
            .map(|(id, &weight)| Candidate {
                id,
                weight: NonZeroU16::new(weight).unwrap(),
                slow_start: SlowStart::FULL,
                load: 0,
            })
            .collect()
    }

    /// How often each candidate is picked in so many picks.
    pub(super) fn tally(
        balance: &mut dyn Balance,
        candidates: &[Candidate],
        picks: usize,
    ) -> Vec<usize> {
        let mut tally = vec![0; candidates.len()];
        for _ in 0..picks {
            tally[balance.pick(candidates, &[]).unwrap()] += 1;
        }
        tally
    }

    #[test]
    fn nobody_is_picked_from_nobody() {
        for kind in KINDS {
            assert_eq!(build(kind).pick(&[], &[10, 0, 0, 1]), None, "{kind:?}");
        }
    }

    #[test]
    fn a_single_server_gets_everybody() {
        for kind in KINDS {
            assert_eq!(
                tally(&mut *build(kind), &candidates(&[7]), 9),
                [9],
                "{kind:?}"
            );
        }
    }
}
