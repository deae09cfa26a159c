//! A plain request: its body to a server, the answer back, both at once, and nothing held of
//! either but what is on its way.

use std::pin::pin;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, split};
use tokio::select;

use crate::logic::refusal::Refusal;
use crate::logic::request::Framing;
use crate::logic::request::body::Body;
use crate::state::route::RoutePlace;

use super::ask::{Ask, Reply};
use super::attempt::{Reached, Unreached, reach};
use super::connection::ClientConnection;
use super::errand::{CLIENT_LEFT, Errand};
use super::exchange::{Next, refuse};
use super::feed::{Payload, feed};
use super::inbox::Inbox;
use super::intake::{Departure, Intake, Progress, attend};
use super::outlet::Outlet;

/// What became of a request.
#[derive(Debug)]
enum Outcome {
    /// The client has its answer, and may go on or not.
    Answered { status: u16, closes: bool },
    /// The answer stopped before its end, which was delimited so, for this reason.
    Cut {
        status: u16,
        framing: Framing,
        reason: &'static str,
    },
    /// The client gets a refusal.
    Refused(Refusal),
    /// The client left before its answer.
    Abandoned,
}

impl Errand {
    /// Carries the request to a server and the answer back.
    pub async fn forward(mut self, mut client: ClientConnection) -> Next {
        let _place = match self.enter_with_body() {
            Ok(place) => place,
            Err(refusal) => return self.refuse(client, &refusal).await,
        };
        let early_bytes = client.listener.settings.max_header_bytes;
        let send_timeout = self.route.settings.http.send_timeout;
        let progress = Progress::default();
        let (mut from, to) = split(&mut client.stream);
        let mut outlet = Outlet::new(to, send_timeout);
        let outcome = self
            .converse(
                &mut from,
                &mut client.inbox,
                &mut outlet,
                &progress,
                early_bytes,
            )
            .await;
        let carried = [progress.payload_bytes(), outlet.payload_bytes()];
        match outcome {
            Outcome::Answered { status, closes } => {
                self.count(status);
                self.visit.carried(status, carried, None);
                if closes {
                    Next::End(client)
                } else {
                    Next::Again(client)
                }
            }
            Outcome::Cut {
                status,
                framing,
                reason,
            } => {
                self.count(status);
                self.visit.carried(status, carried, Some(reason));
                if framing == Framing::UntilClose {
                    // An orderly end would pass for the body's.
                    client.stream.abort();
                }
                Next::Gone
            }
            Outcome::Refused(refusal) => self.refuse(client, &refusal).await,
            Outcome::Abandoned => {
                self.count(CLIENT_LEFT);
                self.visit.abandoned();
                Next::Gone
            }
        }
    }

    /// The checks from the limits on, of a request with a body.
    fn enter_with_body(&self) -> Result<RoutePlace, Refusal> {
        let settings = &self.route.settings;
        if let (Framing::Length(length), Some(max)) =
            (self.request.framing(), settings.http.max_body_bytes)
            && length > max
        {
            return Err(Refusal::BodyTooLarge);
        }
        self.enter()
    }

