//! Reload on request, or only what one would change.

use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::config::Effect;
use crate::control::impact::{Impact, Plan};
use crate::control::reload::ReloadRequest;

use super::answer::{Body, Fault, json};
use super::{Admin, params};

/// Asks for a reload and waits for its outcome.
pub(super) async fn reload<B>(
    admin: &Admin,
    request: &Request<B>,
) -> Result<Response<Body>, Fault> {
    let dry_run = params::flag(request, "dry_run")?;
    let (answer, outcome) = oneshot::channel();
    let request = ReloadRequest { dry_run, answer };
    admin
        .reload
        .send(request)
        .await
        .map_err(|_| Fault::Stopping)?;
    let outcome = outcome.await.map_err(|_| Fault::Stopping)?;
    Ok(match outcome {
        Ok(Plan { changes, same }) => {
            let changes: Vec<Value> = changes.iter().map(change).collect();
            let shown = json!({
                "result": "ok",
                "dry_run": dry_run,
                "changes": changes,
                "same": {
                    "listeners": same.listeners,
                    "routes": same.routes,
                    "upstreams": same.upstreams,
                    "servers": same.servers,
                },
            });
            json(StatusCode::OK, &shown)
        }
        Err(errors) => {
            let errors: Vec<_> = errors.lines().collect();
            let shown = json!({ "result": "refused", "dry_run": dry_run, "errors": errors });
            json(StatusCode::UNPROCESSABLE_ENTITY, &shown)
        }
    })
}

fn change(impact: &Impact) -> Value {
    let change = &impact.change;
    json!({
        "subject": change.subject,
        "what": change.what,
        "effect": match change.effect {
            Effect::Live => "live",
            Effect::Restart => "restart",
        },
        "connections": impact.connections,
        "drains": impact.drains,
    })
}
