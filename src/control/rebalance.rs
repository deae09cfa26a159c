//! Moves the sessions that overloaded servers have too much, at a pace, and sees to it that their
//! clients come back to the servers that lack them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::info;

use crate::logic::balance::Kind;
use crate::logic::balance::rebalance::moves;
use crate::logic::reason::EndReason;
use crate::logic::request::ClientKey;
use crate::state::Shared;
use crate::state::registry::Live;
use crate::state::server::Server;
use crate::state::upstream::Upstream;

use super::drain::{Drains, Order, Target};

/// Over how long a rebalance spreads its closes unless told otherwise.
pub const WITHIN: Duration = Duration::from_secs(60);
/// Longest that a session takes to close once it was told: a message under way, the peer's Close.
const CLOSING_TIME: Duration = Duration::from_secs(7);
/// How often it is looked whether they have closed.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Most sessions that a rebalance may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxMove {
    /// So many.
    Sessions(usize),
    /// So many of a hundred that the upstream has.
    Percent(usize),
}

impl MaxMove {
    /// Reads `10%` or `100`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => (percent.parse().ok())
                .filter(|percent| *percent <= 100)
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Sessions),
        }
    }

    /// The number, where there are so many sessions.
    fn of(self, sessions: usize) -> usize {
        match self {
            Self::Sessions(count) => count,
            Self::Percent(percent) => sessions * percent / 100,
        }
    }
}

/// Rebalances an upstream; returns after the last close, with how many sessions moved. Going on
/// does not depend on anybody waiting for it.
pub async fn rebalance(
    upstream: &Upstream,
    max_move: Option<MaxMove>,
    within: Duration,
    shared: &Arc<Shared>,
    drains: &Drains,
) -> usize {
    let (sessions, takers) = choose(upstream, max_move, shared);
    info!(upstream = %upstream.settings.name, sessions = sessions.len(), "rebalance");
    if goes_by_load(upstream) {
        upstream.forget_turns();
    }
    let order = Order {
        target: Target::Upstream(Arc::clone(&upstream.settings.name)),
        reason: EndReason::Rebalance,
        within,
        sessions: sessions.clone(),
    };
    let moved = drains
        .start_while(order, steering(upstream, takers, Arc::clone(shared)))
        .told()
        .await;
    closed(shared, &sessions).await;
    moved
}

/// The sessions to move, and for whose sake each does.
fn choose(
    upstream: &Upstream,
    max_move: Option<MaxMove>,
    shared: &Shared,
) -> (Vec<Arc<Live>>, Vec<Arc<Server>>) {
    let name = &upstream.settings.name;
    let all = shared
        .registry
        .select(|live| live.server.key.upstream == *name);
    let mut all: Vec<_> = all.into_iter().filter(|live| !live.is_ordered()).collect();
    fastrand::shuffle(&mut all);
    let max_move = max_move.map(|max_move| max_move.of(all.len()));
    let now = Instant::now();
    if !goes_by_load(upstream) {
        all.retain(|live| is_away(upstream, live, now));
        all.truncate(max_move.unwrap_or(usize::MAX));
        return (all, Vec::new());
    }
    let (servers, holdings): (Vec<_>, Vec<_>) = upstream.holdings(now).into_iter().unzip();
    let moves = moves(&holdings, max_move);
    let mut sessions = Vec::new();
    let mut takers = Vec::new();
    for ((server, gives), takes) in servers.iter().zip(moves.gives).zip(moves.takes) {
        let of_server = all.iter().filter(|live| Arc::ptr_eq(&live.server, server));
        sessions.extend(of_server.take(gives).cloned());
        takers.extend(std::iter::repeat_n(Arc::clone(server), takes));
    }
    fastrand::shuffle(&mut takers);
    (sessions, takers)
}

/// Asked at each session's moment: whether it still has to go, now that others have come and gone.
/// Its place goes to the next taker.
fn steering(
    upstream: &Upstream,
    mut takers: Vec<Arc<Server>>,
    shared: Arc<Shared>,
) -> impl FnMut(&Live) -> bool + Send + 'static {
    let name = Arc::clone(&upstream.settings.name);
    move |live| {
        let Some(upstream) = shared.snapshot().upstreams.get(&name).cloned() else {
            return false;
        };
        let now = Instant::now();
        if !goes_by_load(&upstream) {
            return is_away(&upstream, live, now);
        }
        let still_goes = is_overloaded(&upstream, &live.server, now);
        if still_goes && let Some(taker) = takers.pop() {
            upstream.owe(&taker, now);
        }
        still_goes
    }
}

fn is_overloaded(upstream: &Upstream, server: &Arc<Server>, now: Instant) -> bool {
    let (servers, holdings): (Vec<_>, Vec<_>) = upstream.holdings(now).into_iter().unzip();
    let gives = moves(&holdings, None).gives;
    let mut pairs = servers.iter().zip(gives);
    pairs.any(|(other, gives)| Arc::ptr_eq(other, server) && gives > 0)
}

/// Whether clients go where servers have room, and not where their address says.
fn goes_by_load(upstream: &Upstream) -> bool {
    match upstream.settings.balance {
        Kind::RoundRobin | Kind::LeastConn => true,
        Kind::IpHash => false,
    }
}

/// Whether the client would go to another server, were it to come now.
fn is_away(upstream: &Upstream, live: &Live, now: Instant) -> bool {
    let home = upstream.home(&ClientKey::of(live.client), now);
    // What a server that is down or leaves still holds is its drain's business, or nobody's.
    let serves = |(server, _): &(Arc<Server>, _)| Arc::ptr_eq(server, &live.server);
    home.is_some_and(|home| home != live.server.id) && upstream.holdings(now).iter().any(serves)
}

/// Waits until those of the sessions that were told to end have ended.
async fn closed(shared: &Shared, sessions: &[Arc<Live>]) {
    let is_closing =
        |live: &Arc<Live>| live.is_ordered() && shared.registry.find(live.id).is_some();
    let all_closed = async {
        while sessions.iter().any(is_closing) {
            sleep(LOOK_EVERY).await;
        }
    };
    // A session's own deadlines end it; this one is for the caller's sake.
    let _ = timeout(CLOSING_TIME, all_closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_a_number_or_a_percentage() {
        assert_eq!(MaxMove::parse("10%").map(|max| max.of(57)), Some(5));
        assert_eq!(MaxMove::parse("12").map(|max| max.of(57)), Some(12));
        for text in ["", "%", "101%", "-1", "1.5%", "ten"] {
            assert_eq!(MaxMove::parse(text), None, "{text}");
        }
    }
}
