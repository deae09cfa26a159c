//! Asking a server for an upgrade, and reading the head of its answer.

use std::fmt::Display;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};

use crate::config::model;
use crate::logic::endpoint::Ends;
use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal};
use crate::logic::request::{Malformed, ResponseHead};
use crate::state::server::Phase;
use crate::state::upstream::Pick;

use super::attempt::{Attempt, Failure, MAX_FIELDS, MAX_HEAD_BYTES, MAX_INTERIM};
use super::dial::dial;
use super::inbox::{Inbox, NoHead};
use super::stream::Stream;
use super::trace::Trace;

/// What every answer begins with; HTTP/2 and others are not spoken to servers.
const OPENING: &[u8] = b"HTTP/1.";

/// An upgrade request for a server.
#[derive(Debug)]
pub struct Knock<'a> {
    /// What the upstream says of connecting.
    pub settings: &'a model::Upstream,
    /// The request's head.
    pub request: &'a [u8],
    /// Whom it is for.
    pub ends: Ends,
    /// The steps, where they are traced.
    pub trace: &'a mut Trace,
}

/// A server's answer, and the connection it came on.
#[derive(Debug)]
pub struct Opened {
    /// The connection.
    pub stream: Stream,
    /// The head of the answer.
    pub head: ResponseHead,
    /// What came behind it.
    pub inbox: Inbox,
}

impl Attempt for Knock<'_> {
    type Answer = Opened;

    async fn on(&mut self, pick: &mut Pick) -> Result<Opened, Failure> {
        self.trace.step("pick");
        let stream = dial(pick, self.settings, self.ends)
            .await
            .map_err(Failure::from);
        self.tell("connect", pick, &stream);
        let mut stream = stream?;
        let deadline = Instant::now() + self.settings.handshake_timeout;
        let mut inbox = Inbox::default();
        let head = converse(&mut stream, &mut inbox, self.request, deadline).await;
        self.tell("backend handshake", pick, &head);
        Ok(Opened {
            stream,
            head: head?,
            inbox,
        })
    }
}

impl Knock<'_> {
    fn tell<T>(&mut self, step: &'static str, pick: &Pick, outcome: &Result<T, Failure>) {
        let failure = outcome.as_ref().err();
        let why = failure.map(|failure| &failure.refusal as &dyn Display);
        self.trace.asked(step, pick.ticket.server(), why);
    }
}

/// Sends the request and reads the head of the answer that counts.
async fn converse(
    stream: &mut Stream,
    inbox: &mut Inbox,
    request: &[u8],
    deadline: Instant,
) -> Result<ResponseHead, Failure> {
    match timeout_at(deadline, stream.write_all(request)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Failure::of(NoHead::Closed, false)),
        Err(_) => return Err(Failure::of(NoHead::TimedOut { started: false }, false)),
    }
    for interim in 0..MAX_INTERIM {
        let head = inbox.head(stream, OPENING, MAX_HEAD_BYTES, deadline).await;
        let answered = interim > 0 || !inbox.is_empty();
        let head = head.map_err(|no_head| Failure::of(no_head, answered))?;
        let head = ResponseHead::parse(head, MAX_FIELDS);
        let head = head.map_err(|malformed| Failure::of(malformed.into(), true))?;
        if !head.is_interim() {
            return Ok(head);
        }
    }
    Err(Failure {
        refusal: BackendFault::InterimFlood.into(),
        blame: Some(Phase::Handshake),
        again: false,
    })
}

impl Failure {
    fn of(no_head: NoHead, answered_before: bool) -> Self {
        let (refusal, answered) = match no_head {
            NoHead::Closed | NoHead::Failed(_) => (BackendFault::Closed.into(), false),
            NoHead::Cut => (BackendFault::Closed.into(), true),
            NoHead::Malformed(fault) => (malformed(fault), true),
            NoHead::TimedOut { started } => (Refusal::Timeout(BackendTimeout::Handshake), started),
        };
        Self {
            refusal,
            blame: Some(Phase::Handshake),
            again: !(answered || answered_before),
        }
    }
}

fn malformed(fault: Malformed) -> Refusal {
    BackendFault::Head(fault).into()
}
