//! By the client's address: weighted rendezvous hashing, the same on every node.
//!
//! Each server draws `u = mix(fnv1a(client) ^ id)`, a number between 0 and 1 that only the two
//! decide, and arrives at `-ln(u) / weight`; the first to arrive gets the client. So a server that
//! goes moves only its own clients, they return when it does, and shares follow the weights
//! (arrival times are exponential with the weight as rate).

use super::hash::{fnv1a, mix};
use super::{Balance, Candidate};

/// Remembers nothing. A slow start does not count here: it would move clients twice.
pub(super) struct IpHash;

impl Balance for IpHash {
    fn pick(&mut self, candidates: &[Candidate], client: &[u8]) -> Option<usize> {
        let client = fnv1a(client);
        candidates
            .iter()
            .map(|candidate| arrival(client, candidate))
            .enumerate()
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(index, _)| index)
    }
}

/// When this server arrives at this client.
fn arrival(client: u64, candidate: &Candidate) -> f64 {
    -draw(mix(client ^ candidate.id)).ln() / f64::from(candidate.weight.get())
}

/// The upper 52 bits as a number strictly between 0 and 1.
fn draw(hash: u64) -> f64 {
    // 1.m with the hash as mantissa, less a half unit short of one: exact, never 0, never 1.
    f64::from_bits((1023 << 52) | (hash >> 12)) - (1.0 - f64::EPSILON / 2.0)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::{server_id, tests::candidates};
    use super::*;

    fn clients() -> impl Iterator<Item = [u8; 4]> {
        (0..20_000u32).map(|n| (0x0a00_0000 + n).to_be_bytes())
    }

    fn choices(candidates: &[Candidate]) -> HashMap<[u8; 4], u64> {
        clients()
            .map(|client| {
                (
                    client,
                    candidates[IpHash.pick(candidates, &client).unwrap()].id,
                )
            })
            .collect()
    }

    #[test]
    fn draws_stay_strictly_between_0_and_1() {
        for hash in [0, 1, 1 << 12, u64::MAX / 2, u64::MAX] {
            let draw = draw(hash);
            assert!(draw > 0.0 && draw < 1.0, "{hash:x} {draw:e}");
        }
    }

    /// The expected choices come from an independent implementation of the module's first lines.
    #[test]
    fn the_choice_is_fixed_for_ever() {
        let mut all = candidates(&[1, 1, 2]);
        for (candidate, address) in all
            .iter_mut()
            .zip(["10.0.0.1:80", "10.0.0.2:80", "[::1]:80"])
        {
            candidate.id = server_id(address);
        }
        let picks: Vec<_> = [
            [192, 0, 2, 1],
            [192, 0, 2, 2],
            [198, 51, 100, 7],
            [203, 0, 113, 255],
        ]
        .iter()
        .map(|client| IpHash.pick(&all, client).unwrap())
        .collect();
        assert_eq!(picks, [1, 2, 2, 0]);
    }

    #[test]
    fn a_server_that_goes_moves_only_its_own_clients() {
        let all = candidates(&[1, 2, 3, 4]);
        let before = choices(&all);
        for gone in 0..all.len() {
            let mut rest = all.clone();
            let gone = rest.remove(gone).id;
            for (client, server) in choices(&rest) {
                assert!(
                    before[&client] == server || before[&client] == gone,
                    "{client:?}"
                );
            }
        }
    }

    #[test]
    fn a_weight_that_grows_takes_clients_and_gives_none_away() {
        let before = choices(&candidates(&[1, 2, 3]));
        for (client, server) in choices(&candidates(&[1, 3, 3])) {
            assert!(server == 2 || before[&client] == server, "{client:?}");
        }
    }

    #[test]
    fn load_and_order_do_not_matter() {
        let all = candidates(&[1, 2, 3]);
        let mut shuffled: Vec<_> = all.iter().rev().copied().collect();
        shuffled[0].load = 1_000_000;
        assert_eq!(choices(&all), choices(&shuffled));
    }

    #[test]
    fn the_last_bits_of_an_ipv6_prefix_spread_too() {
        let all = candidates(&[1, 1]);
        let first = (0..1000u64)
            .filter(|n| IpHash.pick(&all, &(0x2001_0db8_0000_0000 + n).to_be_bytes()) == Some(0))
            .count();
        assert!((400..600).contains(&first), "{first}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_weight_vector_gives_its_distribution(
            weights in prop::collection::vec(1u16..20, 1..6),
            salt in any::<u64>(),
        ) {
            let mut all = candidates(&weights);
            for candidate in &mut all {
                candidate.id = mix(candidate.id ^ salt);
            }
            let chosen = choices(&all);
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            for candidate in &all {
                let count = chosen.values().filter(|&&id| id == candidate.id).count();
                let count = f64::from(u32::try_from(count).unwrap());
                let due = 20_000.0 * f64::from(candidate.weight.get()) / total;
                // Five standard deviations of a binomial draw.
                prop_assert!((count - due).abs() <= 5.0 * due.sqrt() + 1.0, "{count} of {due}");
            }
        }
    }
}
