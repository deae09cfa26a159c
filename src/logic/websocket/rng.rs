//! Masking keys, ping payloads and jitter from a seed.
//!
//! Splitmix64: small, quick, and no secret to whoever sees a few of its numbers. RFC 6455 section 5.3 wants keys
//! that an application cannot foresee, so that what it sends never stands on the wire as it chose. What is masked
//! here is the proxy's own Close codes and ping counters; no application chooses a bit of them.

/// A sequence of numbers that its seed decides.
#[derive(Clone, Debug)]
pub(super) struct Rng(u64);

impl Rng {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Four bytes that no one has seen.
    pub(super) const fn key(&mut self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.next().to_be_bytes();
        [a, b, c, d]
    }

    /// Uniform from 0 up to, not including, 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(super) const fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_million_keys_are_a_million_numbers() {
        let mut rng = Rng::new(7);
        let numbers: HashSet<u64> = (0..1_000_000).map(|_| rng.next()).collect();
        assert_eq!(numbers.len(), 1_000_000);
    }

    #[test]
    fn fractions_fill_their_range_evenly() {
        let mut rng = Rng::new(7);
        let mut tenths = [0_u32; 10];
        for _ in 0..100_000 {
            let tenth =
                (0..9).take_while(|&tenth| rng.clone().fraction() >= f64::from(tenth + 1) / 10.0);
            tenths[tenth.count()] += 1;
            rng.next();
        }
        assert!(
            tenths.iter().all(|&count| (9_500..10_500).contains(&count)),
            "{tenths:?}"
        );
    }
}