    /// Both directions, until the answer is out or one of them can't go on.
    async fn converse<R, W>(
        &mut self,
        from: &mut R,
        inbox: &mut Inbox,
        outlet: &mut Outlet<W>,
        progress: &Progress,
        early_bytes: usize,
    ) -> Outcome
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let (intake, payload) = self.body(inbox, progress);
        // Whoever has begun to send does not wait any more.
        let expects = self.expects_continue() && intake.is_some() && inbox.is_empty();
        let mut attending = pin!(attend(from, inbox, intake, progress, early_bytes));
        let reached = {
            let path = self.route.settings.backend_path(self.request.path());
            let mut ask = Ask {
                pool: &self.context.pool,
                upstream: &self.upstream,
                outbound: self.outbound(&path, None),
                ends: self.ends,
                payload: Some(payload),
                progress,
                response_timeout: self.route.settings.http.response_timeout,
                client: &mut *outlet,
                expects,
            };
            let key = self.caller.key();
            select! {
                biased;
                reached = reach(&self.context.shared, &self.upstream, &key, &mut ask) => reached,
                departure = &mut attending => return departure.into(),
            }
        };
        let reached = match reached {
            Ok(reached) => reached,
            Err(Unreached { refusal, tried }) => {
                if let Some((server, retries)) = tried {
                    self.visit.tried(&server, retries);
                }
                return Outcome::Refused(refusal);
            }
        };
        self.visit.tried(reached.ticket.server(), reached.retries);
        reached.ticket.server().succeeded(Instant::now());
        let status = reached.answer.head.status();
        let framing = self.framing(reached.answer.framing);
        select! {
            biased;
            outcome = self.answer(reached, outlet, framing, progress) => outcome,
            departure = &mut attending => {
                let reason = departure.word();
                Outcome::Cut { status, framing, reason }
            }
        }
    }

    /// Passes the answer on, and keeps the connection it came on.
    async fn answer<W: AsyncWrite + Unpin>(
        &self,
        reached: Reached<Reply>,
        outlet: &mut Outlet<W>,
        framing: Framing,
        progress: &Progress,
    ) -> Outcome {
        let Reply {
            head, body, link, ..
        } = reached.answer;
        let status = head.status();
        // Without the rest of its body nobody could tell where the next request begins.
        let closes = !self.request.keeps_alive()
            || framing == Framing::UntilClose
            || !progress.is_read()
            || self.context.shared.is_leaving();
        let body_timeout = self.route.settings.http.body_timeout;
        let sent = outlet.response(&head, framing, closes, body, body_timeout);
        if let Err(cut) = sent.await {
            return Outcome::Cut {
                status,
                framing,
                reason: cut.word(),
            };
        }
        if progress.is_sent() {
            let server = reached.ticket.server();
            let settings = &self.upstream.settings;
            self.context.pool.put(server, settings, link);
        }
        Outcome::Answered { status, closes }
    }

    /// The request's body, from both ends; from one where it is all here or there is none.
    fn body(&self, inbox: &mut Inbox, progress: &Progress) -> (Option<Intake>, Payload) {
        let framing = self.request.framing();
        let length = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        if let Some((length, whole)) =
            length.and_then(|length| Some((length, inbox.split_whole(length)?)))
        {
            progress.went_on(length);
            progress.complete();
            return (None, Payload::Whole(whole));
        }
        let http = &self.route.settings.http;
        let (feed, payload) = feed();
        let intake = Intake {
            feed,
            body: Body::decoded(framing),
            max_bytes: http.max_body_bytes,
            body_timeout: http.body_timeout,
            response_timeout: http.response_timeout,
        };
        (Some(intake), payload)
    }

    /// How the answer's body goes to the client: one of HTTP/1.0 knows no chunks.
    const fn framing(&self, came: Framing) -> Framing {
        match (came, self.request.head().minor()) {
            (Framing::Chunked | Framing::UntilClose, 0) => Framing::UntilClose,
            (Framing::Chunked | Framing::UntilClose, _) => Framing::Chunked,
            (Framing::None | Framing::Length(_), _) => came,
        }
    }

    /// RFC 9110 section 10.1.1: HTTP/1.0 knows no 100.
    fn expects_continue(&self) -> bool {
        let head = self.request.head();
        head.minor() == 1 && head.fields().lists("expect", "100-continue")
    }

    fn count(&self, status: u16) {
        self.route.figures.request(status, self.received.elapsed());
    }

    async fn refuse(self, client: ClientConnection, refusal: &Refusal) -> Next {
        self.count(refusal.status());
        refuse(client, self.visit, refusal, Some(&self.request)).await
    }
}

impl From<Departure> for Outcome {
    fn from(departure: Departure) -> Self {
        match departure {
            Departure::Gone => Self::Abandoned,
            Departure::Refused(refusal) => Self::Refused(refusal),
        }
    }
}
