//! Reaching a server: pick or wait for one, connect, send the request, read the head of the
//! answer, and try another server for as long as no byte of an answer has come.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, warn};

use crate::config::model;
use crate::logic::balance::Unavailable;
use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal, Shortage};
use crate::logic::request::{ClientKey, Malformed, ResponseHead};
use crate::state::Shared;
use crate::state::server::{Phase, Server, Ticket};
use crate::state::upstream::{Pick, Seeker, Upstream};

use super::dial::{DialError, dial};
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
    /// How many other servers were tried before.
    pub retries: u32,
}

/// No server answered.
#[derive(Debug)]
pub struct Unreached {
    /// What the client is told.
    pub refusal: Refusal,
    /// The last server that was tried, and how many others before.
    pub tried: Option<(Arc<Server>, u32)>,
}

/// How an attempt on a server failed.
#[derive(Debug)]
struct Failure {
    refusal: Refusal,
    /// The step that failed; none where the server is not to blame.
    blame: Option<Phase>,
    /// Whether a byte of an answer had come: then the request is never sent again.
    answered: bool,
}

/// Sends `request` to a server of the upstream and reads the head of its answer. A server that
/// fails before it answered is replaced by another, `retries` times.
///
/// # Errors
/// The failure of the last attempt when all failed, 503 when there was no server.
pub async fn reach(
    shared: &Shared,
    upstream: &Upstream,
    client: &ClientKey,
    request: &[u8],
) -> Result<Reached, Unreached> {
    let mut seeker = Seeker {
        client: *client,
        tried: Vec::new(),
        turn: None,
    };
    let mut outcome = Unreached::by(Shortage::NoServer);
    for retries in 0..=upstream.settings.retries {
        let pick = match find(shared, upstream, &mut seeker).await {
            Ok(pick) => pick,
            Err(Shortage::NoServer) => break,
            Err(shortage) => {
                outcome.refusal = Refusal::Unavailable(shortage);
                break;
            }
        };
        if retries > 0 {
            upstream.retries.inc();
        }
        let server = pick.ticket.server();
        match attempt(&pick, &upstream.settings, request).await {
            Ok((stream, head, inbox)) => {
                return Ok(Reached {
                    ticket: pick.ticket,
                    stream,
                    head,
                    inbox,
                    retries,
                });
            }
            Err(failure) => {
                debug!(?server, refusal = %failure.refusal, "attempt failed");
                if let Some(phase) = failure.blame {
                    failed(upstream, server, phase);
                }
                outcome = Unreached {
                    refusal: failure.refusal,
                    tried: Some((Arc::clone(server), retries)),
                };
                // Another server would meet our own shortage too.
                if failure.answered || failure.blame.is_none() {
                    break;
                }
                seeker.tried.push(server.id);
            }
        }
    }
    Err(outcome)
}

/// The next server for this request: at once where there is one, else in its turn.
async fn find(shared: &Shared, upstream: &Upstream, seeker: &mut Seeker) -> Result<Pick, Shortage> {
    let now = std::time::Instant::now();
    match upstream.pick(seeker, now) {
        Ok(pick) => return Ok(pick),
        Err(Unavailable::Down) => return Err(Shortage::NoServer),
        Err(Unavailable::Full) => {}
    }
    let waiting = upstream.wait(seeker, now).ok_or(Shortage::QueueFull)?;
    // From its first wait on, so that retries do not wait as long again.
    let deadline = waiting.since() + upstream.settings.queue_timeout;
    tokio::select! {
        biased;
        outcome = timeout_at(deadline.into(), waiting.turn()) => match outcome {
            Ok(handed) => handed.map_err(|_| Shortage::NoServer),
            Err(_) => Err(Shortage::QueueTimeout),
        },
        () = shared.drained() => Err(Shortage::Draining),
    }
}

/// Counts a failure against a server, and says so when that puts it out.
pub fn failed(upstream: &Upstream, server: &Server, phase: Phase) {
    if let Some(out) = upstream.failed(server, phase, std::time::Instant::now()) {
        // Its return is news to those who wait.
        let entrance = Arc::clone(upstream.entrance());
        tokio::spawn(async move {
            sleep(out).await;
            entrance.serve(std::time::Instant::now());
        });
        warn!(
            ?server,
            seconds = out.as_secs_f64(),
            "server ejected after failures in a row"
        );
    }
}

async fn attempt(
    pick: &Pick,
    settings: &model::Upstream,
    request: &[u8],
) -> Result<(Stream, ResponseHead, Inbox), Failure> {
    let mut stream = dial(pick, settings).await?;
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
        answered: true,
    })
}

impl Unreached {
    const fn by(shortage: Shortage) -> Self {
        Self {
            refusal: Refusal::Unavailable(shortage),
            tried: None,
        }
    }
}

impl From<DialError> for Failure {
    fn from(error: DialError) -> Self {
        Self {
            refusal: error.refusal(),
            blame: error.blame(),
            answered: false,
        }
    }
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
            answered: answered || answered_before,
        }
    }
}

fn malformed(fault: Malformed) -> Refusal {
    BackendFault::Head(fault).into()
}
