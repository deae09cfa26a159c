//! The `tcp` check: somebody accepts.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use super::ProbeError;

/// Connects, which is the whole check.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    TcpStream::connect(address)
        .await
        .map_err(|source| ProbeError::Connect { source })
}
