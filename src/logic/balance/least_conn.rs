//! Weighted least connections: the lowest load over weight; equals take weighted turns.

use std::cmp::Ordering;

use super::round_robin::RoundRobin;
use super::{Balance, Candidate};

/// Remembers only whose turn it is among equals.
#[derive(Default)]
pub(super) struct LeastConn {
    equals: RoundRobin,
}

impl Balance for LeastConn {
    fn pick(&mut self, candidates: &[Candidate], _client: &[u8]) -> Option<usize> {
        let least = candidates.iter().min_by(|a, b| by_load(a, b))?;
        self.equals
            .turn(candidates, |candidate| by_load(candidate, least).is_eq())
    }
}

/// Load over share, compared crosswise: exact where a division would round.
fn by_load(a: &Candidate, b: &Candidate) -> Ordering {
    let crosswise = |load: u32, share: u32| u64::from(load) * u64::from(share);
    crosswise(a.load, b.share()).cmp(&crosswise(b.load, a.share()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::SlowStart;
    use super::super::tests::{candidates, tally};
    use super::*;

    #[test]
    fn the_lowest_load_over_weight_wins() {
        let mut all = candidates(&[3, 1]);
        for (loads, winner) in [([0, 1], 0), ([2, 1], 0), ([4, 1], 1), ([1, 0], 1)] {
            (all[0].load, all[1].load) = (loads[0], loads[1]);
            assert_eq!(
                LeastConn::default().pick(&all, &[]),
                Some(winner),
                "{loads:?}"
            );
        }
    }

    #[test]
    fn equals_take_turns_by_weight() {
        assert_eq!(
            tally(&mut LeastConn::default(), &candidates(&[5, 1, 1]), 70),
            [50, 10, 10]
        );
    }

    #[test]
    fn the_largest_figures_compare_without_overflow() {
        let mut all = candidates(&[u16::MAX, u16::MAX]);
        (all[0].load, all[1].load) = (u32::MAX, u32::MAX - 1);
        assert_eq!(LeastConn::default().pick(&all, &[]), Some(1));
    }

    #[test]
    fn an_empty_but_cold_server_is_not_flooded() {
        let mut all = candidates(&[1, 1]);
        all[0].load = 100;
        all[1].slow_start = SlowStart::after(Duration::ZERO, Duration::from_secs(60));
        let mut balance = LeastConn::default();
        for _ in 0..50 {
            let index = balance.pick(&all, &[]).unwrap();
            all[index].load += 1;
        }
        assert!(all[1].load <= 3, "{}", all[1].load);
    }

    proptest! {
        #[test]
        fn connections_that_stay_settle_at_the_weights(
            weights in prop::collection::vec(1u16..50, 1..8),
            cycles in 1usize..4,
        ) {
            let mut all = candidates(&weights);
            let cycle: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            let mut balance = LeastConn::default();
            for _ in 0..cycle * cycles {
                let index = balance.pick(&all, &[]).unwrap();
                all[index].load += 1;
            }
            for candidate in &all {
                let due = u32::from(candidate.weight.get()) * u32::try_from(cycles).unwrap();
                prop_assert_eq!(candidate.load, due);
            }
        }

        #[test]
        fn nobody_with_a_lower_load_over_weight_is_passed_over(
            servers in prop::collection::vec((1u16..100, 0u32..1000), 1..8),
        ) {
            let weights: Vec<_> = servers.iter().map(|&(weight, _)| weight).collect();
            let mut all = candidates(&weights);
            for (candidate, &(_, load)) in all.iter_mut().zip(&servers) {
                candidate.load = load;
            }
            let picked = all[LeastConn::default().pick(&all, &[]).unwrap()];
            prop_assert!(all.iter().all(|other| by_load(&picked, other).is_le()));
        }
    }
}
