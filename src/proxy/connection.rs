//! The life of a client connection: accept, TLS, then one request after the other until one of
//! them becomes a tunnel or the connection ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use crate::logic::answer::Answer;
use crate::logic::endpoint::Ends;
use crate::logic::refusal::Refusal;
use crate::logic::request::RequestHead;
use crate::runtime::socket::Socket;
use crate::runtime::workers::{Connection, Presence};
use crate::state::Shared;
use crate::state::snapshot::Listener;

use super::exchange::{Next, exchange};
use super::inbox::{Inbox, NoHead};
use super::pool::Pool;
use super::secure::secure;
use super::stream::Stream;
use super::visit::Visit;

/// How long a silent connection may still ask for something when the process stops, and hear 503.
const LAST_REQUEST: Duration = Duration::from_secs(2);
/// How long a client may go on sending after the proxy's last answer on its connection.
const LINGER: Duration = Duration::from_secs(2);
/// How much of that is read away so that the answer is not destroyed by a reset.
const LINGER_BYTES: u64 = 256 * 1024;
/// How long a client may take to take an answer of the proxy's own.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What every connection of a worker sees.
#[derive(Clone, Debug)]
pub struct Context {
    /// The state of the process.
    pub shared: Arc<Shared>,
    /// The worker's index.
    pub worker: usize,
    /// The worker's idle connections to servers.
    pub pool: Arc<Pool>,
}

/// Serves a client connection to its end, or to the moment it becomes a relay's.
pub async fn serve(context: Context, connection: Connection) {
    let Connection {
        socket,
        ends,
        listener,
        presence,
    } = connection;
    let Some(listener) = context.shared.snapshot().listeners.get(&listener).cloned() else {
        // Accepted in the instant in which a reload took its listener away.
        return;
    };
    let peer = ends.peer;
    let socket = match Socket::adopt(socket, listener.settings.receive_buffer_bytes) {
        Ok(socket) => socket,
        Err(error) => {
            debug!(%peer, %error, "connection lost at accept");
            return;
        }
    };
    let Some(stream) = secure(&context.shared, &listener, socket, peer).await else {
        return;
    };
    let client = ClientConnection {
        stream,
        inbox: Inbox::default(),
        presence,
        listener,
        ends,
    };
    client.serve(context).await;
}

/// What came of waiting for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Bytes,
    Ended,
    TimedOut,
}

/// A client connection between requests.
#[derive(Debug)]
pub struct ClientConnection {
    /// Its bytes.
    pub stream: Stream,
    /// What it sent and nobody read yet.
    pub inbox: Inbox,
    /// Counts it.
    pub presence: Presence,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// Its ends.
    pub ends: Ends,
}

impl ClientConnection {
    async fn serve(mut self, context: Context) {
        let mut wait = self.listener.settings.header_timeout;
        let mut first = true;
        loop {
            let began = Instant::now();
            match self.wait_for_request(&context.shared, wait).await {
                Waited::Bytes => {}
                Waited::Ended => return self.linger().await,
                Waited::TimedOut if first => {
                    return self.refuse(&context, began, &Refusal::HeadTimeout).await;
                }
                Waited::TimedOut => return self.linger().await,
            }
            // The first head's time runs from accept, a later one's from its first byte.
            let from = if first { began } else { Instant::now() };
            first = false;
            let deadline = from + self.listener.settings.header_timeout;
            let head = match self.head(deadline).await {
                Ok(head) => head,
                Err(Some(refusal)) => return self.refuse(&context, from, &refusal).await,
                Err(None) => return,
            };
            match exchange(&context, self, head).await {
                Next::Again(client) => self = client,
                Next::End(client) => return client.linger().await,
                Next::Gone => return,
            }
            wait = self.listener.settings.keepalive_timeout;
        }
    }

    /// The next request's head, or what to answer in its place; nothing when the client left.
    async fn head(&mut self, deadline: Instant) -> Result<RequestHead, Option<Refusal>> {
        let settings = &self.listener.settings;
        let head = self
            .inbox
            .head(&mut self.stream, b"", settings.max_header_bytes, deadline)
            .await;
        match head {
            Ok(head) => RequestHead::parse(head, settings.max_headers)
                .map_err(|malformed| Some(malformed.into())),
            Err(NoHead::Malformed(malformed)) => Err(Some(malformed.into())),
            Err(NoHead::TimedOut { .. }) => Err(Some(Refusal::HeadTimeout)),
            Err(NoHead::Closed | NoHead::Cut | NoHead::Failed(_)) => Err(None),
        }
    }

    /// Waits for the first byte of a request; not for long while the process stops.
    async fn wait_for_request(&mut self, shared: &Shared, wait: Duration) -> Waited {
        let first = self.inbox.first_byte(&mut self.stream);
        let stopping = async {
            shared.drained().await;
            sleep(LAST_REQUEST).await;
        };
        tokio::select! {
            biased;
            comes = timeout(wait, first) => match comes {
                Ok(true) => Waited::Bytes,
                Ok(false) => Waited::Ended,
                Err(_) => Waited::TimedOut,
            },
            () = stopping => Waited::Ended,
        }
    }

    /// Counts a request that met no route.
    pub fn count_refused(&self, shared: &Shared, refusal: &Refusal) {
        let labels = [self.listener.settings.name.as_ref(), refusal.word()];
        shared
            .metrics
            .connections_refused
            .with_label_values(&labels)
            .inc();
    }

    /// Sends an answer of the proxy's own. False when the client did not take it.
    pub async fn answer(&mut self, answer: &Answer) -> bool {
        let mut bytes = Vec::with_capacity(256);
        answer.write_to(&mut bytes);
        self.send(&bytes).await
    }

    /// Sends bytes. False when the client did not take them.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let write = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        matches!(timeout(ANSWER_TIMEOUT, write).await, Ok(Ok(())))
    }

    /// The port it came in on; of a unix socket, the one its scheme has by default.
    pub fn port(&self) -> u16 {
        match (self.ends.local.port(), self.stream.is_tls()) {
            (0, true) => 443,
            (0, false) => 80,
            (port, _) => port,
        }
    }

    /// What came behind the last head.
    pub fn early(&mut self) -> Bytes {
        self.inbox.take()
    }

    /// Refuses what was waited for since `from`, and ends.
    async fn refuse(mut self, context: &Context, from: Instant, refusal: &Refusal) {
        self.count_refused(&context.shared, refusal);
        Visit::begin(&context.shared.access, &self, from.into_std()).refused(refusal);
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
