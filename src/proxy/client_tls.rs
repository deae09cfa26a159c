//! TLS with the client, where the listener has certificates.

use std::sync::Arc;

use rustls::HandshakeKind;
use tokio::select;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::config::model::ClientAuth;
use crate::logic::request::Proof;
use crate::runtime::socket::Socket;
use crate::state::Shared;
use crate::state::snapshot::Listener;
use crate::tls::{TlsStream, is_no_tls, peer_certificate};

use super::connection::ClientConnection;
use super::stream::Stream;

/// The client once it is safe to speak with it; `None` when there is nobody to speak to.
pub async fn accept_tls(
    shared: &Shared,
    client: ClientConnection<Socket>,
    deadline: Instant,
) -> Option<ClientConnection> {
    let (mut client, socket) = client.replace(());
    let Some(config) = &client.listener.tls else {
        return Some(client.replace(Stream::Plain(socket)).0);
    };
    let max = shared.snapshot().config.server.max_tls_handshakes;
    let place = shared.tls_handshakes.begin(max, Instant::now().into_std());
    let Some(mut place) = place else {
        count(shared, &client.listener, "refused", Some("tls_busy"));
        return None;
    };
    let peer = client.ends.peer;
    let early = client.read_buffer.take();
    let handshake = TlsStream::accept(Arc::clone(config), socket, &early);
    // The handshake's state is large and short-lived: it must not widen the connection's task.
    let handshake = timeout_at(deadline, Box::pin(handshake));
    let outcome = select! {
        biased;
        outcome = handshake => outcome,
        () = place.lost() => {
            debug!(%peer, "TLS handshake gave way to a newer one");
            count(shared, &client.listener, "displaced", Some("tls_busy"));
            return None;
        }
    };
    let (stream, result, fault) = match outcome {
        Ok(Ok(stream)) => {
            let resumed = stream.state().handshake_kind() == Some(HandshakeKind::Resumed);
            let result = if resumed { "resumed" } else { "full" };
            (Some(stream), result, "tls")
        }
        Ok(Err(error)) if is_no_tls(&error) => {
            debug!(%peer, "the client speaks no TLS, plain HTTP perhaps");
            (None, "failed", "not_tls")
        }
        Ok(Err(error)) => {
            debug!(%peer, %error, "TLS handshake failed");
            (None, "failed", "tls")
        }
        Err(_) => {
            debug!(%peer, "TLS handshake timed out");
            (None, "timeout", "tls")
        }
    };
    let proven = stream.and_then(|stream| Some((proof(&client.listener, &stream)?, stream)));
    let refused = proven.is_none().then_some(fault);
    count(shared, &client.listener, result, refused);
    let (proof, stream) = proven?;
    client.proof = proof;
    let stream = Stream::Tls(Box::new(stream));
    Some(client.replace(stream).0)
}

/// What the client proved; nothing for a certificate of no use.
fn proof(listener: &Listener, stream: &TlsStream<Socket>) -> Option<Proof> {
    let asked = listener.settings.tls.as_ref().map(|tls| &tls.client_auth);
    match (asked, stream.state().peer_certificates()) {
        (None | Some(ClientAuth::Off), _) => Some(Proof::NotAsked),
        (_, None) => Some(Proof::Absent),
        (_, Some(chain)) => peer_certificate(chain).map(Proof::Certificate),
    }
}

/// Counts a handshake, and the refusal that it was.
fn count(shared: &Shared, listener: &Listener, result: &str, refused: Option<&str>) {
    let name = listener.settings.name.as_ref();
    let metrics = &shared.metrics;
    metrics
        .tls_handshakes
        .with_label_values(&[name, result])
        .inc();
    if let Some(reason) = refused {
        let labels = [name, reason];
        metrics.connections_refused.with_label_values(&labels).inc();
    }
}
