//! Which path does what. One line per route.

use hyper::header::{ACCEPT, ALLOW, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;

use crate::runtime::descriptors;
use crate::telemetry::expose::Format;
use crate::telemetry::metrics::Descriptors;

use super::Admin;
use super::answer::{Body, json, text, typed};

/// What `GET /` says until the dashboard is there.
const INDEX: &str = "tidegate\n\nGET /metrics\nGET /healthz\nGET /readyz\nPOST /api/v1/reload\n";

pub(super) async fn route<B>(admin: &Admin, request: &Request<B>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => typed(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            INDEX.to_owned(),
        ),
        (&Method::GET, "/metrics") => metrics(admin, request),
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok"),
        (&Method::GET, "/readyz") => readiness(admin),
        (&Method::POST, "/api/v1/reload") => reload(admin).await,
        (_, "/" | "/metrics" | "/healthz" | "/readyz") => not_allowed("GET"),
        (_, "/api/v1/reload") => not_allowed("POST"),
        _ => text(StatusCode::NOT_FOUND, "no such page"),
    }
}

fn metrics<B>(admin: &Admin, request: &Request<B>) -> Response<Body> {
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = Format::from_accept(accept.unwrap_or_default());
    let (used, limit) = descriptors::usage();
    match admin
        .shared
        .metrics
        .scrape(format, Descriptors { used, limit })
    {
        Ok(exposition) => typed(StatusCode::OK, format.content_type(), exposition),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn readiness(admin: &Admin) -> Response<Body> {
    if admin.shared.is_draining() {
        text(StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        text(StatusCode::OK, "ready")
    }
}

async fn reload(admin: &Admin) -> Response<Body> {
    let (answer, outcome) = oneshot::channel();
    if admin.reload.send(answer).await.is_err() {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping");
    }
    match outcome.await {
        Ok(Ok(changes)) => json(
            StatusCode::OK,
            &json!({ "result": "ok", "changes": changes }),
        ),
        Ok(Err(errors)) => {
            let errors: Vec<_> = errors.lines().collect();
            json(
                StatusCode::UNPROCESSABLE_ENTITY,
                &json!({ "result": "refused", "errors": errors }),
            )
        }
        Err(_) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}

fn not_allowed(allow: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allow));
    response
}
