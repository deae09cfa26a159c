//! TLS under a check: a server that clients could not be sent to is not well.

use std::sync::Arc;

use super::ProbeError;
use crate::runtime::socket::Socket;
use crate::state::backend_tls::ServerTls;
use crate::tls::TlsStream;

/// Shakes hands and verifies as for a client.
pub(super) async fn connect(
    socket: Socket,
    tls: &ServerTls,
) -> Result<TlsStream<Socket>, ProbeError> {
    TlsStream::connect(Arc::clone(&tls.config), tls.name.clone(), socket)
        .await
        .map_err(|source| ProbeError::Insecure { source })
}
