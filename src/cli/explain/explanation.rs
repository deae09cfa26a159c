//! What is told of a request: every check with its verdict, and the way that lies before it.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{self, Config};
use crate::logic::check::Check;
use crate::logic::request::Request;
use crate::state::snapshot::Methods;

use super::asked::Asked;
use super::entry::Entry;
use super::trace::Trace;
use super::way::Way;

/// An explanation.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    /// Where the request comes in.
    pub(super) listener: String,
    /// Why there.
    pub(super) listener_why: String,
    /// The client, by the trusted chain.
    pub(super) client: IpAddr,
    /// The route that fits.
    pub(super) route: Option<String>,
    /// The routes in file order, up to the one that fits.
    pub(super) routes: Vec<Tried>,
    /// The checks in their order.
    pub(super) checks: Vec<Met>,
    /// The answer, where the proxy gives it.
    pub(super) answer: Option<Own>,
    /// The way to a server, where that gives it.
    pub(super) upstream: Option<Way>,
    /// The keys that apply, by section.
    pub(super) settings: Value,
}

/// A route that was held against the request.
#[derive(Debug, Serialize)]
pub(super) struct Tried {
    pub(super) name: String,
    /// Why it does not fit; nothing where it does.
    pub(super) mismatch: Option<String>,
}

/// A check.
#[derive(Debug, Serialize)]
pub(super) struct Met {
    pub(super) check: &'static str,
    pub(super) verdict: Verdict,
    /// What is held against what.
    pub(super) why: String,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Passed,
    Refused,
    /// Not of this kind of request.
    NotAsked,
    /// Another check refused before.
    NotReached,
    /// Who else is there at that moment decides.
    AtRunTime,
}

/// An answer of the proxy's own.
#[derive(Debug, Serialize)]
pub(super) struct Own {
    pub(super) status: u16,
    pub(super) text: String,
    pub(super) location: Option<String>,
}

impl Explanation {
    /// Explains a request that comes in there.
    ///
    /// # Errors
    /// When the effective configuration can't be read back, a fault of the program.
    pub(super) fn of(
        config: &Config,
        methods: &Methods,
        asked: &Asked,
        entry: &Entry,
    ) -> Result<Self, toml::de::Error> {
        let trace = Trace::of(config, methods, asked, entry);
        let settings = settings(config, entry, &trace)?;
        let checks = Check::ALL.map(|check| met(check, &trace, &settings));
        let client = trace.request.as_ref().map(|(_, client)| client.address);
        Ok(Self {
            listener: entry.listener.name.to_string(),
            listener_why: entry.why.clone(),
            client: client.unwrap_or(asked.peer),
            route: trace.route.as_ref().map(|route| route.name.to_string()),
            routes: (trace.tried.iter())
                .map(|(name, mismatch)| Tried {
                    name: name.to_string(),
                    mismatch: mismatch.clone(),
                })
                .collect(),
            checks: checks.into(),
            answer: answer(&trace),
            upstream: Way::of(config, &trace, entry.port(asked), &settings),
            settings,
        })
    }
}

/// What of the effective configuration applies.
fn settings(config: &Config, entry: &Entry, trace: &Trace) -> Result<Value, toml::de::Error> {
    let route = trace.route.as_ref();
    let upstream = route
        .filter(|_| trace.refusal.is_none())
        .and_then(|route| route.upstream());
    let all = config::effective(&Config {
        listeners: vec![Arc::clone(&entry.listener)],
        routes: route.into_iter().cloned().collect(),
        upstreams: (config.upstreams.iter())
            .filter(|other| Some(&other.name) == upstream)
            .cloned()
            .collect(),
        ..config.clone()
    })?;
    let mut route = all["route"][0].clone();
    if let Some(route) = route.as_object_mut() {
        // Of the two kinds of request it is one.
        route.remove(if trace.is_websocket() {
            "http"
        } else {
            "websocket"
        });
    }
    let upstream = upstream.map(|upstream| &all["upstream"][&**upstream]);
    Ok(json!({
        "listener": all["listener"][&*entry.listener.name],
        "route": route,
        "upstream": upstream,
    }))
}

