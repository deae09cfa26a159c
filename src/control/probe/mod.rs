//! Active checks: does a server answer as it should, within its time?
//! Each runs on a connection of its own, reads within a bound, and parts politely.

mod answer;
mod error;
mod http;
mod tcp;
mod tls;
mod websocket;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use crate::config::model::ProbeKind;
use crate::logic::endpoint::Endpoint;
use crate::logic::proxy_header::Version;
use crate::state::backend_tls::ServerTls;

pub use error::ProbeError;

/// A connection to a server, plain or over TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What one server is asked.
#[derive(Clone, Debug)]
pub struct Probe {
    /// How.
    pub kind: ProbeKind,
    /// Where.
    pub address: Endpoint,
    /// The address of ours that it is asked from; none leaves it to the kernel.
    pub source: Option<IpAddr>,
    /// The PROXY header that it expects, of a connection of our own.
    pub proxy_protocol: Option<Version>,
    /// TLS with it, where that is spoken.
    pub tls: Option<Arc<ServerTls>>,
    /// The `Host` of the question.
    pub host: Arc<str>,
    /// The path of the question.
    pub path: Arc<str>,
    /// How long the answer may take, from connecting on.
    pub timeout: Duration,
}

impl Probe {
    /// Asks once.
    ///
    /// # Errors
    /// Why the server is not fit to serve.
    pub async fn run(&self) -> Result<(), ProbeError> {
        let deadline = Instant::now() + self.timeout;
        let mut stream =
            timeout_at(deadline, self.ask())
                .await
                .map_err(|_| ProbeError::TimedOut {
                    timeout: self.timeout,
                })??;
        // The verdict stands; a polite end may take what is left of the time.
        let _ = timeout_at(deadline, self.part(&mut stream)).await;
        Ok(())
    }

    async fn ask(&self) -> Result<Box<dyn Stream>, ProbeError> {
        let mut stream = self.connect().await?;
        match self.kind {
            ProbeKind::Tcp => {}
            ProbeKind::Http => http::ask(&mut stream, &self.host, &self.path).await?,
            ProbeKind::WebSocket => websocket::ask(&mut stream, &self.host, &self.path).await?,
        }
        Ok(stream)
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, ProbeError> {
        let mut socket = tcp::connect(&self.address, self.source).await?;
        if let Some(version) = self.proxy_protocol {
            let header = version.header(None);
            let sent = socket.write_all(&header).await;
            sent.map_err(|source| ProbeError::Broken { source })?;
        }
        match &self.tls {
            None => Ok(Box::new(socket)),
            Some(tls) => Ok(Box::new(tls::connect(socket, tls).await?)),
        }
    }

    async fn part(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        match self.kind {
            ProbeKind::Tcp => {}
            ProbeKind::Http => read_to_end(stream).await,
            ProbeKind::WebSocket => websocket::part(stream).await,
        }
    }
}

/// Reads to the end of the stream within a bound, so that closing does not reset it.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    const MOST_BYTES: u64 = 64 * 1024;
    // Nobody hears of an error here: the verdict is in.
    let _ = tokio::io::copy(&mut stream.take(MOST_BYTES), &mut tokio::io::sink()).await;
}

#[cfg(test)]
mod tests;
