//! Smooth weighted round robin, as nginx does it: weights 5, 1, 1 give a a b a c a a.
//! Each turn everybody earns their share, the richest is picked and pays what all have earned.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::{Balance, Candidate};

/// Remembers what each server has earned, also while it is away.
#[derive(Default)]
pub(super) struct RoundRobin {
    credits: HashMap<u64, i64, BuildHasherDefault<IdHasher>>,
}

impl Balance for RoundRobin {
    fn pick(&mut self, candidates: &[Candidate], _client: &[u8]) -> Option<usize> {
        self.turn(candidates, |_| true)
    }

    // A turn backwards: what it earns everybody pays, so that one more pick evens it out.
    fn owe(&mut self, candidates: &[Candidate], index: usize) {
        let mut paid = 0;
        for candidate in candidates {
            let share = i64::from(candidate.share());
            *self.credits.entry(candidate.id).or_default() -= share;
            paid += share;
        }
        *self.credits.entry(candidates[index].id).or_default() += paid;
    }
}

impl RoundRobin {
    /// The next in turn among the candidates that take part.
    pub(super) fn turn(
        &mut self,
        candidates: &[Candidate],
        takes_part: impl Fn(&Candidate) -> bool,
    ) -> Option<usize> {
        self.forget_the_gone(candidates.len());
        let mut earned = 0;
        let mut richest = None;
        for (index, candidate) in candidates.iter().enumerate() {
            if !takes_part(candidate) {
                continue;
            }
            let share = i64::from(candidate.share());
            let credit = self.credits.entry(candidate.id).or_default();
            *credit += share;
            earned += share;
            if richest.is_none_or(|(_, _, most)| *credit > most) {
                richest = Some((index, candidate.id, *credit));
            }
        }
        let (index, id, credit) = richest?;
        self.credits.insert(id, credit - earned);
        Some(index)
    }

    /// Servers that left for good must not fill the memory; a new count costs nobody more than a turn.
    fn forget_the_gone(&mut self, present: usize) {
        const MOST_ABSENT: usize = 1024;
        if self.credits.len() > present + MOST_ABSENT {
            self.credits.clear();
        }
    }
}

/// Server ids are hashes already.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = super::hash::fnv1a(bytes);
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = super::hash::mix(id);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::SlowStart;
    use super::super::tests::{candidates, tally};
    use super::*;

    fn sequence(robin: &mut RoundRobin, candidates: &[Candidate], picks: usize) -> String {
        let name =
            |candidate: &Candidate| ["-", "a", "b", "c"][usize::try_from(candidate.id).unwrap()];
        (0..picks)
            .map(|_| name(&candidates[robin.pick(candidates, &[]).unwrap()]))
            .collect()
    }

    #[test]
    fn weights_5_1_1_give_a_a_b_a_c_a_a() {
        let mut robin = RoundRobin::default();
        assert_eq!(
            sequence(&mut robin, &candidates(&[5, 1, 1]), 14),
            "aabacaaaabacaa"
        );
    }

    #[test]
    fn equal_weights_take_turns() {
        let mut robin = RoundRobin::default();
        assert_eq!(sequence(&mut robin, &candidates(&[2, 2, 2]), 7), "abcabca");
    }

    #[test]
    fn a_server_that_leaves_in_mid_cycle_finds_its_place_when_it_returns() {
        let all = candidates(&[5, 1, 1]);
        let mut robin = RoundRobin::default();
        assert_eq!(sequence(&mut robin, &all, 4), "aaba");
        assert_eq!(sequence(&mut robin, &all[..2], 6), "aaaaba");
        assert_eq!(sequence(&mut robin, &all, 3), "caa");
    }

    #[test]
    fn order_does_not_matter_to_what_is_remembered() {
        let all = candidates(&[5, 1, 1]);
        let reversed: Vec<_> = all.iter().rev().copied().collect();
        let mut robin = RoundRobin::default();
        assert_eq!(sequence(&mut robin, &all, 4), "aaba");
        assert_eq!(sequence(&mut robin, &reversed, 3), "caa");
    }

    #[test]
    fn a_cold_server_gets_the_part_of_its_share_that_is_warm() {
        let mut all = candidates(&[1, 1]);
        all[1].slow_start = SlowStart::after(Duration::from_secs(1), Duration::from_secs(4));
        assert_eq!(tally(&mut RoundRobin::default(), &all, 500), [400, 100]);
    }

    #[test]
    fn a_server_that_is_owed_turns_gets_them_first_and_then_its_share() {
        let all = candidates(&[1, 1]);
        let mut robin = RoundRobin::default();
        for _ in 0..3 {
            robin.owe(&all, 1);
        }
        assert_eq!(sequence(&mut robin, &all, 7), "bbbabab");
    }

    #[test]
    fn servers_that_come_and_go_for_ever_leave_nothing_behind() {
        let mut robin = RoundRobin::default();
        let mut passer_by = candidates(&[1]);
        for id in 0..10_000 {
            passer_by[0].id = id;
            robin.pick(&passer_by, &[]);
        }
        assert!(robin.credits.len() < 2_000);
    }

    proptest! {
        #[test]
        fn every_weight_vector_gives_exactly_its_distribution(
            weights in prop::collection::vec(1u16..50, 1..8),
        ) {
            let cycle = weights.iter().map(|&weight| usize::from(weight)).sum();
            let expected: Vec<_> = weights.iter().map(|&weight| usize::from(weight)).collect();
            let all = candidates(&weights);
            let mut robin = RoundRobin::default();
            prop_assert_eq!(&tally(&mut robin, &all, cycle), &expected);
            prop_assert_eq!(&tally(&mut robin, &all, cycle), &expected);
        }

        #[test]
        fn no_part_of_a_cycle_strays_far_from_the_weights(
            weights in prop::collection::vec(1u16..50, 2..8),
        ) {
            let all = candidates(&weights);
            let cycle: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
            let mut robin = RoundRobin::default();
            let mut counts = vec![0; weights.len()];
            for picks in 1..=cycle {
                counts[robin.pick(&all, &[]).unwrap()] += 1;
                for (&count, &weight) in counts.iter().zip(&weights) {
                    let due = picks * usize::from(weight);
                    prop_assert!((count * cycle).abs_diff(due) <= weights.len() * cycle);
                }
            }
        }
    }
}
