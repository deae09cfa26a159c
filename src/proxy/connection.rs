//! The life of a client connection: accept, TLS, then one request after the other until one of
//! them becomes a tunnel or the connection ends.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::debug;

use crate::logic::answer::Answer;
use crate::logic::endpoint::Ends;
use crate::logic::refusal::Refusal;
use crate::logic::request::{Client, Proof, RequestHead, Scheme};
use crate::runtime::socket::Socket;
use crate::runtime::workers::{Connection, ConnectionGuard};
use crate::state::Shared;
use crate::state::snapshot::Listener;
use crate::telemetry::trace::Tracer;

use super::access_log::RequestLog;
use super::client_tls::accept_tls;
use super::exchange::{Next, exchange};
use super::pool::Pool;
use super::read_buffer::{HeadError, ReadBuffer};
use super::stream::Stream;

/// How long a silent connection may still ask for something when the process stops, and hear 503.
const LAST_REQUEST: Duration = Duration::from_secs(2);
/// How long a client may go on sending after the proxy's last answer on its connection.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that is read away so that the answer is not destroyed by a reset.
const LINGER_BYTES: u64 = 256 * 1024;
/// How long a client may take to take an answer of the proxy's own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection of a worker sees.
#[derive(Debug)]
pub struct Context {
    /// The state of the process.
    pub shared: Arc<Shared>,
    /// The worker's index.
    pub worker: usize,
    /// The worker's idle connections to servers.
    pub pool: Arc<Pool>,
    /// Where spans go, if any do.
    pub tracer: Option<Tracer>,
}

/// Serves a client connection to its end, or to the moment it becomes a relay's. Its listener is
/// looked up at once: a reload that takes the listener away waits for that.
pub fn serve(context: Arc<Context>, connection: Connection) -> impl Future<Output = ()> + Send {
    let snapshot = context.shared.snapshot();
    let listener = snapshot.listeners.get(&connection.listener).cloned();
    async move {
        // None only where a worker hung for longer than a reload waits.
        if let Some(listener) = listener {
            serve_at(listener, context, connection).await;
        }
    }
}

async fn serve_at(listener: Arc<Listener>, context: Arc<Context>, connection: Connection) {
    let Connection {
        socket,
        ends,
        guard,
        ..
    } = connection;
    let read_buffer = match &listener.tls {
        // TLS reads for itself.
        Some(_) => ReadBuffer::default(),
        None => ReadBuffer::opened_with(&socket),
    };
    let stream = match Socket::adopt(socket, listener.settings.receive_buffer_bytes) {
        Ok(stream) => stream,
        Err(error) => {
            debug!(peer = %ends.peer, %error, "connection lost at accept");
            return;
        }
    };
    let client = ClientConnection {
        stream,
        read_buffer,
        guard,
        listener,
        ends,
        proof: Proof::NotAsked,
    };
    client.begin(context).await;
}

/// What came of waiting for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Bytes,
    Ended,
    TimedOut,
}

/// A client connection between requests; before TLS, where that is spoken, over its bare socket.
#[derive(Debug)]
pub struct ClientConnection<S = Stream> {
    /// Its bytes.
    pub stream: S,
    /// What it sent and nobody read yet.
    pub read_buffer: ReadBuffer,
    /// Counts it.
    pub guard: ConnectionGuard,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Its ends.
    pub ends: Ends,
    /// What the client proved by certificate.
    pub proof: Proof,
}

impl<S> ClientConnection<S> {
    /// The same connection over another stream, and the stream it had.
    pub fn replace<T>(self, stream: T) -> (ClientConnection<T>, S) {
        let client = ClientConnection {
            stream,
            read_buffer: self.read_buffer,
            guard: self.guard,
            listener: self.listener,
            ends: self.ends,
            proof: self.proof,
        };
        (client, self.stream)
    }

    /// Counts a connection that was refused, or a request that met no route.
    pub fn count_refused(&self, shared: &Shared, refusal: &Refusal) {
        let labels = [self.listener.settings.name.as_ref(), refusal.word()];
        shared
            .metrics
            .connections_refused
            .with_label_values(&labels)
            .inc();
    }
}

impl ClientConnection<Socket> {
    /// What comes before the first request: a PROXY header, TLS.
    async fn begin(mut self, context: Arc<Context>) {
        let accepted = Instant::now();
        let settings = &self.listener.settings;
        let wait = match &settings.tls {
            Some(tls) => tls.handshake_timeout,
            None => settings.header_timeout,
        };
        let deadline = accepted + wait;
        match self.read_proxy_header(deadline).await {
            Ok(()) => {}
            Err(Some(refusal)) => {
                return Box::pin(self.turn_away(&context, accepted, &refusal)).await;
            }
            Err(None) => return,
        }
        if let Some(client) = accept_tls(&context.shared, self, deadline).await {
            client.serve(context, accepted).await;
        }
    }

    /// Refuses a connection that is not what it should be.
    async fn turn_away(self, context: &Context, accepted: Instant, refusal: &Refusal) {
        if self.listener.tls.is_some() {
            // Who is about to speak TLS would take an answer in the clear for an attack.
            debug!(peer = %self.ends.peer, refusal = refusal.word(), "connection refused");
            return self.count_refused(&context.shared, refusal);
        }
        let (client, socket) = self.replace(());
        let (client, ()) = client.replace(Stream::Plain(socket));
        client.refuse(context, accepted, refusal).await;
    }
}

