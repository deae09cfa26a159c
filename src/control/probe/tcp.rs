//! The `tcp` check: somebody accepts.

use std::net::IpAddr;

use crate::logic::endpoint::Endpoint;
use crate::runtime::socket::Socket;

use super::ProbeError;

/// Connects, which is the whole check.
pub(super) async fn connect(
    address: &Endpoint,
    source: Option<IpAddr>,
) -> Result<Socket, ProbeError> {
    Socket::connect(address, source, None)
        .await
        .map_err(|source| ProbeError::Connect { source })
}
