//! Reaching a server: pick or wait for one, make the attempt, and try another for as long as no
//! byte of an answer has come. The same for every kind of request.

use std::sync::Arc;

use tokio::time::{sleep, timeout_at};
use tracing::{debug, warn};

use crate::logic::balance::Unavailable;
use crate::logic::refusal::{Refusal, Shortage};
use crate::logic::request::ClientKey;
use crate::state::Shared;
use crate::state::server::{Phase, Server, Ticket};
use crate::state::upstream::{Pick, PickRequest, Upstream};

use super::dial::DialError;

/// Largest head of a backend's answer.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most fields in it.
pub const MAX_FIELDS: usize = 200;
/// Interim answers (1xx) before the one that counts.
pub const MAX_INTERIM: usize = 32;

/// One way of asking a server.
pub trait Attempt {
    /// What a server that answered is left in.
    type Answer;

    /// Asks the server that was picked.
    fn on(&mut self, pick: &mut Pick)
    -> impl Future<Output = Result<Self::Answer, Failure>> + Send;
}

/// A server that answered, and how.
#[derive(Debug)]
pub struct Reached<A> {
    /// The connection's place on the server.
    pub ticket: Ticket,
    /// What it answered.
    pub answer: A,
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
pub struct Failure {
    /// What the client is told when no other server is tried.
    pub refusal: Refusal,
    /// The step that failed; none where the server is not to blame.
    pub blame: Option<Phase>,
    /// Whether another server may be asked.
    pub again: bool,
}

/// Makes the attempt on a server of the upstream. A server that fails before it answered is
/// replaced by another, `retries` times.
///
/// # Errors
/// The failure of the last attempt when all failed, 503 when there was no server.
pub async fn reach<A: Attempt + Send>(
    shared: &Shared,
    upstream: &Upstream,
    client: &ClientKey,
    attempt: &mut A,
) -> Result<Reached<A::Answer>, Unreached> {
    let mut request = PickRequest {
        client: *client,
        tried: Vec::new(),
        turn: None,
    };
    let mut outcome = Unreached::by(Shortage::NoServer);
    for retries in 0..=upstream.settings.retries {
        let mut pick = match find(shared, upstream, &mut request).await {
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
        let tried = attempt.on(&mut pick).await;
        let server = pick.ticket.server();
        match tried {
            Ok(answer) => {
                return Ok(Reached {
                    ticket: pick.ticket,
                    answer,
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
                if !failure.again {
                    break;
                }
                request.tried.push(server.id);
            }
        }
    }
    Err(outcome)
}

/// The next server for this request: at once where there is one, else in its turn.
async fn find(
    shared: &Shared,
    upstream: &Upstream,
    request: &mut PickRequest,
) -> Result<Pick, Shortage> {
    let now = std::time::Instant::now();
    match upstream.pick(request, now) {
        Ok(pick) => return Ok(pick),
        Err(Unavailable::Down) => return Err(Shortage::NoServer),
        Err(Unavailable::Full) => {}
    }
    let waiting = upstream.wait(request, now).ok_or(Shortage::QueueFull)?;
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
        let dispatcher = Arc::clone(upstream.dispatcher());
        tokio::spawn(async move {
            sleep(out).await;
            dispatcher.serve(std::time::Instant::now());
        });
        warn!(
            ?server,
            seconds = out.as_secs_f64(),
            "server ejected after failures in a row"
        );
    }
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
        let blame = error.blame();
        Self {
            refusal: error.refusal(),
            blame,
            // Another server would meet our own shortage too.
            again: blame.is_some(),
        }
    }
}
