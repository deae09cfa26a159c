//! Opening a connection to a server: everything between the pick and the first byte of a request.

use std::io;

use rustix::io::Errno;
use tokio::time::timeout;
use tracing::warn;

use crate::config::model;
use crate::logic::refusal::{BackendFault, BackendTimeout, Refusal, Shortage};
use crate::runtime::socket::connect;
use crate::state::server::Server;

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
    /// Not within `connect_timeout`.
    #[error("connect timed out")]
    TimedOut,
}

impl DialError {
    /// Whether it is this machine's fault, so that no other server could help.
    pub const fn is_ours(&self) -> bool {
        matches!(self, Self::OutOfSockets(_))
    }

    /// What the client is told when no other server is left.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::OutOfSockets(_) => Refusal::Unavailable(Shortage::Overloaded),
            Self::Unreachable(_) => BackendFault::Unreachable.into(),
            Self::TimedOut => Refusal::Timeout(BackendTimeout::Connect),
        }
    }
}

/// Connects to the server within the upstream's `connect_timeout`.
///
/// # Errors
/// [`DialError`], by whose fault it is.
pub async fn dial(server: &Server, settings: &model::Upstream) -> Result<Stream, DialError> {
    let connecting = connect(server.key.address, settings.receive_buffer_bytes);
    match timeout(settings.connect_timeout, connecting).await {
        Ok(Ok(stream)) => Ok(Stream::Tcp(stream)),
        Ok(Err(error)) if is_our_shortage(&error) => {
            warn!(?server, %error, "no socket to connect with");
            Err(DialError::OutOfSockets(error))
        }
        Ok(Err(error)) => Err(DialError::Unreachable(error)),
        Err(_) => Err(DialError::TimedOut),
    }
}

/// Whether a connect failed for want of descriptors, ports or memory of ours.
fn is_our_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    let ours = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOBUFS,
        Errno::NOMEM,
        Errno::ADDRNOTAVAIL,
    ];
    errno.is_some_and(|errno| ours.contains(&errno))
}
