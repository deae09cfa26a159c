//! Opening a connection to a server: everything between the pick and the first byte of a request.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

use crate::config::model;
use crate::logic::endpoint::Ends;
use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal, Shortage};
use crate::runtime::socket::{Socket, is_our_shortage};
use crate::state::backend_tls::ServerTls;
use crate::state::server::{Phase, Server};
use crate::state::upstream::Pick;
use crate::tls::{InWords, TlsStream};

use super::stream::Stream;

/// Why there is no connection to a server.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// This machine has no descriptor, port or memory for it.
    #[error("no socket to connect with")]
    OutOfSockets(#[source] io::Error),
    /// The server refused, or is not there.
    #[error("connect failed")]
    Unreachable(#[source] io::Error),
    /// The server speaks no TLS, is not who it should be, or does not like who we are.
    #[error("TLS handshake failed")]
    Insecure(#[source] io::Error),
    /// Not within `connect_timeout`.
    #[error("connect timed out")]
    TimedOut(Phase),
}

impl DialError {
    /// The step at which the server failed; none where this machine did, so that no other server
    /// could help.
    pub const fn blame(&self) -> Option<Phase> {
        match self {
            Self::OutOfSockets(_) => None,
            Self::Unreachable(_) => Some(Phase::Connect),
            Self::Insecure(_) => Some(Phase::Tls),
            Self::TimedOut(phase) => Some(*phase),
        }
    }

    /// What the client is told when no other server is left.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::OutOfSockets(_) => Refusal::Unavailable(Shortage::Overloaded),
            Self::Unreachable(_) => BackendFault::Unreachable.into(),
            Self::Insecure(_) => BackendFault::Insecure.into(),
            Self::TimedOut(_) => Refusal::Timeout(BackendTimeout::Connect),
        }
    }
}

/// Connects to the server that was picked within the upstream's `connect_timeout`, TLS included,
/// and tells it first whom the connection is for, where it wants to know.
///
/// # Errors
/// [`DialError`], by whose fault it is.
pub async fn dial(
    pick: &Pick,
    settings: &model::Upstream,
    ends: Ends,
) -> Result<Stream, DialError> {
    let server = pick.ticket.server();
    let deadline = Instant::now() + settings.connect_timeout;
    let connecting = async {
        let mut socket = connect(server, settings).await?;
        if let Some(version) = settings.proxy_protocol {
            socket.write_all(&version.header(Some(ends))).await?;
        }
        Ok(socket)
    };
    let socket = match timeout_at(deadline, connecting).await {
        Ok(Ok(socket)) => socket,
        Ok(Err(error)) if is_our_shortage(&error) => {
            warn!(?server, %error, "no socket to connect with");
            return Err(DialError::OutOfSockets(error));
        }
        Ok(Err(error)) => return Err(DialError::Unreachable(error)),
        Err(_) => return Err(DialError::TimedOut(Phase::Connect)),
    };
    match &pick.tls {
        None => Ok(Stream::Plain(socket)),
        Some(tls) => connect_tls(server, tls, socket, deadline).await,
    }
}

/// Connects from the next of our addresses; where that one is not ours or has no port left, from
/// the one after it.
async fn connect(server: &Server, settings: &model::Upstream) -> io::Result<Socket> {
    let to = &server.key.address;
    let from = |source| Socket::connect(to, source, settings.receive_buffer_bytes);
    let among = settings.source.as_slice();
    if among.is_empty() {
        return from(None).await;
    }
    let turn = server.next_source_turn();
    let source = to.source(among, turn);
    match (from(source).await, source) {
        (Err(error), Some(source)) if error.kind() == ErrorKind::AddrNotAvailable => {
            warn!(?server, %source, %error, "no connection from this address");
            let other = to.source(among, turn.wrapping_add(1));
            match other.filter(|other| *other != source) {
                None => Err(error),
                other => from(other).await,
            }
        }
        (outcome, _) => outcome,
    }
}

/// Speaks TLS with the server; what it says of itself is verified.
async fn connect_tls(
    server: &Server,
    tls: &ServerTls,
    socket: Socket,
    deadline: Instant,
) -> Result<Stream, DialError> {
    let handshake = TlsStream::connect(Arc::clone(&tls.config), tls.name.clone(), socket);
    // The handshake's state is large and short-lived: it must not widen the connection's task.
    let Ok(outcome) = timeout_at(deadline, Box::pin(handshake)).await else {
        return Err(DialError::TimedOut(Phase::Tls));
    };
    // The operator hears of a server that can't be trusted once, not with every client.
    let is_news = tls.went(outcome.is_ok());
    match outcome {
        Ok(stream) => {
            if is_news {
                info!(?server, "TLS with the server works again");
            }
            Ok(Stream::Tls(Box::new(stream)))
        }
        Err(error) => {
            if is_news {
                warn!(?server, error = %InWords(&error), "no TLS with the server");
            }
            Err(DialError::Insecure(error))
        }
    }
}
