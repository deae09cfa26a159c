//! What a relayed session holds and what it reports: its places, its registry entry, its figures.

use std::sync::Arc;
use std::time::Instant;

use prometheus::IntGauge;
use tracing::debug;

use crate::logic::reason::CloseCode;
use crate::logic::websocket::{End, Session, Side};
use crate::runtime::workers::ConnectionGuard;
use crate::state::registry::{Entry, Live};
use crate::state::route::RoutePlace;
use crate::state::server::Ticket;

use super::access_log::SessionLog;
use super::trace::SessionTrace;

/// What a session holds; its places are given back when it is dropped.
#[derive(Debug)]
pub struct Accounting {
    /// The session in the registry.
    pub entry: Entry,
    /// Counts what is parked, over all sessions.
    pub parked_bytes: IntGauge,
    /// The place on the server.
    pub ticket: Ticket,
    /// The place on the route.
    pub place: RoutePlace,
    /// The place of the client's connection.
    pub guard: ConnectionGuard,
    /// What the access log's last line says again; nothing where the log was off.
    pub access: Option<Box<SessionLog>>,
    /// Its span, where it is traced.
    pub trace: Option<Box<SessionTrace>>,
}

impl Accounting {
    /// What the control plane sees of the session.
    pub const fn live(&self) -> &Arc<Live> {
        self.entry.live()
    }

    /// Publishes what the session has relayed and measured so far.
    pub fn publish(&self, session: &mut Session) {
        self.live().publish(session.tally());
        for side in Side::BOTH {
            if let Some(took) = session.take_ping_rtt(side) {
                self.live().route.figures.ping_rtt(side, took);
            }
        }
    }

    /// The tunnel is open.
    pub fn opened(&self, received: Instant) {
        let live = self.live();
        let took = live.opened.saturating_duration_since(received);
        live.route
            .figures
            .opened(&live.server.key.upstream, &live.server.label, took);
    }

    /// The session is over.
    pub fn closed(&self, session: &Session, end: &End, now: Instant) {
        let live = self.live();
        let figures = &live.route.figures;
        let lived = now.saturating_duration_since(live.opened);
        figures.closed(
            &live.server.key.upstream,
            &live.server.label,
            end.reason,
            lived,
        );
        if let Some((code, from)) = end.close_code.zip(end.close_from) {
            figures.close_code(code.get(), from.word());
        }
        if let Some(opened) = &self.access {
            opened.closed(session, end, lived);
        }
        if let Some(trace) = &self.trace {
            trace.closed(session, end);
        }
        debug!(
            id = live.id.0,
            route = %live.route.settings.name,
            server = ?live.server,
            client = %live.client,
            reason = %end.reason,
            code = end.close_code.map(CloseCode::get),
            "session ended"
        );
    }
}
