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

use super::attempt::{Reached, Unreached, reach};
use super::connection::ClientConnection;
use super::exchange::{Next, refuse};
use super::plain_attempt::{PlainAttempt, PlainResponse};
use super::read_buffer::ReadBuffer;
use super::request_body::{RequestBody, body_channel};
use super::response_writer::ResponseWriter;
use super::routed_request::{CLIENT_LEFT, RoutedRequest};
use super::upload::{ClientError, Upload, UploadProgress, read_client};

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

impl RoutedRequest {
    /// Carries the request to a server and the answer back.
    pub async fn forward(mut self, mut client: ClientConnection) -> Next {
        let _place = match self.enter_with_body() {
            Ok(place) => place,
            Err(refusal) => return self.refuse(client, &refusal).await,
        };
        let early_bytes = client.listener.settings.max_header_bytes;
        let send_timeout = self.route.settings.http.send_timeout;
        let progress = UploadProgress::default();
        let (mut from, to) = split(&mut client.stream);
        let mut writer = ResponseWriter::new(to, send_timeout);
        let outcome = self
            .converse(
                &mut from,
                &mut client.read_buffer,
                &mut writer,
                &progress,
                early_bytes,
            )
            .await;
        let carried = [progress.payload_bytes(), writer.payload_bytes()];
        match outcome {
            Outcome::Answered { status, closes } => {
                self.count(status);
                self.log.carried(status, carried, None);
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
                self.log.carried(status, carried, Some(reason));
                if framing == Framing::UntilClose {
                    // An orderly end would pass for the body's.
                    client.stream.abort();
                }
                Next::Gone
            }
            Outcome::Refused(refusal) => self.refuse(client, &refusal).await,
            Outcome::Abandoned => {
                self.count(CLIENT_LEFT);
                self.log.abandoned();
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
        read_buffer: &mut ReadBuffer,
        writer: &mut ResponseWriter<W>,
        progress: &UploadProgress,
        early_bytes: usize,
    ) -> Outcome
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let (upload, body) = self.body(read_buffer, progress);
        // Whoever has begun to send does not wait any more.
        let expects = self.expects_continue() && upload.is_some() && read_buffer.is_empty();
        let mut reading = pin!(read_client(
            from,
            read_buffer,
            upload,
            progress,
            early_bytes
        ));
        let reached = {
            let path = self.route.settings.backend_path(self.request.path());
            let mut attempt = PlainAttempt {
                pool: &self.context.pool,
                upstream: &self.upstream,
                outbound: self.outbound(&path, None),
                ends: self.ends,
                body: Some(body),
                progress,
                response_timeout: self.route.settings.http.response_timeout,
                client: &mut *writer,
                expects,
            };
            let (shared, key) = (&self.context.shared, self.caller.key());
            select! {
                biased;
                reached = reach(shared, &self.upstream, &key, &mut attempt) => reached,
                error = &mut reading => return error.into(),
            }
        };
        let reached = match reached {
            Ok(reached) => reached,
            Err(Unreached { refusal, tried }) => {
                if let Some((server, retries)) = tried {
                    self.log.tried(&server, retries);
                }
                return Outcome::Refused(refusal);
            }
        };
        self.log.tried(reached.ticket.server(), reached.retries);
        reached.ticket.server().succeeded(Instant::now());
        let status = reached.answer.head.status();
        let framing = self.framing(reached.answer.framing);
        select! {
            biased;
            outcome = self.answer(reached, writer, framing, progress) => outcome,
            error = &mut reading => {
                let reason = error.word();
                Outcome::Cut { status, framing, reason }
            }
        }
    }

    /// Passes the answer on, and keeps the connection it came on.
    async fn answer<W: AsyncWrite + Unpin>(
        &self,
        reached: Reached<PlainResponse>,
        writer: &mut ResponseWriter<W>,
        framing: Framing,
        progress: &UploadProgress,
    ) -> Outcome {
        let PlainResponse {
            head,
            body,
            connection,
            ..
        } = reached.answer;
        let status = head.status();
        // Without the rest of its body nobody could tell where the next request begins.
        let closes = !self.request.keeps_alive()
            || framing == Framing::UntilClose
            || !progress.is_read()
            || self.context.shared.is_leaving();
        let body_timeout = self.route.settings.http.body_timeout;
        let sent = writer.response(&head, framing, closes, body, body_timeout);
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
            self.context.pool.put(server, settings, connection);
        }
        Outcome::Answered { status, closes }
    }

    /// The request's body, from both ends; from one where it is all here or there is none.
    fn body(
        &self,
        read_buffer: &mut ReadBuffer,
        progress: &UploadProgress,
    ) -> (Option<Upload>, RequestBody) {
        let framing = self.request.framing();
        let length = match framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::UntilClose => None,
        };
        if let Some((length, whole)) =
            length.and_then(|length| Some((length, read_buffer.split_whole(length)?)))
        {
            progress.went_on(length);
            progress.complete();
            return (None, RequestBody::Whole(whole));
        }
        let http = &self.route.settings.http;
        let (sender, body) = body_channel();
        let upload = Upload {
            sender,
            body: Body::decoded(framing),
            max_bytes: http.max_body_bytes,
            body_timeout: http.body_timeout,
            response_timeout: http.response_timeout,
        };
        (Some(upload), body)
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
        refuse(client, self.log, refusal, Some(&self.request)).await
    }
}

impl From<ClientError> for Outcome {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Gone => Self::Abandoned,
            ClientError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}
