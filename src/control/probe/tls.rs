//! TLS under a check: a server that clients could not be sent to is not well.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::ProbeError;
use crate::state::backend_tls::ServerTls;

/// Shakes hands and verifies as for a client.
pub(super) async fn connect(
    tcp: TcpStream,
    tls: &ServerTls,
) -> Result<TlsStream<TcpStream>, ProbeError> {
    TlsConnector::from(Arc::clone(&tls.config))
        .connect(tls.name.clone(), tcp)
        .await
        .map_err(|source| ProbeError::Insecure { source })
}
