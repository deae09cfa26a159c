//! The PROXY header that a load balancer in front may send before anything else, TLS included.

use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::config::model::ProxyProtocolIn;
use crate::logic::proxy_header::{MAX_BYTES, Opening};
use crate::logic::refusal::Refusal;
use crate::logic::request::client::is_trusted;
use crate::runtime::socket::Socket;

use super::connection::ClientConnection;

impl ClientConnection<Socket> {
    /// Takes the ends of the connection from its PROXY header; those that it has stay where it may
    /// come without one and does. What follows the header waits in the read buffer.
    ///
    /// # Errors
    /// What to answer instead; nothing when the peer has left.
    pub async fn read_proxy_header(&mut self, deadline: Instant) -> Result<(), Option<Refusal>> {
        let settings = &self.listener.settings;
        let required = match settings.proxy_protocol {
            ProxyProtocolIn::Off => return Ok(()),
            ProxyProtocolIn::Accept => false,
            ProxyProtocolIn::Require => true,
        };
        let trusted = is_trusted(self.ends.peer.ip(), &settings.trusted_proxies);
        if required && !trusted {
            return Err(Some(Refusal::ProxyHeader));
        }
        let Ok(opening) = timeout_at(deadline, self.opening()).await else {
            return Err(Some(Refusal::HeadTimeout));
        };
        match opening? {
            Opening::Header { length, ends } if trusted => {
                self.read_buffer.split(length);
                self.ends = ends.unwrap_or(self.ends);
                Ok(())
            }
            Opening::Other if !required => Ok(()),
            _ => Err(Some(Refusal::ProxyHeader)),
        }
    }

    /// What the peer begins with.
    async fn opening(&mut self) -> Result<Opening, Option<Refusal>> {
        loop {
            match Opening::read(self.read_buffer.bytes()) {
                Ok(Opening::Unfinished) => {}
                Ok(opening) => return Ok(opening),
                Err(violation) => {
                    debug!(peer = %self.ends.peer, %violation, "PROXY header refused");
                    return Err(Some(Refusal::ProxyHeader));
                }
            }
            // A peer that is silent holds no buffer.
            let came = match self.stream.readable().await {
                Ok(()) => self.read_buffer.read(&mut self.stream, MAX_BYTES).await,
                Err(error) => Err(error),
            };
            if !matches!(came, Ok(1..)) {
                return Err(None);
            }
        }
    }
}
