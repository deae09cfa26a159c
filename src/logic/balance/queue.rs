//! First come, first served: who waits for a server, in the order in which they came.
//! Knows neither servers nor how anyone is told; the caller decides whose wait is over.

use std::collections::BTreeMap;
use std::time::Instant;

/// A place in the order. A request whose server failed waits again with the turn it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Turn {
    number: u64,
    /// Since when it waits.
    pub since: Instant,
}

/// What becomes of one who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// The wait is over, with this.
    Over(T),
    /// There is nothing for this one; somebody behind may fare better.
    Wait,
    /// There is nothing for this one or anybody behind.
    Stop,
}

/// Everybody who waits.
#[derive(Debug)]
pub struct Queue<W> {
    waiting: BTreeMap<Turn, W>,
    drawn: u64,
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self {
            waiting: BTreeMap::new(),
            drawn: 0,
        }
    }
}

impl<W> Queue<W> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The turn behind all others.
    pub const fn draw(&mut self, now: Instant) -> Turn {
        self.drawn += 1;
        Turn {
            number: self.drawn,
            since: now,
        }
    }

    /// Lets somebody wait; a turn is in the queue once at a time.
    pub fn join(&mut self, turn: Turn, waiter: W) {
        self.waiting.insert(turn, waiter);
    }

    /// Gives up a place. Nothing happens to a turn that has come.
    pub fn leave(&mut self, turn: Turn) -> Option<W> {
        self.waiting.remove(&turn)
    }

    /// Asks for each in turn whether the wait is over, and takes those out for whom it is.
    pub fn serve<T>(&mut self, mut decide: impl FnMut(&W) -> Verdict<T>) -> Vec<(W, T)> {
        let mut over = Vec::new();
        for (&turn, waiter) in &self.waiting {
            match decide(waiter) {
                Verdict::Over(with) => over.push((turn, with)),
                Verdict::Wait => {}
                Verdict::Stop => break,
            }
        }
        over.into_iter()
            .filter_map(|(turn, with)| Some((self.leave(turn)?, with)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A queue of `a`, `b`, `c` … and their turns.
    fn queue(count: u8) -> (Queue<char>, Vec<Turn>) {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let turns = (0..count).map(|place| {
            let turn = queue.draw(now);
            queue.join(turn, char::from(b'a' + place));
            turn
        });
        let turns = turns.collect();
        (queue, turns)
    }

    /// Who is served when there are `places` that suit all but the `picky`.
    fn served(queue: &mut Queue<char>, mut places: usize, picky: &str) -> String {
        let over = queue.serve(|waiter| match places {
            0 => Verdict::Stop,
            _ if picky.contains(*waiter) => Verdict::Wait,
            _ => {
                places -= 1;
                Verdict::Over(())
            }
        });
        over.into_iter().map(|(waiter, ())| waiter).collect()
    }

    #[test]
    fn who_came_first_is_served_first() {
        let (mut queue, _) = queue(5);
        assert_eq!(served(&mut queue, 2, ""), "ab");
        assert_eq!(served(&mut queue, 2, ""), "cd");
        assert_eq!(served(&mut queue, 2, ""), "e");
        assert!(queue.is_empty());
    }

    #[test]
    fn who_leaves_holds_up_nobody() {
        let (mut queue, turns) = queue(4);
        assert_eq!(queue.leave(turns[0]), Some('a'));
        assert_eq!(queue.leave(turns[2]), Some('c'));
        assert_eq!(queue.leave(turns[2]), None);
        assert_eq!(served(&mut queue, 9, ""), "bd");
    }

    #[test]
    fn who_can_use_none_of_the_places_is_passed_over_and_keeps_the_turn() {
        let (mut queue, _) = queue(4);
        assert_eq!(served(&mut queue, 2, "a"), "bc");
        assert_eq!(served(&mut queue, 2, ""), "ad");
    }

    #[test]
    fn a_turn_taken_up_again_stands_before_those_who_came_later() {
        let (mut queue, turns) = queue(3);
        assert_eq!(served(&mut queue, 1, ""), "a");
        queue.join(turns[0], 'A');
        assert_eq!(served(&mut queue, 3, ""), "Abc");
    }

    proptest! {
        #[test]
        fn everybody_is_served_once_or_left_and_never_out_of_order(
            steps in prop::collection::vec((0u8..3, any::<prop::sample::Index>()), 1..200),
        ) {
            let (mut queue, now) = (Queue::default(), Instant::now());
            let mut turns: Vec<Turn> = vec![];
            let (mut left, mut served) = (vec![], vec![]);
            for (step, which) in steps {
                match step {
                    0 => {
                        let turn = queue.draw(now);
                        queue.join(turn, turn);
                        turns.push(turn);
                    }
                    1 if !turns.is_empty() => left.extend(queue.leave(*which.get(&turns))),
                    _ => {
                        let mut places = which.index(4);
                        let over = queue.serve(|_| match places {
                            0 => Verdict::Stop,
                            _ => {
                                places -= 1;
                                Verdict::Over(())
                            }
                        });
                        served.extend(over.into_iter().map(|(turn, ())| turn));
                    }
                }
            }
            prop_assert!(served.is_sorted(), "{served:?}");
            prop_assert_eq!(left.len() + served.len() + queue.len(), turns.len());
        }
    }
}
