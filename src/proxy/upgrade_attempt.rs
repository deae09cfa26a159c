//! One attempt of an upgrade: the backend handshake with a server, up to the head of its response.

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
use super::read_buffer::{HeadError, ReadBuffer};
use super::stream::Stream;
use super::trace::Trace;

/// What every answer begins with; HTTP/2 and others are not spoken to servers.
const OPENING: &[u8] = b"HTTP/1.";

/// An upgrade request for a server.
#[derive(Debug)]
pub struct UpgradeAttempt<'a> {
    /// What the upstream says of connecting.
    pub settings: &'a model::Upstream,
    /// The request's head.
    pub request: &'a [u8],
    /// Whom it is for.
    pub ends: Ends,
    /// The steps, where they are traced.
    pub trace: &'a mut Trace,
}

/// A server's response, and the connection it came on.
#[derive(Debug)]
pub struct UpgradeResponse {
    /// The connection.
    pub stream: Stream,
    /// The head of the answer.
    pub head: ResponseHead,
    /// What came behind it.
    pub read_buffer: ReadBuffer,
}

impl Attempt for UpgradeAttempt<'_> {
    type Answer = UpgradeResponse;

    async fn on(&mut self, pick: &mut Pick) -> Result<UpgradeResponse, Failure> {
        self.trace.step("pick");
        let stream = dial(pick, self.settings, self.ends)
            .await
            .map_err(Failure::from);
        self.tell("connect", pick, &stream);
        let mut stream = stream?;
        let deadline = Instant::now() + self.settings.handshake_timeout;
        let mut read_buffer = ReadBuffer::default();
        let head = converse(&mut stream, &mut read_buffer, self.request, deadline).await;
        self.tell("backend handshake", pick, &head);
        Ok(UpgradeResponse {
            stream,
            head: head?,
            read_buffer,
        })
    }
}

impl UpgradeAttempt<'_> {
    fn tell<T>(&mut self, step: &'static str, pick: &Pick, outcome: &Result<T, Failure>) {
        let failure = outcome.as_ref().err();
        let why = failure.map(|failure| &failure.refusal as &dyn Display);
        self.trace.asked(step, pick.ticket.server(), why);
    }
}

/// Sends the request and reads the head of the answer that counts.
async fn converse(
    stream: &mut Stream,
    read_buffer: &mut ReadBuffer,
    request: &[u8],
    deadline: Instant,
) -> Result<ResponseHead, Failure> {
    match timeout_at(deadline, stream.write_all(request)).await {
        Ok(Ok(())) => {}
        Ok(Err(_)) => return Err(Failure::of(HeadError::Closed, false)),
        Err(_) => return Err(Failure::of(HeadError::TimedOut { started: false }, false)),
    }
    for interim in 0..MAX_INTERIM {
        let head = read_buffer
            .head(stream, OPENING, MAX_HEAD_BYTES, deadline)
            .await;
        let answered = interim > 0 || !read_buffer.is_empty();
        let head = head.map_err(|error| Failure::of(error, answered))?;
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
    fn of(error: HeadError, answered_before: bool) -> Self {
        let (refusal, answered) = match error {
            HeadError::Closed | HeadError::Failed(_) => (BackendFault::Closed.into(), false),
            HeadError::Cut => (BackendFault::Closed.into(), true),
            HeadError::Malformed(fault) => (malformed(fault), true),
            HeadError::TimedOut { started } => {
                (Refusal::Timeout(BackendTimeout::Handshake), started)
            }
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
