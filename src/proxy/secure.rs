//! TLS with the client, where the listener has certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::runtime::socket::Socket;
use crate::state::Shared;
use crate::state::snapshot::Listener;

use super::stream::Stream;

/// The client's stream once it is safe to speak on; `None` when there is nobody to speak to.
pub async fn secure(
    shared: &Shared,
    listener: &Listener,
    socket: Socket,
    peer: SocketAddr,
) -> Option<Stream> {
    let (Some(config), Some(settings)) = (&listener.tls, &listener.settings.tls) else {
        return Some(Stream::Plain(socket));
    };
    let handshake = TlsAcceptor::from(Arc::clone(config)).accept(socket);
    // The handshake's state is large and short-lived: it must not widen the connection's task.
    let outcome = timeout(settings.handshake_timeout, Box::pin(handshake)).await;
    let (stream, result) = match outcome {
        Ok(Ok(stream)) => {
            let resumed = stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
            (Some(stream), if resumed { "resumed" } else { "full" })
        }
        Ok(Err(error)) => {
            debug!(%peer, %error, "TLS handshake failed");
            (None, "failed")
        }
        Err(_) => {
            debug!(%peer, "TLS handshake timed out");
            (None, "timeout")
        }
    };
    let name = listener.settings.name.as_ref();
    shared
        .metrics
        .tls_handshakes
        .with_label_values(&[name, result])
        .inc();
    if stream.is_none() {
        shared
            .metrics
            .connections_refused
            .with_label_values(&[name, "tls"])
            .inc();
    }
    stream.map(|stream| Stream::Tls(Box::new(stream.into())))
}
