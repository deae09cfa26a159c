//! Reaching a server: pick, connect, send the request, read the head of the answer, and try
//! another server for as long as no byte of an answer has come.

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, warn};

use crate::config::model;
use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal, Shortage};
use crate::logic::request::{ClientKey, Malformed, ResponseHead};
use crate::runtime::socket::connect;
use crate::state::server::{Phase, Server, Ticket};
use crate::state::upstream::Upstream;

use super::inbox::{Inbox, NoHead};
use super::stream::Stream;

/// Largest head of a backend's answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most fields in it.
const MAX_FIELDS: usize = 200;
/// Interim answers (1xx) skipped before the one that counts.
const MAX_INTERIM: usize = 32;
/// What every answer begins with; HTTP/2 and others are not spoken to servers.
const OPENING: &[u8] = b"HTTP/1.";

/// A server that answered, and how.
#[derive(Debug)]
pub struct Reached {
    /// The connection's place on the server.
    pub ticket: Ticket,
    /// The connection.
    pub stream: Stream,
    /// The head of the answer.
    pub head: ResponseHead,
    /// What came behind it.
    pub inbox: Inbox,
}

/// How an attempt on a server failed.
#[derive(Debug)]
struct Failure {
    refusal: Refusal,
    phase: Phase,
    /// Whether a byte of an answer had come: then the request is never sent again.
    answered: bool,
}

/// Sends `request` to a server of the upstream and reads the head of its answer. A server that
/// fails before it answered is replaced by another, `retries` times.
///
/// # Errors
/// What the client is told: of the last attempt when all failed, 503 when there was no server.
pub async fn reach(
    upstream: &Upstream,
    client: &ClientKey,
    request: &[u8],
) -> Result<Reached, Refusal> {
    let mut tried = Vec::new();
    let mut outcome = Refusal::Unavailable(Shortage::NoServer);
    for _ in 0..=upstream.settings.retries {
        let now = std::time::Instant::now();
        let Ok(ticket) = upstream.pick(client, &tried, now) else {
            break;
        };
        if !tried.is_empty() {
            upstream.retries.inc();
        }
        let server = ticket.server();
        match attempt(server, &upstream.settings, request).await {
            Ok((stream, head, inbox)) => {
                return Ok(Reached {
                    ticket,
                    stream,
                    head,
                    inbox,
                });
            }
            Err(failure) => {
                debug!(?server, refusal = %failure.refusal, "attempt failed");
                failed(upstream, server, failure.phase);
                if failure.answered {
                    return Err(failure.refusal);
                }
                tried.push(server.id);
                outcome = failure.refusal;
            }
        }
    }
    Err(outcome)
}

/// Counts a failure against a server, and says so when that puts it out.
pub fn failed(upstream: &Upstream, server: &Server, phase: Phase) {
    if let Some(out) = upstream.failed(server, phase, std::time::Instant::now()) {
        warn!(
            ?server,
            seconds = out.as_secs_f64(),
            "server ejected after failures in a row"
        );
    }
}

async fn attempt(
    server: &Server,
    settings: &model::Upstream,
    request: &[u8],
) -> Result<(Stream, ResponseHead, Inbox), Failure> {
    let connecting = connect(server.key.address, settings.receive_buffer_bytes);
    let mut stream = match timeout(settings.connect_timeout, connecting).await {
        Ok(Ok(stream)) => Stream::Tcp(stream),
        Ok(Err(_)) => return Err(Failure::at_connect(BackendFault::Unreachable.into())),
        Err(_) => {
            return Err(Failure::at_connect(Refusal::Timeout(
                BackendTimeout::Connect,
            )));
        }
    };
    let deadline = Instant::now() + settings.handshake_timeout;
    let mut inbox = Inbox::default();
    let head = converse(&mut stream, &mut inbox, request, deadline).await?;
    Ok((stream, head, inbox))
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
        let head = head.map_err(|no_head| Failure::of(no_head, interim > 0))?;
        let head = ResponseHead::parse(head, MAX_FIELDS);
        let head = head.map_err(|malformed| Failure::of(malformed.into(), true))?;
        if !head.is_interim() {
            return Ok(head);
        }
    }
    Err(Failure {
        refusal: BackendFault::InterimFlood.into(),
        phase: Phase::Handshake,
        answered: true,
    })
}

impl Failure {
    const fn at_connect(refusal: Refusal) -> Self {
        Self {
            refusal,
            phase: Phase::Connect,
            answered: false,
        }
    }

    fn of(no_head: NoHead, answered_before: bool) -> Self {
        let (refusal, answered) = match no_head {
            NoHead::Closed | NoHead::Failed(_) => (BackendFault::Closed.into(), false),
            NoHead::Cut => (BackendFault::Closed.into(), true),
            NoHead::Malformed(fault) => (malformed(fault), true),
            NoHead::TimedOut { started } => (Refusal::Timeout(BackendTimeout::Handshake), started),
        };
        Self {
            refusal,
            phase: Phase::Handshake,
            answered: answered || answered_before,
        }
    }
}

fn malformed(fault: Malformed) -> Refusal {
    BackendFault::Head(fault).into()
}
