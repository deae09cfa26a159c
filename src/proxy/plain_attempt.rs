//! One attempt of a plain request: over a kept connection or a new one, up to the response's head.

use std::pin::pin;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::{Request, Response};
use tokio::io::AsyncWrite;
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::yield_now;

use crate::logic::endpoint::Ends;
use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal};
use crate::logic::request::to_client::write_response;
use crate::logic::request::{Framing, Malformed, Outbound, ResponseHead};
use crate::state::server::Phase;
use crate::state::upstream::{Pick, Upstream};

use super::attempt::{Attempt, Failure, MAX_INTERIM};
use super::hyper_types;
use super::pool::Pool;
use super::request_body::RequestBody;
use super::response_writer::ResponseWriter;
use super::server_connection::ServerConnection;
use super::upload::UploadProgress;

/// What a client hears that waits to be asked for its body.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A plain request for a server.
#[derive(Debug)]
pub struct PlainAttempt<'a, W> {
    /// Where kept connections are.
    pub pool: &'a Pool,
    /// What the upstream says of connecting.
    pub upstream: &'a Upstream,
    /// The request's head.
    pub outbound: Outbound<'a>,
    /// Whom it is for.
    pub ends: Ends,
    /// Its body, until a server has begun to take it.
    pub body: Option<RequestBody>,
    /// How far the client is with it.
    pub progress: &'a UploadProgress,
    /// Request sent to response head.
    pub response_timeout: Duration,
    /// Where interim answers go.
    pub client: &'a mut ResponseWriter<W>,
    /// Whether the client waits for a 100.
    pub expects: bool,
}

/// The head of a server's response, and where its body comes from.
#[derive(Debug)]
pub struct PlainResponse {
    /// The head.
    pub head: ResponseHead,
    /// How its body was delimited.
    pub framing: Framing,
    /// The body.
    pub body: Incoming,
    /// The connection.
    pub connection: ServerConnection,
}

impl<W: AsyncWrite + Send + Unpin> Attempt for PlainAttempt<'_, W> {
    type Answer = PlainResponse;

    async fn on(&mut self, pick: &mut Pick) -> Result<PlainResponse, Failure> {
        let settings = &self.upstream.settings;
        if !self.is_repeatable() {
            // A kept connection that the server has just closed shows it now, before it is too late.
            yield_now().await;
        }
        if let Some(connection) = self.pool.take(pick.ticket.server(), settings).await {
            pick.handshake = None;
            match self.over(connection).await {
                Err(failure) if failure.closed && failure.again => {}
                outcome => return outcome.map_err(ConnectionFailure::of_kept),
            }
        }
        let connection = ServerConnection::open(pick, settings, self.ends).await?;
        // From here on it is a request in flight, which may take its time.
        pick.handshake = None;
        self.over(connection)
            .await
            .map_err(ConnectionFailure::of_new)
    }
}

/// How a connection failed a request.
struct ConnectionFailure {
    refusal: Refusal,
    /// Whether the request may be sent again.
    again: bool,
    /// Whether the connection ended before a byte of an answer came.
    closed: bool,
}

