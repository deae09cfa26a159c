//! What is told of a request: every check with its verdict, and the selection of a server.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::{self, Config};
use crate::logic::check::Check;
use crate::logic::request::Request;
use crate::state::snapshot::Methods;

use super::dry_run::DryRun;
use super::listener::ListenerMatch;
use super::sample_request::SampleRequest;
use super::selection::Selection;

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
    /// The selection of a server, where that answers it.
    pub(super) upstream: Option<Selection>,
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
        sample: &SampleRequest,
        matched: &ListenerMatch,
    ) -> Result<Self, toml::de::Error> {
        let dry_run = DryRun::of(config, methods, sample, matched);
        let settings = settings(config, matched, &dry_run)?;
        let checks = Check::ALL.map(|check| met(check, &dry_run, &settings));
        let client = dry_run.request.as_ref().map(|(_, client)| client.address);
        Ok(Self {
            listener: matched.listener.name.to_string(),
            listener_why: matched.why.clone(),
            client: client.unwrap_or(sample.peer),
            route: dry_run.route.as_ref().map(|route| route.name.to_string()),
            routes: (dry_run.tried.iter())
                .map(|(name, mismatch)| Tried {
                    name: name.to_string(),
                    mismatch: mismatch.clone(),
                })
                .collect(),
            checks: checks.into(),
            answer: answer(&dry_run),
            upstream: Selection::of(config, &dry_run, matched.port(sample), &settings),
            settings,
        })
    }
}

/// What of the effective configuration applies.
fn settings(
    config: &Config,
    matched: &ListenerMatch,
    dry_run: &DryRun,
) -> Result<Value, toml::de::Error> {
    let route = dry_run.route.as_ref();
    let upstream = route
        .filter(|_| dry_run.refusal.is_none())
        .and_then(|route| route.upstream());
    let all = config::effective(&Config {
        listeners: vec![Arc::clone(&matched.listener)],
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
        route.remove(if dry_run.is_websocket() {
            "http"
        } else {
            "websocket"
        });
    }
    let upstream = upstream.map(|upstream| &all["upstream"][&**upstream]);
    Ok(json!({
        "listener": all["listener"][&*matched.listener.name],
        "route": route,
        "upstream": upstream,
    }))
}

fn met(check: Check, dry_run: &DryRun, settings: &Value) -> Met {
    let verdict = verdict(check, dry_run);
    let why = match (verdict, &dry_run.refusal) {
        (Verdict::Refused, Some(refusal)) => match why(check, dry_run, settings) {
            facts if facts.is_empty() => refusal.to_string(),
            facts => format!("{refusal}: {facts}"),
        },
        (Verdict::Passed | Verdict::AtRunTime, _) => why(check, dry_run, settings),
        _ => String::new(),
    };
    Met {
        check: check.word(),
        verdict,
        why,
    }
}

fn verdict(check: Check, dry_run: &DryRun) -> Verdict {
    if let Some(refused) = dry_run.refusal.as_ref().map(Check::of) {
        if check == refused {
            return Verdict::Refused;
        }
        if check > refused {
            return Verdict::NotReached;
        }
    }
    let is_proxied = dry_run
        .route
        .as_ref()
        .is_none_or(|route| route.upstream().is_some());
    match check {
        Check::Syntax | Check::Path | Check::Route | Check::Address => Verdict::Passed,
        Check::Token if !dry_run.asks_for_token() => Verdict::NotAsked,
        Check::Token => Verdict::Passed,
        _ if !is_proxied => Verdict::NotAsked,
        Check::Origin | Check::Method | Check::Version | Check::Key if !dry_run.is_websocket() => {
            Verdict::NotAsked
        }
        Check::Limits | Check::Server => Verdict::AtRunTime,
        _ => Verdict::Passed,
    }
}

/// What a check holds against what.
fn why(check: Check, dry_run: &DryRun, settings: &Value) -> String {
    let Some((request, client)) = &dry_run.request else {
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
            (dry_run.route.as_ref()).map_or_else(String::new, |route| route.name.to_string())
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
        Check::Token if !dry_run.asks_for_token() => String::new(),
        Check::Token => {
            let user = dry_run.identity.user.as_deref();
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

fn answer(dry_run: &DryRun) -> Option<Own> {
    if let Some(refusal) = &dry_run.refusal {
        return Some(Own {
            status: refusal.status(),
            text: refusal.to_string(),
            location: None,
        });
    }
    let (route, (request, _)) = (dry_run.route.as_ref()?, dry_run.request.as_ref()?);
    let answer = route.own_answer(request)?;
    Some(Own {
        status: answer.status(),
        text: answer.text().to_owned(),
        location: answer.field("Location").map(str::to_owned),
    })
}
