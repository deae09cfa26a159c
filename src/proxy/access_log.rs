//! What the access log is told of a request: facts gathered step by step, one line at
//! its end, two for a session. While the log is off nothing is gathered.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::logic::auth::Identity;
use crate::logic::reason::{CloseCode, EndReason};
use crate::logic::refusal::Refusal;
use crate::logic::request::{Certificate, Client, Request, RequestHead};
use crate::logic::websocket::{CloseFrom, End, Session, Side};
use crate::state::registry::Live;
use crate::state::route::Route;
use crate::state::server::Server;
use crate::telemetry::access::json::bounded;
use crate::telemetry::access::{AccessLog, Ending, Event, Facts, Record, Served};

use super::connection::ClientConnection;

/// A request that has no line yet.
#[derive(Debug)]
pub struct RequestLog(Option<Box<Noted>>);

#[derive(Debug)]
struct Noted {
    log: AccessLog,
    received: Instant,
    facts: Facts,
}

/// What an open session's last line repeats.
#[derive(Debug)]
pub struct SessionLog {
    log: AccessLog,
    facts: Arc<Facts>,
}

/// The `reason` of an upgrade that the backend answered with another status than 101.
const BACKEND_STATUS: &str = "backend_status";

impl RequestLog {
    /// Nothing of a request was understood.
    pub fn begin(log: &AccessLog, client: &ClientConnection, received: Instant) -> Self {
        Self(log.is_on().then(|| {
            let peer = client.ends.peer.ip().to_canonical();
            let mut facts = Facts::of(&client.listener.settings.name, peer);
            if let Some(Certificate { subject, names }) = client.proof.certificate() {
                facts.client_subject = Some(bounded(subject.as_bytes()));
                facts.client_san = Some(bounded(names.as_bytes()));
            }
            Box::new(Noted {
                log: log.clone(),
                received,
                facts,
            })
        }))
    }

    /// It has a head, whatever that means.
    pub fn head(&mut self, head: &RequestHead) {
        if let Some(facts) = self.facts() {
            facts.method = Some(bounded(head.method().as_bytes()));
            facts.host = head.fields().values("host").next().map(bounded);
            facts.path = raw_path(head.target()).map(bounded);
        }
    }

    /// It means one thing only, and comes from this client.
    pub fn understood(&mut self, request: &Request, caller: &Client) {
        if let Some(facts) = self.facts() {
            facts.client = caller.address;
            facts.host = Some(bounded(request.host().name().as_bytes()));
            facts.path = Some(bounded(request.path().as_bytes()));
        }
    }

    /// It met this route.
    pub fn routed(&mut self, route: &Route) {
        if let Some(facts) = self.facts() {
            facts.route = Some(Arc::clone(&route.settings.name));
            let upstream = route.upstream.as_ref();
            facts.upstream = upstream.map(|upstream| Arc::clone(&upstream.settings.name));
        }
    }

    /// A token named its user.
    pub fn identified(&mut self, identity: &Identity) {
        if let Some(facts) = self.facts() {
            let user = identity.user.as_deref();
            facts.user = user.map(|user| bounded(user.as_bytes()));
        }
    }

    /// This server was the last one tried, after so many others.
    pub fn tried(&mut self, server: &Server, retries: u32) {
        if let Some(facts) = self.facts() {
            facts.server = Some(Arc::clone(&server.label));
            facts.retries = Some(retries);
        }
    }

    /// It ends with a refusal of the proxy's.
    pub fn refused(self, refusal: &Refusal) {
        self.turned_away(Some(refusal.status()), refusal.word());
    }

    /// It asked for an upgrade, and the backend answered with this status instead.
    pub fn passed(self, status: u16) {
        self.turned_away(Some(status), BACKEND_STATUS);
    }

    /// It ends without an answer: the client has left.
    pub fn abandoned(self) {
        self.turned_away(None, EndReason::ClientGone.word());
    }

    /// It ends with the answer it asked for.
    pub fn answered(self, status: u16) {
        self.carried(status, [0, 0], None);
    }

    /// It ends with an answer, after so much payload to the backend and to the client; `cut` says
    /// why the answer stopped before its end.
    pub fn carried(self, status: u16, payload_bytes: [u64; 2], cut: Option<&'static str>) {
        let [bytes_to_backend, bytes_to_client] = payload_bytes;
        self.finish(Some(status), |took| {
            Event::Request(Served {
                took,
                bytes_to_backend,
                bytes_to_client,
                cut,
            })
        });
    }

    /// It became a session.
    pub fn opened(self, live: &Live) -> Option<Box<SessionLog>> {
        let Noted {
            log,
            received,
            mut facts,
        } = *self.0?;
        facts.id = Some(live.id.0);
        facts.status = Some(101);
        facts.handshake = Some(live.opened.saturating_duration_since(received));
        let session = SessionLog {
            log,
            facts: Arc::new(facts),
        };
        session.record(Event::Open);
        Some(Box::new(session))
    }

    fn turned_away(self, status: Option<u16>, reason: &'static str) {
        self.finish(status, |took| Event::Refused { took, reason });
    }

    fn finish(self, status: Option<u16>, event: impl FnOnce(Duration) -> Event) {
        let Some(noted) = self.0 else { return };
        let facts = Facts {
            status,
            ..noted.facts
        };
        noted.log.record(Record {
            at: SystemTime::now(),
            event: event(noted.received.elapsed()),
            facts: Arc::new(facts),
        });
    }

    fn facts(&mut self) -> Option<&mut Facts> {
        self.0.as_mut().map(|noted| &mut noted.facts)
    }
}

impl SessionLog {
    /// The session is over.
    pub fn closed(&self, session: &Session, end: &End, lived: Duration) {
        let tally = session.tally();
        self.record(Event::Close(Ending {
            lived,
            messages_to_backend: tally.client.messages(),
            messages_to_client: tally.backend.messages(),
            bytes_to_backend: tally.client.payload_bytes,
            bytes_to_client: tally.backend.payload_bytes,
            close_code: end.close_code.map(CloseCode::get),
            close_from: end.close_from.map(CloseFrom::word),
            reason: end.reason,
            ping_rtt: session.ping_rtt(Side::Client),
        }));
    }

    fn record(&self, event: Event) {
        self.log.record(Record {
            at: SystemTime::now(),
            event,
            facts: Arc::clone(&self.facts),
        });
    }
}

/// The path of a target that was not understood; tokens stand behind it, credentials in front.
fn raw_path(target: &[u8]) -> Option<&[u8]> {
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    path.starts_with(b"/").then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_target_only_the_path_is_shown() {
        for (target, path) in [
            ("/ws?token=secret", Some("/ws")),
            ("/ws#token=secret", Some("/ws")),
            ("/../ws", Some("/../ws")),
            ("http://user:secret@host/ws", None),
            ("?token=secret", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(
                raw_path(target.as_bytes()),
                path.map(str::as_bytes),
                "{target}"
            );
        }
    }
}
