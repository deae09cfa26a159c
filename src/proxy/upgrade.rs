//! From an upgrade request to a tunnel: the checks, a server, both handshakes proven, the relay.

use std::sync::Arc;
use std::time::Instant;

use tokio::select;

use crate::logic::reason::EndReason;
use crate::logic::refusal::{BackendFault, Refusal};
use crate::logic::request::to_client::write_switching;
use crate::logic::request::{Framing, Outbound};
use crate::logic::websocket::handshake::{Agreed, Offer, verify};
use crate::logic::websocket::{Extensions, Session};
use crate::state::route::RoutePlace;
use crate::state::server::Phase;

use super::accounting::Accounting;
use super::attempt::{Reached, Unreached, failed, reach};
use super::connection::ClientConnection;
use super::exchange::{Next, refuse, unix_time};
use super::rejected_upgrade::forward_response;
use super::relay::Relay;
use super::routed_request::{CLIENT_LEFT, RoutedRequest};
use super::trace::Trace;
use super::upgrade_attempt::{UpgradeAttempt, UpgradeResponse};

impl RoutedRequest {
    /// Opens the tunnel that was asked for with this offer, or answers the request.
    pub async fn upgrade(mut self, offer: Offer, mut client: ClientConnection) -> Next {
        let place = match self.enter() {
            Ok(place) => place,
            Err(refusal) => return Box::pin(self.turn_away(client, &refusal)).await,
        };
        let early_bytes = client.listener.settings.max_header_bytes;
        let mut trace = std::mem::replace(&mut self.trace, Trace::NONE);
        let outcome = select! {
            biased;
            outcome = self.reach_server(&offer, &mut trace) => Some(outcome),
            // A client that leaves takes its connect and its handshake with it.
            () = client.read_buffer.until_gone(&mut client.stream, early_bytes) => None,
        };
        self.trace = trace;
        let Some(outcome) = outcome else {
            return self.abandoned();
        };
        let reached = match outcome {
            Ok(reached) => reached,
            Err(Unreached { refusal, tried }) => {
                if let Some((server, retries)) = tried {
                    self.log.tried(&server, retries);
                }
                return Box::pin(self.turn_away(client, &refusal)).await;
            }
        };
        self.log.tried(reached.ticket.server(), reached.retries);
        if reached.answer.head.status() == 101 {
            return self.switch(offer, client, place, reached).await;
        }
        Box::pin(self.reject(client, reached)).await
    }

    /// Forwards the rejection of an upgrade, if it can be told where it ends.
    async fn reject(mut self, client: ClientConnection, reached: Reached<UpgradeResponse>) -> Next {
        let head = &reached.answer.head;
        let framing = match Framing::of_response(head, self.request.method()) {
            Ok(framing) => framing,
            Err(fault) => {
                failed(&self.upstream, reached.ticket.server(), Phase::Handshake);
                let refusal = BackendFault::Head(fault).into();
                return self.turn_away(client, &refusal).await;
            }
        };
        // It refused the upgrade in order: no failure in a row.
        reached.ticket.server().succeeded(Instant::now());
        self.route.figures.handshake(head.status());
        self.trace.answered(head.status());
        self.log.passed(head.status());
        forward_response(client, &self.request, framing, reached).await
    }

    async fn reach_server(
        &self,
        offer: &Offer,
        trace: &mut Trace,
    ) -> Result<Reached<UpgradeResponse>, Unreached> {
        let path = self.route.settings.backend_path(self.request.path());
        let outbound = self.outbound(&path, Some(offer));
        let traced = trace.header().map(|ours| [outbound.set, &[ours]].concat());
        let set = traced.as_deref().unwrap_or(outbound.set);
        let mut head = Vec::with_capacity(1024);
        Outbound { set, ..outbound }.write_to(&mut head);
        let mut attempt = UpgradeAttempt {
            settings: &self.upstream.settings,
            request: &head,
            ends: self.ends,
            trace,
        };
        let shared = &self.context.shared;
        reach(shared, &self.upstream, &self.caller.key(), &mut attempt).await
    }

    /// Holds the backend's 101 against the offer, passes it on and starts the relay.
    async fn switch(
        mut self,
        offer: Offer,
        mut client: ClientConnection,
        place: RoutePlace,
        mut reached: Reached<UpgradeResponse>,
    ) -> Next {
        let strictness = self.route.settings.handshake;
        let agreed = match verify(&reached.answer.head, &offer, strictness) {
            Ok(agreed) => agreed,
            Err(fault) => {
                failed(&self.upstream, reached.ticket.server(), Phase::Handshake);
                let refusal = BackendFault::Handshake(fault).into();
                return Box::pin(self.turn_away(client, &refusal)).await;
            }
        };
        reached.ticket.server().succeeded(Instant::now());
        let mut head = Vec::with_capacity(512);
        write_switching(&reached.answer.head, &agreed, &mut head);
        if !client.send(&head).await {
            return self.abandoned();
        }
        self.route.figures.handshake(101);
        self.trace.answered(101);
        let early = reached.answer.read_buffer.take();
        tokio::spawn(self.relay(client, place, &agreed, reached, early));
        Next::Gone
    }

    /// The session's task; what the handshake needed is gone from it.
    fn relay(
        self,
        mut client: ClientConnection,
        place: RoutePlace,
        agreed: &Agreed,
        reached: Reached<UpgradeResponse>,
        early: bytes::Bytes,
    ) -> Relay {
        let opened = Instant::now();
        let shared = &self.context.shared;
        let sessions = Arc::clone(&self.route.sessions);
        let park_limit = self.route.settings.websocket.park_buffer_bytes;
        let entry = shared.registry.enter(
            self.context.worker,
            self.route,
            Arc::clone(reached.ticket.server()),
            self.caller.address,
            self.identity.user,
            opened,
        );
        let extensions = Extensions {
            rsv1: agreed.deflate,
        };
        let mut session = Session::new(sessions, extensions, opened, fastrand::u64(..));
        let left = self
            .identity
            .until
            .map(|until| until.saturating_sub(unix_time()));
        if let Some(ends) = left.and_then(|left| opened.checked_add(left)) {
            session.expire_at(ends, EndReason::TokenExpired);
        }
        // It may have been on its way when a drain chose its sessions.
        let dismissed = if shared.is_draining() {
            Some(EndReason::Shutdown)
        } else {
            entry.live().server.dismissed()
        };
        if let Some(reason) = dismissed {
            entry.live().order(reason);
        }
        let accounting = Accounting {
            access: self.log.opened(entry.live()),
            trace: self.trace.opened(entry.live()),
            entry,
            parked_bytes: shared.metrics.parked_bytes.clone(),
            ticket: reached.ticket,
            place,
            guard: client.guard,
        };
        accounting.opened(self.received);
        let client_end = (client.stream, client.read_buffer.take());
        Relay::new(
            session,
            client_end,
            (reached.answer.stream, early),
            accounting,
            park_limit,
        )
    }

    /// The client left before its answer.
    fn abandoned(mut self) -> Next {
        self.route.figures.handshake(CLIENT_LEFT);
        self.trace.answered(CLIENT_LEFT);
        self.log.abandoned();
        Next::Gone
    }

    async fn turn_away(mut self, client: ClientConnection, refusal: &Refusal) -> Next {
        self.route.figures.handshake(refusal.status());
        self.trace.answered(refusal.status());
        refuse(client, self.log, refusal, Some(&self.request)).await
    }
}
