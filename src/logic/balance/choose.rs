//! Who may be picked at all: up, not ejected, not full, not tried, primaries before backups.
//! The algorithm then picks among those.

use super::{Balance, Candidate, Kind, build};

/// What is known of a server when a connection looks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerView {
    /// Its figures for the algorithm.
    pub candidate: Candidate,
    /// Used only when no primary is available.
    pub backup: bool,
    /// Its checks say so, and no operator drains it.
    pub up: bool,
    /// Taken out for a while for its failures.
    pub ejected: bool,
    /// At its `max_connections`.
    pub full: bool,
    /// At its `max_handshakes`: worth waiting for, not worth a backup.
    pub busy: bool,
    /// This connection has failed there already.
    pub tried: bool,
}

/// Why no server was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Some server would do, were it not full: waiting may help.
    Full,
    /// None is up, or those that are have been tried.
    Down,
}

/// Chooses servers of one upstream; allocates nothing once it has seen the upstream's size.
pub struct Chooser {
    balance: Box<dyn Balance>,
    views: Vec<ServerView>,
    candidates: Vec<Candidate>,
    /// Where each candidate stands among the views.
    places: Vec<usize>,
}

impl Chooser {
    /// A chooser with this algorithm.
    pub fn new(kind: Kind) -> Self {
        Self {
            balance: build(kind),
            views: vec![],
            candidates: vec![],
            places: vec![],
        }
    }

    /// Begins anew: forgets whose turn it is and who is owed one.
    pub fn forget_turns(&mut self, kind: Kind) {
        self.balance = build(kind);
    }

    /// The place, in the order given, of the server that gets this client's connection.
    ///
    /// # Errors
    /// [`Unavailable`] when none may be picked.
    pub fn choose(
        &mut self,
        servers: impl IntoIterator<Item = ServerView>,
        client: &[u8],
    ) -> Result<usize, Unavailable> {
        self.look_at(servers);
        match self.balance.pick(&self.candidates, client) {
            Some(index) => Ok(self.places[index]),
            None => Err(why_none(&self.views)),
        }
    }

    /// Somebody was sent away for the sake of the server of this id: it gets a turn of theirs.
    pub fn owe(&mut self, servers: impl IntoIterator<Item = ServerView>, id: u64) {
        self.look_at(servers);
        let place = (self.candidates.iter()).position(|candidate| candidate.id == id);
        if let Some(index) = place {
            self.balance.owe(&self.candidates, index);
        }
    }

    /// Sorts out the candidates.
    fn look_at(&mut self, servers: impl IntoIterator<Item = ServerView>) {
        self.views.clear();
        self.views.extend(servers);
        void_ejections_of_the_last(&mut self.views);
        let backup = !self
            .views
            .iter()
            .any(|view| !view.backup && view.is_available());
        self.gather(|view| view.backup == backup && view.is_available() && !view.busy);
    }

    fn gather(&mut self, may_be_picked: impl Fn(&ServerView) -> bool) {
        self.candidates.clear();
        self.places.clear();
        for (place, view) in self.views.iter().enumerate() {
            if may_be_picked(view) {
                self.candidates.push(view.candidate);
                self.places.push(place);
            }
        }
    }
}

impl ServerView {
    fn is_available(&self) -> bool {
        self.is_untried() && !self.full
    }

    fn is_untried(&self) -> bool {
        self.up && !self.ejected && !self.tried
    }
}

/// The last server of an upstream is never ejected, whichever way it came to be the last.
fn void_ejections_of_the_last(views: &mut [ServerView]) {
    if views.iter().any(|view| view.up && !view.ejected) {
        return;
    }
    for view in views {
        view.ejected = false;
    }
}

