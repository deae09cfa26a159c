//! Which servers hold more than their share of the live WebSockets, and by how many: what a
//! rebalance closes so that clients that come back land evenly.

use std::cmp::Reverse;
use std::num::NonZeroU16;

use super::SlowStart;

/// What a server that is in service holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Its live WebSockets.
    pub websockets: usize,
    /// Its share of all, in proportion to the others'.
    pub weight: NonZeroU16,
    /// How much of that counts while it starts slowly: whoever is moved must not be sent back.
    pub slow_start: SlowStart,
    /// Most that it may hold.
    pub max: Option<usize>,
    /// Whether it is due a share: a backup is not while a primary serves.
    pub takes: bool,
}

/// How many WebSockets move, by server in the order given; what is given is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moves {
    /// How many each server gives up.
    pub gives: Vec<usize>,
    /// How many each server is to get.
    pub takes: Vec<usize>,
}

/// The fewest moves after which every server holds its share, or at most `max_move` on that way.
pub fn moves(holdings: &[Holding], max_move: Option<usize>) -> Moves {
    let shares = fair_shares(holdings);
    let against = |difference: fn(usize, usize) -> usize| -> Vec<usize> {
        let pairs = holdings.iter().zip(&shares);
        pairs
            .map(|(holding, share)| difference(holding.websockets, *share))
            .collect()
    };
    let excess = against(|held, share| held.saturating_sub(share));
    let lack = against(|held, share| share.saturating_sub(held));
    let possible = excess.iter().sum::<usize>().min(lack.iter().sum());
    let count = max_move.map_or(possible, |max| max.min(possible));
    Moves {
        gives: scaled(&excess, count),
        takes: scaled(&lack, count),
    }
}

/// What each server would hold, were all WebSockets spread by weight and within each `max`.
fn fair_shares(holdings: &[Holding]) -> Vec<usize> {
    let mut shares = vec![0; holdings.len()];
    let mut left: usize = holdings.iter().map(|holding| holding.websockets).sum();
    let mut open: Vec<usize> = (0..holdings.len())
        .filter(|&at| holdings[at].takes)
        .collect();
    // Who can't hold a full share leaves more to the others, until all that are left can.
    loop {
        let weights = total_weight(holdings, &open);
        let cramped: Vec<usize> = (open.iter().copied())
            .filter(|&at| {
                let share = part(left, weight(&holdings[at]), weights);
                holdings[at].max.is_some_and(|max| max <= share)
            })
            .collect();
        if cramped.is_empty() {
            break;
        }
        for &at in &cramped {
            shares[at] = holdings[at].max.unwrap_or_default();
            left -= shares[at];
        }
        open.retain(|at| !cramped.contains(at));
    }
    let weights = total_weight(holdings, &open);
    for &at in &open {
        shares[at] = part(left, weight(&holdings[at]), weights);
    }
    // What does not divide stays where it is, if it can: no move without need.
    let rest = left - open.iter().map(|&at| shares[at]).sum::<usize>();
    open.sort_by_key(|&at| Reverse(holdings[at].websockets.saturating_sub(shares[at])));
    for &at in open.iter().take(rest) {
        shares[at] += 1;
    }
    shares
}

fn weight(holding: &Holding) -> usize {
    usize::from(holding.weight.get()) * usize::from(holding.slow_start.per_mille())
}

fn total_weight(holdings: &[Holding], of: &[usize]) -> usize {
    of.iter().map(|&at| weight(&holdings[at])).sum()
}

/// The amounts in proportion, so that they add up to `total`, which is not more than they do.
fn scaled(amounts: &[usize], total: usize) -> Vec<usize> {
    let all = amounts.iter().sum();
    let mut scaled: Vec<usize> = amounts
        .iter()
        .map(|&amount| part(total, amount, all))
        .collect();
    let mut rest = total - scaled.iter().sum::<usize>();
    for (scaled, &amount) in scaled.iter_mut().zip(amounts) {
        if rest > 0 && *scaled < amount {
            *scaled += 1;
            rest -= 1;
        }
    }
    scaled
}

