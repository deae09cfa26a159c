//! Which path does what: the table that requests are matched against and the documentation is
//! tested against.

use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::task::spawn_blocking;

use crate::telemetry::expose::Format;

use super::access::Need;
use super::answer::{Body, Fault, json, text, typed};
use super::dashboard::{self, Part};
use super::{Admin, connections, live, openapi, params, reload, servers, show, tail, upgrade};

/// A route of the admin address.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method; `HEAD` goes wherever `GET` does.
    pub method: &'static str,
    /// The path, with a name where it varies.
    pub path: &'static str,
    /// What it is for, in a line.
    pub what: &'static str,
    call: Call,
}

#[derive(Clone, Copy, Debug)]
enum Call {
    Page,
    Style,
    Script,
    Index,
    Description,
    Live,
    Metrics,
    Health,
    Readiness,
    Status,
    Upstreams,
    Routes,
    Config,
    Connections,
    Kill,
    Tail,
    Reload,
    Upgrade,
    Server,
    Rebalance,
}

macro_rules! routes {
    ($($method:ident $path:literal $call:ident $what:literal;)*) => {
        /// Every route, in the order of the documentation.
        pub const ROUTES: &[Route] = &[$(Route {
            method: stringify!($method),
            path: $path,
            what: $what,
            call: Call::$call,
        }),*];
    };
}

routes! {
    GET "/" Page
        "The dashboard.";
    GET "/dashboard.css" Style
        "Its style.";
    GET "/dashboard.js" Script
        "Its script.";
    GET "/metrics" Metrics
        "Prometheus text, or OpenMetrics when `Accept` asks for it.";
    GET "/healthz" Health
        "200 as long as the process lives.";
    GET "/readyz" Readiness
        "200 while it serves, 503 while it drains to stop.";
    GET "/api/v1" Index
        "This list.";
    GET "/api/v1/openapi.json" Description
        "This API's description, OpenAPI 3.1.";
    GET "/api/v1/status" Status
        "The process, its upstreams, the drains under way, what was changed at run time.";
    GET "/api/v1/upstreams" Upstreams
        "Upstreams and their servers.";
    GET "/api/v1/routes" Routes
        "Routes in file order.";
    GET "/api/v1/connections" Connections
        "Live WebSockets, a page at a time.";
    GET "/api/v1/connections/{id}/tail" Tail
        "One WebSocket's frames as they pass, a JSON object a line; `?payload=true` with the start of their payloads.";
    GET "/api/v1/live" Live
        "A WebSocket: what the dashboard shows, each second.";
    GET "/api/v1/config" Config
        "The configuration in force, defaults filled in, secrets masked.";
    POST "/api/v1/reload" Reload
        "Reads the configuration again and puts it in force; `?dry_run=true` only says what would change.";
    POST "/api/v1/upgrade" Upgrade
        "Starts the program anew and gives it the place; answers when the new process serves.";
    POST "/api/v1/upstreams/{u}/servers/{a}" Server
        "Drains a server, takes it back, changes its weight.";
    POST "/api/v1/upstreams/{u}/rebalance" Rebalance
        "Closes the excess connections of overloaded servers; answers after the last close.";
    DELETE "/api/v1/connections/{id}" Kill
        "Closes one WebSocket with 1008.";
}

/// What a request must show before it is looked at.
pub(super) fn need<B>(request: &Request<B>) -> Need {
    let path = request.uri().path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let mut fitting = ROUTES
        .iter()
        .filter(|route| params::names(route.path, path).is_some());
    match fitting.next().map(|route| route.call) {
        Some(Call::Page | Call::Style | Call::Script) if is_read => Need::Nothing,
        Some(Call::Live) if is_read => Need::SameOrigin,
        Some(Call::Tail) => Need::Token,
        _ if is_read => Need::Host,
        _ => Need::Token,
    }
}

/// Answers a request.
pub(super) async fn route(admin: &Admin, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let fitting = |route: &&Route| params::names(route.path, path).is_some();
    let mut methods = ROUTES.iter().filter(fitting).peekable();
    if methods.peek().is_none() {
        return text(StatusCode::NOT_FOUND, "no such page");
    }
    let allowed: Vec<&str> = methods.clone().map(|route| route.method).collect();
    let method = match *request.method() {
        // The server sends the same head and leaves the body out.
        Method::HEAD => &Method::GET,
        ref method => method,
    };
    match methods.find(|route| route.method == method) {
        Some(route) => {
            let names = params::names(route.path, path).unwrap_or_default();
            let outcome = answer(route.call, admin, request, &names).await;
            outcome.unwrap_or_else(|fault| fault.answer())
        }
        None => not_allowed(&allowed.join(", ")),
    }
}

async fn answer(
    call: Call,
    admin: &Admin,
    request: Request<Incoming>,
    names: &[String],
) -> Result<Response<Body>, Fault> {
    let shown = match (call, names) {
        (Call::Index, _) => return Ok(typed(StatusCode::OK, "text/plain; charset=utf-8", index())),
        (Call::Page, _) => return Ok(dashboard::part(Part::Page)),
        (Call::Style, _) => return Ok(dashboard::part(Part::Style)),
        (Call::Script, _) => return Ok(dashboard::part(Part::Script)),
        (Call::Live, _) => return Ok(live::open(admin, request)),
        (Call::Metrics, _) => return Ok(metrics(admin, &request).await),
        (Call::Health, _) => return Ok(text(StatusCode::OK, "ok")),
        (Call::Readiness, _) => return Ok(readiness(admin)),
        (Call::Config, _) => return Ok(show::config(admin, &request)),
        (Call::Reload, _) => return reload::reload(admin, &request).await,
        (Call::Upgrade, _) => return upgrade::upgrade(admin).await,
        (Call::Description, _) => openapi::description(),
        (Call::Status, _) => show::status(admin),
        (Call::Upstreams, _) => show::upstreams(admin),
        (Call::Routes, _) => show::routes(admin),
        (Call::Connections, _) => connections::list(admin, &request)?,
        (Call::Tail, [id]) => return tail::tail(admin, &request, id),
        (Call::Kill, [id]) => connections::kill(admin, id)?,
        (Call::Server, [upstream, address]) => {
            servers::change(admin, upstream, address, params::body(request).await?)?
        }
        (Call::Rebalance, [upstream]) => {
            servers::rebalance(admin, upstream, params::body(request).await?).await?
        }
        (Call::Kill | Call::Tail | Call::Server | Call::Rebalance, _) => {
            return Err(Fault::Nothing("the path lacks a name"));
        }
    };
    Ok(json(StatusCode::OK, &shown))
}

fn index() -> String {
    let line = |route: &Route| format!("{} {}\n    {}\n", route.method, route.path, route.what);
    let lines: String = ROUTES.iter().map(line).collect();
    format!("tidegate\n\n{lines}")
}

async fn metrics<B>(admin: &Admin, request: &Request<B>) -> Response<Body> {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = Format::from_accept(accept.unwrap_or_default());
    let metrics = admin.shared.metrics.clone();
    // With tens of thousands of routes it takes a while, in which the control plane must go on.
    let scrape = spawn_blocking(move || metrics.scrape(format));
    match scrape.await {
        Ok(Ok(exposition)) => typed(StatusCode::OK, format.content_type(), exposition),
        Ok(Err(error)) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the scrape failed"),
    }
}

fn readiness(admin: &Admin) -> Response<Body> {
    if admin.shared.is_draining() {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        text(StatusCode::OK, "ready")
    }
}

fn not_allowed(allowed: &str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}
