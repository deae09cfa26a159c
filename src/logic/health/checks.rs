//! Active checks: so many good ones in a row bring a server up, so many bad ones take it down.

/// What a server's checks say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    rise: u32,
    fall: u32,
    state: State,
    /// Checks in a row that contradict the state.
    against: u32,
}

/// A server changed sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It takes connections from now on.
    Up,
    /// It takes none from now on.
    Down,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not checked yet; counts as up, since a proxy that starts must serve.
    Presumed,
    Up,
    Down,
}

impl Health {
    /// A server that nobody has checked: up, until its first check decides alone.
    pub const fn new(rise: u32, fall: u32) -> Self {
        Self {
            rise,
            fall,
            state: State::Presumed,
            against: 0,
        }
    }

    /// The same server under other thresholds: a reload keeps what is known.
    pub const fn with_thresholds(self, rise: u32, fall: u32) -> Self {
        Self { rise, fall, ..self }
    }

    /// Whether it takes connections.
    pub const fn is_up(&self) -> bool {
        !matches!(self.state, State::Down)
    }

    /// Takes in a check's result.
    pub fn observe(&mut self, good: bool) -> Option<Transition> {
        let (needed, turned, transition) = match (self.state, good) {
            (State::Up, true) | (State::Down, false) => {
                self.against = 0;
                return None;
            }
            (State::Presumed, true) => {
                self.state = State::Up;
                return None;
            }
            (State::Presumed, false) => (1, State::Down, Transition::Down),
            (State::Up, false) => (self.fall, State::Down, Transition::Down),
            (State::Down, true) => (self.rise, State::Up, Transition::Up),
        };
        self.against += 1;
        if self.against < needed {
            return None;
        }
        self.state = turned;
        self.against = 0;
        Some(transition)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What each check brings, `+` good and `-` bad: `u` up, `d` down, `.` nothing.
    fn story(health: &mut Health, checks: &str) -> String {
        let letter = |transition| match transition {
            Some(Transition::Up) => 'u',
            Some(Transition::Down) => 'd',
            None => '.',
        };
        checks
            .chars()
            .map(|check| letter(health.observe(check == '+')))
            .collect()
    }

    #[test]
    fn a_server_is_up_before_its_first_check() {
        assert!(Health::new(2, 3).is_up());
    }

    #[test]
    fn the_first_check_decides_alone() {
        assert_eq!(story(&mut Health::new(2, 3), "-++"), "d.u");
        assert_eq!(story(&mut Health::new(2, 3), "+---"), "...d");
    }

    #[test]
    fn only_checks_in_a_row_count() {
        assert_eq!(story(&mut Health::new(2, 3), "+--+--+---"), ".........d");
        assert_eq!(story(&mut Health::new(3, 1), "-++-++-+++"), "d........u");
    }

    #[test]
    fn a_server_that_flaps_by_halves_never_changes_sides() {
        assert_eq!(
            story(&mut Health::new(2, 2), &"+-".repeat(50)),
            ".".repeat(100)
        );
    }

    #[test]
    fn other_thresholds_keep_what_is_known() {
        let mut health = Health::new(2, 3);
        story(&mut health, "-+");
        let mut health = health.with_thresholds(2, 1);
        assert!(!health.is_up());
        assert_eq!(story(&mut health, "+-"), "ud");
    }

    proptest! {
        #[test]
        fn transitions_alternate_and_tell_the_state(
            rise in 1u32..5,
            fall in 1u32..5,
            checks in prop::collection::vec(any::<bool>(), 0..200),
        ) {
            let mut health = Health::new(rise, fall);
            for good in checks {
                let was_up = health.is_up();
                let transition = health.observe(good);
                let expected = match (was_up, health.is_up()) {
                    (true, false) => Some(Transition::Down),
                    (false, true) => Some(Transition::Up),
                    _ => None,
                };
                prop_assert_eq!(transition, expected);
            }
        }
    }
}