/// `amount * numerator / denominator`, nothing of nothing.
fn part(amount: usize, numerator: usize, denominator: usize) -> usize {
    let product = amount as u128 * numerator as u128;
    product
        .checked_div(denominator as u128)
        .and_then(|part| usize::try_from(part).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::tests::candidates;
    use super::super::{Kind, build};
    use super::*;

    fn holding(websockets: usize, weight: u16) -> Holding {
        Holding {
            websockets,
            weight: NonZeroU16::new(weight).unwrap(),
            slow_start: SlowStart::FULL,
            max: None,
            takes: true,
        }
    }

    fn given(holdings: &[Holding]) -> Vec<usize> {
        moves(holdings, None).gives
    }

    #[test]
    fn a_fresh_server_is_made_room_for_with_the_excess_alone() {
        let all = [holding(60, 1), holding(60, 1), holding(0, 1)];
        let moves = moves(&all, None);
        assert_eq!(
            (moves.gives, moves.takes),
            (vec![20, 20, 0], vec![0, 0, 40])
        );
    }

    #[test]
    fn shares_follow_the_weights() {
        assert_eq!(given(&[holding(40, 3), holding(0, 1)]), [10, 0]);
    }

    #[test]
    fn a_cold_server_is_sent_no_more_than_it_would_be_given() {
        let slow_start = Duration::from_secs(10);
        let half = Holding {
            slow_start: SlowStart::after(slow_start / 2, slow_start),
            ..holding(0, 2)
        };
        assert_eq!(given(&[holding(40, 1), half]), [20, 0]);
    }

    #[test]
    fn what_is_even_stays_and_so_does_a_rest_that_does_not_divide() {
        assert_eq!(given(&[holding(5, 1), holding(5, 1)]), [0, 0]);
        assert_eq!(
            given(&[holding(1, 1), holding(2, 1), holding(2, 1)]),
            [0; 3]
        );
        assert_eq!(given(&[holding(0, 1), holding(1, 1)]), [0, 0]);
        assert_eq!(given(&[]), [0; 0]);
    }

    #[test]
    fn no_more_move_than_the_cap_allows() {
        let all = [holding(60, 1), holding(60, 1), holding(0, 1)];
        let moves = moves(&all, Some(12));
        assert_eq!((moves.gives, moves.takes), (vec![6, 6, 0], vec![0, 0, 12]));
    }

    #[test]
    fn a_server_is_not_sent_more_than_it_may_hold() {
        let small = Holding {
            max: Some(10),
            ..holding(0, 1)
        };
        assert_eq!(given(&[holding(90, 1), small, holding(0, 1)]), [50, 0, 0]);
        assert_eq!(given(&[holding(90, 1), small]), [10, 0]);
    }

    #[test]
    fn a_backup_gives_back_what_it_held_for_a_primary() {
        let backup = Holding {
            takes: false,
            ..holding(30, 1)
        };
        assert_eq!(given(&[holding(0, 1), holding(10, 1), backup]), [0, 0, 30]);
    }

    #[test]
    fn where_nobody_can_take_nobody_gives() {
        let closed = Holding {
            takes: false,
            ..holding(30, 1)
        };
        assert_eq!(given(&[closed, closed]), [0, 0]);
        let full = Holding {
            max: Some(5),
            ..holding(30, 1)
        };
        assert_eq!(given(&[full, full]), [0, 0]);
    }

    fn holdings() -> impl Strategy<Value = Vec<Holding>> {
        let one = (
            0usize..300,
            1u16..20,
            prop::option::of(0usize..200),
            any::<bool>(),
        );
        let one = one.prop_map(|(websockets, weight, max, takes)| Holding {
            max,
            takes,
            ..holding(websockets, weight)
        });
        prop::collection::vec(one, 0..8)
    }

    proptest! {
        #[test]
        fn what_is_given_is_taken_and_nobody_gives_and_takes(
            all in holdings(),
            max_move in prop::option::of(0usize..100),
        ) {
            let moves = moves(&all, max_move);
            let given: usize = moves.gives.iter().sum();
            prop_assert_eq!(given, moves.takes.iter().sum::<usize>());
            prop_assert!(max_move.is_none_or(|max| given <= max));
            for ((holding, give), take) in all.iter().zip(&moves.gives).zip(&moves.takes) {
                prop_assert!(*give == 0 || *take == 0);
                prop_assert!(*give <= holding.websockets);
                prop_assert!(*take == 0 || holding.takes);
                prop_assert!(*take == 0 || holding.max.is_none_or(|max| holding.websockets + take <= max));
            }
        }

        #[test]
        fn after_the_moves_there_is_nothing_left_to_move(all in holdings()) {
            let moved = moves(&all, None);
            let after: Vec<Holding> = (all.iter().enumerate())
                .map(|(at, holding)| Holding {
                    websockets: holding.websockets - moved.gives[at] + moved.takes[at],
                    ..*holding
                })
                .collect();
            prop_assert_eq!(moves(&after, None).gives, vec![0; all.len()]);
        }

        #[test]
        fn clients_that_come_back_land_evenly(
            loads in prop::collection::vec((0usize..60, 1u16..6), 2..6),
            returns_at_once: bool,
        ) {
            let all: Vec<Holding> = loads.iter().map(|&(held, weight)| holding(held, weight)).collect();
            let weights: Vec<u16> = loads.iter().map(|&(_, weight)| weight).collect();
            let moves = moves(&all, None);
            let mut takers: Vec<usize> = (moves.takes.iter().enumerate())
                .flat_map(|(at, &count)| std::iter::repeat_n(at, count))
                .collect();
            let mut balance = build(Kind::RoundRobin);
            let mut candidates = candidates(&weights);
            for (candidate, holding) in candidates.iter_mut().zip(&all) {
                candidate.load = u32::try_from(holding.websockets).unwrap();
            }
            let expected: Vec<u32> = (all.iter().enumerate())
                .map(|(at, holding)| holding.websockets - moves.gives[at] + moves.takes[at])
                .map(|due| u32::try_from(due).unwrap())
                .collect();
            let mut away = 0;
            for (at, &count) in moves.gives.iter().enumerate() {
                for _ in 0..count {
                    candidates[at].load -= 1;
                    balance.owe(&candidates, takers.pop().unwrap());
                    away += 1;
                    while returns_at_once && away > 0 {
                        let home = balance.pick(&candidates, &[]).unwrap();
                        candidates[home].load += 1;
                        away -= 1;
                    }
                }
            }
            for _ in 0..away {
                let home = balance.pick(&candidates, &[]).unwrap();
                candidates[home].load += 1;
            }
            let loads: Vec<u32> = candidates.iter().map(|candidate| candidate.load).collect();
            prop_assert_eq!(loads, expected);
        }
    }
}