impl<W: AsyncWrite + Send + Unpin> PlainAttempt<'_, W> {
    async fn over(
        &mut self,
        mut connection: ServerConnection,
    ) -> Result<PlainResponse, ConnectionFailure> {
        let body = self.body.take().unwrap_or_default();
        let has_body = !body.is_end_stream();
        let request = hyper_types::request(&self.outbound, body);
        let mut request = request.map_err(|odd| ConnectionFailure::for_good(odd.into()))?;
        let interims = hyper_types::interims(&mut request, MAX_INTERIM + 1);
        if std::mem::take(&mut self.expects) {
            self.client.interim(CONTINUE).await;
        }
        let outcome = {
            let sending = pin!(connection.send(request));
            self.await_answer(sending, interims).await?
        };
        let mut error = match outcome {
            Some(Ok(response)) => return plain_response(response, connection, &self.outbound),
            Some(Err(error)) => error,
            None => {
                return Err(ConnectionFailure {
                    refusal: Refusal::Timeout(BackendTimeout::Response),
                    again: self.may_repeat(has_body) && !connection.has_heard(),
                    closed: false,
                });
            }
        };
        let fault = if error.error().is_parse() {
            BackendFault::Head(Malformed::StartLine)
        } else {
            BackendFault::Closed
        };
        let untouched = error.take_message();
        let unsent = untouched.is_some() || (!connection.has_sent() && !has_body);
        self.body = untouched.map(Request::into_body);
        let closed = !connection.has_heard();
        Err(ConnectionFailure {
            refusal: fault.into(),
            again: closed && (unsent || self.may_repeat(has_body)),
            closed,
        })
    }

    /// The answer, or the end of `response_timeout`; interim ones pass meanwhile.
    async fn await_answer<T>(
        &mut self,
        mut sending: impl Future<Output = T> + Unpin,
        mut interims: mpsc::Receiver<ResponseHead>,
    ) -> Result<Option<T>, ConnectionFailure> {
        let mut overdue = pin!(self.progress.overdue(self.response_timeout));
        let mut count = 0;
        loop {
            select! {
                biased;
                Some(head) = interims.recv() => {
                    count += 1;
                    if count > MAX_INTERIM {
                        return Err(ConnectionFailure::for_good(BackendFault::InterimFlood.into()));
                    }
                    self.pass_interim(&head).await;
                }
                answer = &mut sending => return Ok(Some(answer)),
                () = &mut overdue => return Ok(None),
            }
        }
    }

    /// RFC 9110 section 15.2: an interim answer goes on, but for a 100, which is between us and the
    /// server, and to HTTP/1.0, which knows none.
    async fn pass_interim(&mut self, head: &ResponseHead) {
        if head.status() != 100 && self.outbound.request.head().minor() == 1 {
            let mut bytes = Vec::new();
            write_response(head, Framing::None, false, &mut bytes);
            self.client.interim(&bytes).await;
        }
    }

    /// CONTRACT section 2, `retries`: once sent, only GET and HEAD; their body would be gone.
    fn may_repeat(&self, has_body: bool) -> bool {
        !has_body && self.is_repeatable()
    }

    fn is_repeatable(&self) -> bool {
        matches!(self.outbound.request.method(), "GET" | "HEAD")
    }
}

impl ConnectionFailure {
    /// Nothing would be different elsewhere.
    const fn for_good(refusal: Refusal) -> Self {
        Self {
            refusal,
            again: false,
            closed: false,
        }
    }

    /// On a new connection.
    fn of_new(self) -> Failure {
        let is_of_the_request = matches!(self.refusal, Refusal::Malformed(_));
        Failure {
            refusal: self.refusal,
            blame: (!is_of_the_request).then_some(Phase::Handshake),
            again: self.again,
        }
    }

    /// On a kept connection. That it had ended while it was idle says nothing about the server.
    fn of_kept(self) -> Failure {
        let closed = self.closed;
        let failure = self.of_new();
        Failure {
            blame: failure.blame.filter(|_| !closed),
            ..failure
        }
    }
}

/// The answer, its head held to the same rules as one that we read ourselves.
fn plain_response(
    response: Response<Incoming>,
    connection: ServerConnection,
    outbound: &Outbound<'_>,
) -> Result<PlainResponse, ConnectionFailure> {
    let (parts, body) = response.into_parts();
    if parts.status == 101 {
        return Err(ConnectionFailure::for_good(BackendFault::Unasked.into()));
    }
    let head = hyper_types::answer(&parts);
    let framing = Framing::of_response(&head, outbound.request.method())
        .map_err(|fault| ConnectionFailure::for_good(BackendFault::Head(fault).into()))?;
    Ok(PlainResponse {
        head,
        framing,
        body,
        connection,
    })
}
