//! How many connections each client has open. Holds an entry for each client that has one, so that
//! the connections themselves bound it.

use std::collections::HashMap;
use std::hash::BuildHasher;

use crate::logic::request::ClientKey;

/// Open connections by client.
#[derive(Debug)]
pub struct ConnectionCounts<S> {
    open: HashMap<ClientKey, usize, S>,
}

impl<S: BuildHasher> ConnectionCounts<S> {
    /// Nobody is here yet. Clients choose their addresses, so the hasher has to be seeded.
    pub const fn new(hasher: S) -> Self {
        Self {
            open: HashMap::with_hasher(hasher),
        }
    }

    /// Counts one more, unless the client has `max` already.
    pub fn enter(&mut self, client: ClientKey, max: usize) -> bool {
        let open = self.open.entry(client).or_default();
        let enters = *open < max;
        *open += usize::from(enters);
        enters
    }

    /// Counts one less.
    pub fn leave(&mut self, client: ClientKey) {
        if let Some(open) = self.open.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&client);
            }
        }
    }

    /// Clients that have a connection.
    pub fn clients(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasherDefault;

    use super::*;

    type Hasher = BuildHasherDefault<std::hash::DefaultHasher>;

    fn client(address: &str) -> ClientKey {
        ClientKey::of(address.parse().unwrap())
    }

    #[test]
    fn a_client_has_no_more_than_its_share_and_gets_back_what_it_leaves() {
        let mut counts = ConnectionCounts::new(Hasher::default());
        let (one, other) = (client("1.2.3.4"), client("1.2.3.5"));
        assert!(counts.enter(one, 2) && counts.enter(one, 2));
        assert!(!counts.enter(one, 2));
        assert!(counts.enter(other, 2));
        counts.leave(one);
        assert!(counts.enter(one, 2));
        assert!(!counts.enter(one, 2));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let mut counts = ConnectionCounts::new(Hasher::default());
        for n in 0..1_000_u32 {
            let one = ClientKey::V4(n.into());
            assert!(counts.enter(one, 1));
            counts.leave(one);
        }
        assert_eq!(counts.clients(), 0);
    }
}
