//! A token bucket for each client, for as many clients as there is room: those that came last.
//! Two generations: who comes is in the younger one, and when that is full it becomes the older
//! one, whose clients are forgotten. No list to keep, no clock to watch.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::time::{Duration, Instant};

use super::{Bucket, Rate};
use crate::logic::request::ClientKey;

/// Buckets by client.
#[derive(Debug)]
pub struct Buckets<S> {
    younger: HashMap<ClientKey, Bucket, S>,
    older: HashMap<ClientKey, Bucket, S>,
    generation: usize,
}

impl<S: BuildHasher + Clone> Buckets<S> {
    /// Room for the last `generation` clients at least, for twice as many at most. Clients choose
    /// their addresses, so the hasher has to be seeded.
    pub fn new(generation: usize, hasher: S) -> Self {
        Self {
            younger: HashMap::with_hasher(hasher.clone()),
            older: HashMap::with_hasher(hasher),
            generation,
        }
    }

    /// Takes one of the client's tokens.
    ///
    /// # Errors
    /// How long until there is one.
    pub fn take(&mut self, client: ClientKey, rate: Rate, now: Instant) -> Result<(), Duration> {
        let bucket = self.bucket(client, rate, now);
        if bucket.take(1, now) {
            Ok(())
        } else {
            Err(bucket.wait(1, now))
        }
    }

    fn bucket(&mut self, client: ClientKey, rate: Rate, now: Instant) -> &mut Bucket {
        if !self.younger.contains_key(&client) && self.younger.len() >= self.generation {
            std::mem::swap(&mut self.younger, &mut self.older);
            self.younger.clear();
        }
        let known = self.older.remove(&client);
        let bucket = self.younger.entry(client);
        let bucket = bucket.or_insert_with(|| known.unwrap_or_else(|| Bucket::new(rate, now)));
        // A reload may have brought another rate; what is owed stays.
        bucket.set_rate(rate, now);
        bucket
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasherDefault;
    use std::num::NonZeroU64;

    use super::*;

    type Hasher = BuildHasherDefault<std::hash::DefaultHasher>;

    fn rate(per_second: u64, burst: u64) -> Rate {
        Rate {
            per_second: NonZeroU64::new(per_second).unwrap(),
            burst: NonZeroU64::new(burst).unwrap(),
        }
    }

    const fn client(n: u32) -> ClientKey {
        ClientKey::V4(std::net::Ipv4Addr::from_bits(n))
    }

    #[test]
    fn each_client_has_a_bucket_of_its_own() {
        let now = Instant::now();
        let mut buckets = Buckets::new(10, Hasher::default());
        let rate = rate(2, 3);
        for n in 0..3 {
            for _ in 0..3 {
                assert_eq!(buckets.take(client(n), rate, now), Ok(()));
            }
            let wait = Duration::from_millis(500);
            assert_eq!(buckets.take(client(n), rate, now), Err(wait));
            assert_eq!(buckets.take(client(n), rate, now + wait), Ok(()));
        }
    }

    /// ATTACKS L11.
    #[test]
    fn ten_thousand_times_the_room_keeps_those_that_came_last() {
        let now = Instant::now();
        let mut buckets = Buckets::new(100, Hasher::default());
        let rate = rate(1, 1);
        for n in 0..1_000_000 {
            assert_eq!(buckets.take(client(n), rate, now), Ok(()));
            assert!(buckets.younger.len() + buckets.older.len() <= 200);
        }
        for n in 999_900..1_000_000 {
            assert!(buckets.take(client(n), rate, now).is_err(), "{n}");
        }
        assert_eq!(buckets.take(client(0), rate, now), Ok(()));
    }

    #[test]
    fn who_keeps_coming_is_remembered_among_any_number_of_strangers() {
        let now = Instant::now();
        let mut buckets = Buckets::new(100, Hasher::default());
        let rate = rate(1, 1);
        assert_eq!(buckets.take(client(0), rate, now), Ok(()));
        for n in 1..100_000 {
            let _ = buckets.take(client(n), rate, now);
            if n % 99 == 0 {
                assert!(buckets.take(client(0), rate, now).is_err(), "{n}");
            }
        }
    }

    #[test]
    fn another_rate_counts_from_now_on_and_forgives_nothing() {
        let now = Instant::now();
        let mut buckets = Buckets::new(10, Hasher::default());
        for _ in 0..10 {
            assert_eq!(buckets.take(client(0), rate(1, 10), now), Ok(()));
        }
        assert!(buckets.take(client(0), rate(1, 5), now).is_err());
        let wait = buckets.take(client(0), rate(100, 10), now).unwrap_err();
        assert_eq!(wait, Duration::from_millis(10));
    }
}