impl ClientConnection {
    /// Serves request after request. The time of the first one's head runs from accept, or the end
    /// of TLS; a later one's from its first byte.
    async fn serve(mut self, context: Arc<Context>, accepted: Instant) {
        let began = match self.stream.is_tls() {
            true => Instant::now(),
            false => accepted,
        };
        let mut first = Some(began);
        let mut until = began + self.listener.settings.header_timeout;
        loop {
            match (self.wait_for_request(&context.shared, until).await, first) {
                (Waited::Bytes, _) => {}
                (Waited::TimedOut, Some(began)) => {
                    let refusing = self.refuse(&context, began, &Refusal::HeadTimeout);
                    return Box::pin(refusing).await;
                }
                (Waited::TimedOut | Waited::Ended, _) => return Box::pin(self.linger()).await,
            }
            let from = first.take().unwrap_or_else(Instant::now);
            let deadline = from + self.listener.settings.header_timeout;
            let head = match self.head(deadline).await {
                Ok(head) => head,
                Err(Some(refusal)) => {
                    return Box::pin(self.refuse(&context, from, &refusal)).await;
                }
                Err(None) => return,
            };
            match exchange(&context, self, head).await {
                Next::Again(client) => self = client,
                Next::End(client) => return Box::pin(client.linger()).await,
                Next::Gone => return,
            }
            until = Instant::now() + self.listener.settings.keepalive_timeout;
        }
    }

    /// The next request's head, or what to answer in its place; nothing when the client left.
    async fn head(&mut self, deadline: Instant) -> Result<RequestHead, Option<Refusal>> {
        let settings = &self.listener.settings;
        let head = self
            .read_buffer
            .head(&mut self.stream, b"", settings.max_header_bytes, deadline)
            .await;
        match head {
            Ok(head) => RequestHead::parse(head, settings.max_headers)
                .map_err(|malformed| Some(malformed.into())),
            Err(HeadError::Malformed(malformed)) => Err(Some(malformed.into())),
            Err(HeadError::TimedOut { .. }) => Err(Some(Refusal::HeadTimeout)),
            Err(HeadError::Closed | HeadError::Cut | HeadError::Failed(_)) => Err(None),
        }
    }

    /// Waits for the first byte of a request; not for long while the process stops.
    async fn wait_for_request(&mut self, shared: &Shared, until: Instant) -> Waited {
        if !self.read_buffer.is_empty() {
            return Waited::Bytes;
        }
        let first = self.read_buffer.first_byte(&mut self.stream);
        let stopping = async {
            shared.drained().await;
            sleep(LAST_REQUEST).await;
        };
        tokio::select! {
            biased;
            comes = timeout_at(until, first) => match comes {
                Ok(true) => Waited::Bytes,
                Ok(false) => Waited::Ended,
                Err(_) => Waited::TimedOut,
            },
            () = stopping => Waited::Ended,
        }
    }

    /// Sends an answer of the proxy's own. False when the client did not take it.
    pub async fn answer(&mut self, answer: &Answer) -> bool {
        let mut bytes = Vec::with_capacity(256);
        answer.write_to(&mut bytes);
        self.send(&bytes).await
    }

    /// Sends bytes. False when the client did not take them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let mut write = pin!(async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        // Mostly it is taken at once, and needs no timer.
        let sent = match write.as_mut().now_or_never() {
            Some(sent) => Ok(sent),
            None => timeout(ANSWER_TIMEOUT, write).await,
        };
        matches!(sent, Ok(Ok(())))
    }

    /// How it was reached.
    pub const fn scheme(&self) -> Scheme {
        match self.stream.is_tls() {
            true => Scheme::Https,
            false => Scheme::Http,
        }
    }

    /// The port it came in on; of a unix socket, the one its scheme has by default.
    pub const fn port(&self) -> u16 {
        match self.ends.local.port() {
            0 => self.scheme().default_port(),
            port => port,
        }
    }

    /// Whom a server is told that the connection to it is for.
    pub fn on_behalf_of(&self, caller: &Client) -> Ends {
        let Ends { peer, local } = self.ends;
        // Of a client behind further proxies only the address is known.
        let port = match peer.ip().to_canonical() == caller.address {
            true => peer.port(),
            false => 0,
        };
        Ends {
            peer: SocketAddr::new(caller.address, port),
            local,
        }
    }

    /// What came behind the last head.
    pub fn early(&mut self) -> Bytes {
        self.read_buffer.take()
    }

    /// Refuses what was waited for since `from`, and ends.
    async fn refuse(mut self, context: &Context, from: Instant, refusal: &Refusal) {
        self.count_refused(&context.shared, refusal);
        RequestLog::begin(&context.shared.access, &self, from.into_std()).refused(refusal);
        debug!(peer = %self.ends.peer, refusal = refusal.word(), "request refused");
        if self.answer(&refusal.answer().closing()).await {
            self.linger().await;
        }
    }

    /// Ends the connection so that what was sent arrives: a close with unread bytes would reset it.
    async fn linger(mut self) {
        let drain = async {
            self.stream.shutdown().await?;
            tokio::io::copy(
                &mut (&mut self.stream).take(LINGER_BYTES),
                &mut tokio::io::sink(),
            )
            .await
        };
        // Whatever happens here, the connection is over.
        let _: Result<io::Result<u64>, _> = timeout(LINGER, drain).await;
    }
}
