//! One request: which route it meets, and what becomes of it.

use std::sync::Arc;
use std::time::Instant;

use crate::config::model::Action;
use crate::logic::answer::Answer;
use crate::logic::refusal::Refusal;
use crate::logic::request::{Framing, Request, RequestHead};
use crate::state::route::Route;

use super::connection::{ClientConnection, Context};
use super::upgrade::Upgrade;

/// What comes after a request on its connection.
#[derive(Debug)]
pub enum Next {
    /// Another request may.
    Again(ClientConnection),
    /// The end, once the client has taken what was sent.
    End(ClientConnection),
    /// Nothing: it became a tunnel, or the client is gone.
    Gone,
}

/// Serves the request with this head.
pub async fn exchange(context: &Context, client: ClientConnection, head: RequestHead) -> Next {
    let received = Instant::now();
    let request = match Request::check(head) {
        Ok(request) => request,
        Err(refusal) => return conclude(client, refusal.answer(), None).await,
    };
    let snapshot = context.shared.snapshot();
    let (listener, host) = (&client.listener.settings.name, request.host().name());
    let Some(route) = snapshot.route(listener, host, request.path()) else {
        return conclude(client, Refusal::NoRoute.answer(), Some(&request)).await;
    };
    match &route.upstream {
        Some(upstream) if request.is_websocket() => {
            let upgrade = Upgrade {
                context: context.clone(),
                route: Arc::clone(route),
                upstream: Arc::clone(upstream),
                port: client.ends.local.port(),
                request,
                received,
            };
            drop(snapshot);
            // The handshake's state is large and short-lived.
            Box::pin(upgrade.run(client)).await
        }
        _ => {
            let answer = own_answer(route, &request);
            conclude(client, answer, Some(&request)).await
        }
    }
}

/// Sends an answer of the proxy's own. The connection goes on when both ends know where the next
/// request begins: `request` is the one that was understood, and it had no body.
pub async fn conclude(
    mut client: ClientConnection,
    answer: Answer,
    request: Option<&Request>,
) -> Next {
    let keeps = request.is_some_and(|request| {
        let bodiless = matches!(request.framing(), Framing::None | Framing::Length(0));
        request.keeps_alive() && bodiless
    });
    let answer = if keeps { answer } else { answer.closing() };
    let is_head = request.is_some_and(|request| request.method() == "HEAD");
    let answer = if is_head { answer.to_head() } else { answer };
    match client.answer(&answer).await {
        false => Next::Gone,
        true if answer.closes() => Next::End(client),
        true => Next::Again(client),
    }
}

fn own_answer(route: &Route, request: &Request) -> Answer {
    match &route.settings.action {
        Action::Respond { status } => Answer::of_status(*status),
        Action::RedirectHttps => Answer::redirect(https_location(request)),
        Action::Proxy { .. } => Refusal::UpgradeRequired.answer(),
    }
}

fn https_location(request: &Request) -> String {
    let query = request
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    format!("https://{}{}{query}", request.host().name(), request.path())
}