fn why_none(views: &[ServerView]) -> Unavailable {
    if views.iter().any(ServerView::is_untried) {
        Unavailable::Full
    } else {
        Unavailable::Down
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::candidates;
    use super::*;

    const CLIENT: [u8; 4] = [10, 0, 0, 1];

    fn servers(count: usize) -> Vec<ServerView> {
        candidates(&vec![1; count])
            .into_iter()
            .map(|candidate| ServerView {
                candidate,
                backup: false,
                up: true,
                ejected: false,
                full: false,
                busy: false,
                tried: false,
            })
            .collect()
    }

    /// Everybody that four picks in a row find.
    fn chosen(servers: &[ServerView]) -> Result<Vec<usize>, Unavailable> {
        let mut chooser = Chooser::new(Kind::RoundRobin);
        (0..4)
            .map(|_| chooser.choose(servers.iter().copied(), &CLIENT))
            .collect()
    }

    #[test]
    fn everybody_in_good_standing_takes_part() {
        assert_eq!(chosen(&servers(2)), Ok(vec![0, 1, 0, 1]));
    }

    #[test]
    fn down_ejected_full_and_tried_servers_are_passed_over() {
        let faults: [fn(&mut ServerView); 4] = [
            |s| s.up = false,
            |s| s.ejected = true,
            |s| s.full = true,
            |s| s.tried = true,
        ];
        for fault in faults {
            let mut servers = servers(3);
            fault(&mut servers[1]);
            assert_eq!(chosen(&servers), Ok(vec![0, 2, 0, 2]), "{:?}", servers[1]);
        }
    }

    #[test]
    fn backups_serve_only_when_no_primary_can() {
        let mut servers = servers(3);
        servers[1].backup = true;
        assert_eq!(chosen(&servers), Ok(vec![0, 2, 0, 2]));
        servers[0].full = true;
        assert_eq!(chosen(&servers), Ok(vec![2; 4]));
        servers[2].up = false;
        assert_eq!(chosen(&servers), Ok(vec![1; 4]));
    }

    #[test]
    fn a_busy_primary_is_waited_for_and_no_backup_taken_in_its_place() {
        let mut servers = servers(2);
        servers[1].backup = true;
        servers[0].busy = true;
        assert_eq!(chosen(&servers), Err(Unavailable::Full));
    }

    #[test]
    fn when_all_that_are_up_are_ejected_none_is() {
        let mut servers = servers(3);
        servers[0].ejected = true;
        servers[1].ejected = true;
        servers[2].up = false;
        assert_eq!(chosen(&servers), Ok(vec![0, 1, 0, 1]));
    }

    #[test]
    fn a_full_server_does_not_bring_an_ejected_one_back() {
        let mut servers = servers(2);
        servers[0].ejected = true;
        servers[1].full = true;
        assert_eq!(chosen(&servers), Err(Unavailable::Full));
    }

    #[test]
    fn nobody_left_is_told_apart_from_everybody_full() {
        let mut servers = servers(2);
        servers[0].up = false;
        servers[1].tried = true;
        assert_eq!(chosen(&servers), Err(Unavailable::Down));
        servers[1].tried = false;
        servers[1].full = true;
        assert_eq!(chosen(&servers), Err(Unavailable::Full));
        assert_eq!(chosen(&[]), Err(Unavailable::Down));
    }

    proptest! {
        #[test]
        fn a_server_is_found_whenever_there_is_one(flags in prop::collection::vec(any::<[bool; 5]>(), 0..6)) {
            let mut servers = servers(flags.len());
            for (server, &[backup, up, ejected, full, tried]) in servers.iter_mut().zip(&flags) {
                *server = ServerView { backup, up, ejected, full, tried, ..*server };
            }
            let healthy = servers.iter().any(|s| s.up && !s.ejected);
            let ejected = |s: &ServerView| s.ejected && healthy;
            let fit = |s: &ServerView| s.up && !ejected(s) && !s.full && !s.tried;
            for kind in [Kind::RoundRobin, Kind::LeastConn, Kind::IpHash] {
                match Chooser::new(kind).choose(servers.iter().copied(), &CLIENT) {
                    Ok(place) => {
                        prop_assert!(fit(&servers[place]));
                        let primary_left = servers.iter().any(|s| fit(s) && !s.backup);
                        prop_assert_eq!(servers[place].backup, !primary_left);
                    }
                    Err(_) => prop_assert!(!servers.iter().any(fit)),
                }
            }
        }
    }
}
