//! Rates and what they allow.

mod bucket;
mod buckets;
mod connection_counts;

use std::num::NonZeroU64;

pub use bucket::Bucket;
pub use buckets::Buckets;
pub use connection_counts::ConnectionCounts;

/// `"10/s burst 20"`: so many a second, with a bucket this deep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that come back each second.
    pub per_second: NonZeroU64,
    /// The bucket's depth; `per_second` unless said.
    pub burst: NonZeroU64,
}
