//! The state of the process as JSON: what is there, what it does, what was changed of it.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::ACCEPT;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::config;
use crate::config::model::Action;
use crate::control::drain::{Progress, Target};
use crate::state::Snapshot;
use crate::state::route::Route;
use crate::state::upstream::{Member, Upstream};

use super::Admin;
use super::answer::{Body, json, text, typed};

/// The process as a whole.
pub(super) fn status(admin: &Admin) -> Value {
    let shared = &admin.shared;
    let metrics = &shared.metrics;
    let snapshot = shared.snapshot();
    let rates = admin.history.per_second();
    let draining: Vec<Value> = (admin.drains.progress().iter())
        .map(|progress| drain(progress))
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "state": if shared.is_draining() { "stopping" } else { "ready" },
        "websockets": shared.registry.len(),
        "per_second": {
            "opened": rates.opened,
            "messages": rates.messages,
            "bytes": rates.bytes,
        },
        "last_reload": {
            "successful": metrics.last_reload_successful.get() == 1,
            "timestamp": metrics.last_reload_timestamp.get(),
        },
        "upstreams": all_upstreams(&snapshot),
        "draining": draining,
        "changed": changed(&snapshot),
    })
}

/// Upstreams with their servers.
pub(super) fn upstreams(admin: &Admin) -> Value {
    json!({ "upstreams": all_upstreams(&admin.shared.snapshot()) })
}

/// Routes in file order.
pub(super) fn routes(admin: &Admin) -> Value {
    let snapshot = admin.shared.snapshot();
    let routes: Vec<Value> = snapshot.routes.iter().map(|route| shown(route)).collect();
    json!({ "routes": routes })
}

/// The configuration in force: JSON, or the TOML that `check --dump` prints where text is asked for.
pub(super) fn config<B>(admin: &Admin, request: &Request<B>) -> Response<Body> {
    let config = &admin.shared.snapshot().config;
    let accept = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let wants_text = accept
        .is_some_and(|accept| accept.contains("application/toml") || accept.contains("text/plain"));
    if wants_text {
        return typed(StatusCode::OK, "application/toml", config::dump(config));
    }
    match config::effective(config) {
        Ok(config) => json(StatusCode::OK, &json!({ "config": config })),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// A server of an upstream.
pub(super) fn server(upstream: &Upstream, member: &Member) -> Value {
    let server = &member.server;
    json!({
        "address": &*server.label,
        "state": server.overrides.word(),
        "up": server.is_up(),
        "checked": upstream.settings.health_check.is_some(),
        "weight": member.weight(),
        "websockets": server.websockets(),
        "connections": server.load(),
        "ejected": server.is_ejected(Instant::now()),
        "failures": server.failures(),
        "backup": member.spec.backup,
        "max_connections": member.spec.max_connections,
        "configured_address": member.spec.address.to_string(),
        "configured_weight": member.spec.weight,
    })
}

fn all_upstreams(snapshot: &Snapshot) -> Vec<Value> {
    in_file_order(snapshot)
        .map(|upstream| of_upstream(upstream))
        .collect()
}

fn in_file_order(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Upstream>> {
    let names = snapshot.config.upstreams.iter();
    names.filter_map(|settings| snapshot.upstreams.get(&settings.name))
}

fn of_upstream(upstream: &Upstream) -> Value {
    let members = upstream.members();
    let servers: Vec<Value> = (members.iter().map(|member| server(upstream, member))).collect();
    json!({ "name": &*upstream.settings.name, "servers": servers })
}

/// What the operator changed at run time and is in force.
fn changed(snapshot: &Snapshot) -> Vec<Value> {
    let mut changed = Vec::new();
    for upstream in in_file_order(snapshot) {
        for member in upstream.members().iter() {
            let overrides = &member.server.overrides;
            if overrides.is_changed() {
                changed.push(json!({
                    "upstream": &*upstream.settings.name,
                    "server": &*member.server.label,
                    "state": overrides.word(),
                    "weight": overrides.weight(),
                }));
            }
        }
    }
    changed
}

fn drain(progress: &Progress) -> Value {
    let (upstream, server) = match &progress.target {
        Target::Server(key) => (Some(&key.upstream), Some(key.address.to_string())),
        Target::Upstream(name) => (Some(name), None),
        Target::Process => (None, None),
    };
    json!({
        "upstream": upstream.map(|name| &**name),
        "server": server,
        "reason": progress.reason.word(),
        "within_seconds": progress.within.as_secs_f64(),
        "sessions": progress.sessions,
        "told": progress.told(),
        "left": progress.left(),
    })
}

fn shown(route: &Route) -> Value {
    let settings = &route.settings;
    let hosts: Vec<String> = settings.hosts.iter().map(ToString::to_string).collect();
    let (upstream, respond, redirect) = match &settings.action {
        Action::Proxy { upstream } => (Some(upstream), None, None),
        Action::Respond { status } => (None, Some(status), None),
        Action::RedirectHttps => (None, None, Some("https")),
    };
    json!({
        "name": &*settings.name,
        "listeners": names(&settings.listeners),
        "hosts": hosts,
        "path": settings.path.to_string(),
        "upstream": upstream.map(|name| &**name),
        "respond": respond,
        "redirect": redirect,
        "websockets": route.figures.live(),
    })
}

fn names(names: &[Arc<str>]) -> Vec<&str> {
    names.iter().map(AsRef::as_ref).collect()
}
