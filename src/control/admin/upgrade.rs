//! The upgrade in place on request.

use hyper::{Response, StatusCode};
use serde_json::json;

use crate::control::upgrade::Failed;

use super::Admin;
use super::answer::{Body, Fault, json};

/// Asks for an upgrade and waits for its outcome.
pub(super) async fn upgrade(admin: &Admin) -> Result<Response<Body>, Fault> {
    let asked = admin.upgrades.ask();
    let outcome = match asked {
        Ok(outcome) => outcome.await.map_err(|_| Fault::Stopping)?,
        Err(failed) => Err(failed),
    };
    Ok(match outcome {
        Ok(successor) => {
            let shown = json!({
                "result": "ok",
                "pid": successor.pid,
                "version": successor.version,
                "predecessor": std::process::id(),
                "websockets": admin.shared.registry.len(),
            });
            json(StatusCode::OK, &shown)
        }
        Err(failed) => {
            let status = match failed {
                Failed::Underway => StatusCode::CONFLICT,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            let text = failed.to_string();
            let errors: Vec<_> = text.lines().collect();
            json(status, &json!({ "result": "refused", "errors": errors }))
        }
    })
}
