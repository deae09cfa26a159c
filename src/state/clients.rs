//! What each client has taken of a route's limits: exact over all workers, kept over reloads,
//! bounded in memory whoever comes.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::config::model::Limit;
use crate::logic::limit::{Buckets, ConnectionCounts};
use crate::logic::request::ClientKey;

/// Parts that are locked apart, so that workers rarely meet.
const SHARDS: usize = 16;
/// Clients whose rate a part remembers at least, 57,344 in all, and twice as many at most: as many as
/// a table of 4,096 slots takes. At 65 bytes a slot a route that limits handshakes holds 8.5 MB.
const CLIENTS_PER_SHARD: usize = 3584;
/// When a client may find a connection free that it has now.
const FULL_RETRY: Duration = Duration::from_secs(5);

/// The clients of a route.
#[derive(Debug)]
pub struct Clients {
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug)]
struct Shard {
    counts: ConnectionCounts<RandomState>,
    buckets: Buckets<RandomState>,
}

impl Default for Clients {
    fn default() -> Self {
        let hasher = RandomState::new();
        let shard = |_| {
            Mutex::new(Shard {
                counts: ConnectionCounts::new(hasher.clone()),
                buckets: Buckets::new(CLIENTS_PER_SHARD, hasher.clone()),
            })
        };
        Self {
            shards: std::array::from_fn(shard),
            hasher,
        }
    }
}

impl Clients {
    /// Counts a request that comes in; says whether [`Self::leave`] has to be told of its end.
    ///
    /// # Errors
    /// When the client may try again: it has too many connections, or handshakes came too fast.
    pub fn enter(
        &self,
        client: ClientKey,
        limit: &Limit,
        is_handshake: bool,
        now: Instant,
    ) -> Result<bool, Duration> {
        let mut shard = self.shard(client);
        if let Some(rate) = limit.handshakes_per_ip.filter(|_| is_handshake) {
            shard.buckets.take(client, rate, now)?;
        }
        match limit.connections_per_ip {
            Some(max) if !shard.counts.enter(client, max) => Err(FULL_RETRY),
            max => Ok(max.is_some()),
        }
    }

    /// Counts the end of a request that was counted.
    pub fn leave(&self, client: ClientKey) {
        self.shard(client).counts.leave(client);
    }

    fn shard(&self, client: ClientKey) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(client);
        // The maps inside look at both ends of the hash.
        let at = usize::from(hash.to_le_bytes()[6]) % SHARDS;
        self.shards[at]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