fn met(check: Check, trace: &Trace, settings: &Value) -> Met {
    let verdict = verdict(check, trace);
    let why = match (verdict, &trace.refusal) {
        (Verdict::Refused, Some(refusal)) => match why(check, trace, settings) {
            facts if facts.is_empty() => refusal.to_string(),
            facts => format!("{refusal}: {facts}"),
        },
        (Verdict::Passed | Verdict::AtRunTime, _) => why(check, trace, settings),
        _ => String::new(),
    };
    Met {
        check: check.word(),
        verdict,
        why,
    }
}

fn verdict(check: Check, trace: &Trace) -> Verdict {
    if let Some(refused) = trace.refusal.as_ref().map(Check::of) {
        if check == refused {
            return Verdict::Refused;
        }
        if check > refused {
            return Verdict::NotReached;
        }
    }
    let is_proxied = trace
        .route
        .as_ref()
        .is_none_or(|route| route.upstream().is_some());
    match check {
        Check::Syntax | Check::Path | Check::Route | Check::Address => Verdict::Passed,
        Check::Token if !trace.asks_for_token() => Verdict::NotAsked,
        Check::Token => Verdict::Passed,
        _ if !is_proxied => Verdict::NotAsked,
        Check::Origin | Check::Method | Check::Version | Check::Key if !trace.is_websocket() => {
            Verdict::NotAsked
        }
        Check::Limits | Check::Server => Verdict::AtRunTime,
        _ => Verdict::Passed,
    }
}

/// What a check holds against what.
fn why(check: Check, trace: &Trace, settings: &Value) -> String {
    let Some((request, client)) = &trace.request else {
        return String::new();
    };
    let route = &settings["route"];
    let keys = |section: &str, names: &[&str]| {
        let key = |name: &&str| Some(format!("{name} = {}", route[section].get(name)?));
        names.iter().filter_map(key).collect::<Vec<_>>().join(", ")
    };
    match check {
        Check::Syntax | Check::Server => String::new(),
        Check::Path => request.path().to_owned(),
        Check::Route => {
            (trace.route.as_ref()).map_or_else(String::new, |route| route.name.to_string())
        }
        Check::Address => format!("{}; {}", client.address, keys("access", &["allow", "deny"])),
        Check::Kind => format!("accept = {}", route["accept"]),
        Check::Origin => format!(
            "{}; {}",
            field(request, "origin"),
            keys("access", &["origins"])
        ),
        Check::Method => request.method().to_owned(),
        Check::Version => field(request, "sec-websocket-version"),
        Check::Key => field(request, "sec-websocket-key"),
        Check::Token if !trace.asks_for_token() => String::new(),
        Check::Token => {
            let user = trace.identity.user.as_deref();
            let user = user.map(|user| format!(", user = {user}"));
            let from = &route["auth"]["jwt"]["from"];
            format!("from = {from}{}", user.unwrap_or_default())
        }
        Check::Limits => keys(
            "limit",
            &["connections_per_ip", "handshakes_per_ip", "max_connections"],
        ),
    }
}

/// The values of a field, as far as they are text.
fn field(request: &Request, name: &str) -> String {
    let values: Vec<_> = (request.head().fields().values(name))
        .map(String::from_utf8_lossy)
        .collect();
    match values.as_slice() {
        [] => "none".to_owned(),
        values => values.join(", "),
    }
}

fn answer(trace: &Trace) -> Option<Own> {
    if let Some(refusal) = &trace.refusal {
        return Some(Own {
            status: refusal.status(),
            text: refusal.to_string(),
            location: None,
        });
    }
    let (route, (request, _)) = (trace.route.as_ref()?, trace.request.as_ref()?);
    let answer = route.own_answer(request)?;
    Some(Own {
        status: answer.status(),
        text: answer.text().to_owned(),
        location: answer.field("Location").map(str::to_owned),
    })
}
