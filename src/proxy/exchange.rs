//! One request: which route it meets, and what becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tracing::debug;

use crate::logic::answer::Answer;
use crate::logic::auth::{Identity, identify};
use crate::logic::refusal::Refusal;
use crate::logic::request::{Client, Framing, Request, RequestHead};
use crate::logic::websocket::handshake::Offer;
use crate::state::route::Route;

use super::access_log::RequestLog;
use super::connection::{ClientConnection, Context};
use super::routed_request::RoutedRequest;
use super::trace::Trace;

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
pub async fn exchange(context: &Arc<Context>, client: ClientConnection, head: RequestHead) -> Next {
    let received = Instant::now();
    let mut log = RequestLog::begin(&context.shared.access, &client, received);
    log.head(&head);
    let mut request = match Request::check(head) {
        Ok(request) => request,
        Err(refusal) => {
            client.count_refused(&context.shared, &refusal);
            return Box::pin(refuse(client, log, &refusal, None)).await;
        }
    };
    let snapshot = context.shared.snapshot();
    let listener = snapshot.in_place_of(&client.listener.settings);
    if context.shared.is_leaving() || listener.is_none() {
        // The next one is another process's, or nobody's.
        request.make_last();
    }
    let caller = caller(&client, &request);
    log.understood(&request, &caller);
    let mut trace = begin_trace(context, &request, &caller, received);
    let (host, path) = (request.host().name(), request.path());
    let Some(route) = listener.and_then(|listener| snapshot.route(listener, host, path)) else {
        trace.answered(Refusal::NoRoute.status());
        client.count_refused(&context.shared, &Refusal::NoRoute);
        let refusing = refuse(client, log, &Refusal::NoRoute, Some(&request));
        return Box::pin(refusing).await;
    };
    let route = Arc::clone(route);
    drop(snapshot);
    log.routed(&route);
    trace.note("tidegate.route", &route.settings.name);
    trace.step("route");
    let admitted = admit(&route, &mut request, &caller);
    trace.step("auth");
    let (offer, identity) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            trace.answered(refusal.status());
            count(&route, &request, refusal.status(), received);
            return Box::pin(refuse(client, log, &refusal, Some(&request))).await;
        }
    };
    log.identified(&identity);
    let Some(upstream) = &route.upstream else {
        let answer = own_answer(&route, &request);
        trace.answered(answer.status());
        count(&route, &request, answer.status(), received);
        log.answered(answer.status());
        return Box::pin(conclude(client, answer, Some(&request))).await;
    };
    let routed = RoutedRequest {
        context: Arc::clone(context),
        upstream: Arc::clone(upstream),
        port: client.port(),
        ends: client.on_behalf_of(&caller),
        request,
        route,
        caller,
        proof: client.proof.clone(),
        identity,
        received,
        log,
        trace,
    };
    // An exchange's state is large and short-lived.
    match offer {
        Some(offer) => Box::pin(routed.upgrade(offer, client)).await,
        None => Box::pin(routed.forward(client)).await,
    }
}

/// What the route's terms and its token let through: what an upgrade offers, and who asks.
fn admit(
    route: &Route,
    request: &mut Request,
    caller: &Client,
) -> Result<(Option<Offer>, Identity), Refusal> {
    let mut offer = route.settings.terms().check(request, caller)?;
    let method = route.auth.as_deref();
    let identity = identify(method, request, offer.as_mut(), unix_time())?;
    Ok((offer, identity))
}

/// The answer of a route that has no upstream.
fn own_answer(route: &Route, request: &Request) -> Answer {
    let answer = route.settings.own_answer(request);
    // The model has no route without either.
    answer.unwrap_or_else(|| Refusal::Internal.answer())
}

/// Since the epoch. A clock that stands before it would make every token good for ever.
pub fn unix_time() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::MAX)
}

/// The trace of an upgrade request; plain ones have none.
fn begin_trace(context: &Context, request: &Request, caller: &Client, received: Instant) -> Trace {
    if !request.is_websocket() {
        return Trace::NONE;
    }
    Trace::begin(context.tracer.as_ref(), request, caller, received)
}

/// Counts an answer of the proxy's own.
fn count(route: &Route, request: &Request, status: u16, received: Instant) {
    match request.is_websocket() {
        true => route.figures.handshake(status),
        false => route.figures.request(status, received.elapsed()),
    }
}

/// Who sent the request, by the trusted chain.
fn caller(client: &ClientConnection, request: &Request) -> Client {
    let trusted = &client.listener.settings.trusted_proxies;
    Client::of(
        request.head().fields(),
        client.ends.peer.ip(),
        client.scheme(),
        trusted,
    )
}

/// Answers with a refusal; `request` is the one that was understood, if one was.
pub async fn refuse(
    client: ClientConnection,
    log: RequestLog,
    refusal: &Refusal,
    request: Option<&Request>,
) -> Next {
    debug!(peer = %client.ends.peer, refusal = refusal.word(), cause = %refusal, "request refused");
    log.refused(refusal);
    conclude(client, refusal.answer(), request).await
}

/// Sends an answer of the proxy's own. The connection goes on when both ends know where the next
/// request begins: `request` is the one that was understood, and it had no body.
async fn conclude(mut client: ClientConnection, answer: Answer, request: Option<&Request>) -> Next {
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
