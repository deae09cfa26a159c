//! A backend's ordinary response to an upgrade request, forwarded to the client as it comes.
//! The backend's connection ends with it: one whose upgrade was refused is never used again.

use std::time::Duration;

use tokio::time::timeout;
use tracing::debug;

use crate::logic::request::body::{Body, Step};
use crate::logic::request::to_client::write_response;
use crate::logic::request::{Framing, Request};

use super::attempt::Reached;
use super::connection::ClientConnection;
use super::exchange::Next;
use super::upgrade_attempt::UpgradeResponse;

/// Longest silence inside the answer's body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the body read at a time.
const READ_BYTES: usize = 16 * 1024;

/// Forwards the response.
pub async fn forward_response(
    mut client: ClientConnection,
    request: &Request,
    framing: Framing,
    reached: Reached<UpgradeResponse>,
) -> Next {
    let closes = !request.keeps_alive() || framing == Framing::UntilClose;
    let mut head = Vec::with_capacity(512);
    write_response(&reached.answer.head, framing, closes, &mut head);
    if !client.send(&head).await {
        return Next::Gone;
    }
    match forward_body(&mut client, framing, reached).await {
        Some(()) if closes => Next::End(client),
        Some(()) => Next::Again(client),
        None => {
            if framing == Framing::UntilClose {
                // An orderly end would pass for the body's.
                client.stream.abort();
            }
            Next::Gone
        }
    }
}

/// Forwards the body; nothing when either end failed, and then the connection must not go on.
async fn forward_body(
    client: &mut ClientConnection,
    framing: Framing,
    mut reached: Reached<UpgradeResponse>,
) -> Option<()> {
    let mut body = Body::new(framing);
    let mut waiting = reached.answer.read_buffer.take();
    loop {
        while !waiting.is_empty() && !body.is_complete() {
            match body.follow(&waiting) {
                Ok(Step::Forward(count)) => {
                    if !client.send(&waiting.split_to(count)).await {
                        return None;
                    }
                }
                Ok(Step::Drop(count) | Step::Trailer(count)) => drop(waiting.split_to(count)),
                Err(fault) => {
                    debug!(server = ?reached.ticket.server(), %fault, "answer cut");
                    return None;
                }
            }
        }
        if body.is_complete() {
            return Some(());
        }
        let read = reached
            .answer
            .read_buffer
            .read(&mut reached.answer.stream, READ_BYTES);
        match timeout(BODY_TIMEOUT, read).await {
            Ok(Ok(0)) => return body.end_of_stream().ok(),
            Ok(Ok(_)) => waiting = reached.answer.read_buffer.take(),
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}
