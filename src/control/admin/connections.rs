//! The live WebSockets: listed a page at a time, closed one by one.

use std::cmp::Reverse;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::Request;
use serde_json::{Value, json};
use tracing::info;

use crate::logic::reason::EndReason;
use crate::state::registry::{Live, SessionId};

use super::answer::Fault;
use super::{Admin, params};

/// Sessions on a page unless told otherwise.
const PAGE: usize = 100;
/// Most sessions on a page.
const MAX_PAGE: usize = 1000;

/// Lists the sessions that the query asks for, in the order of their ids.
pub(super) fn list<B>(admin: &Admin, request: &Request<B>) -> Result<Value, Fault> {
    let limit = parsed(request, "limit", "not a number from 1 to 1000", |text| {
        text.parse()
            .ok()
            .filter(|limit| (1..=MAX_PAGE).contains(limit))
    })?;
    let limit = limit.unwrap_or(PAGE);
    let after = parsed(
        request,
        "next",
        "not a \"next\" of an earlier page",
        session_id,
    )?;
    let filter = Filter::of(request)?;
    let sort = parsed(request, "sort", "none of age, messages, bytes", Sort::parse)?;
    if let Some(sort) = sort {
        let mut first = admin.shared.registry.select(|live| filter.admits(live));
        first.sort_by_cached_key(|live| sort.rank(live));
        first.truncate(limit);
        return Ok(page_of(&first, None));
    }
    let mut page = (admin.shared.registry).page(after, limit + 1, |live| filter.admits(live));
    let is_last = page.len() <= limit;
    page.truncate(limit);
    let next = page.last().filter(|_| !is_last);
    Ok(page_of(&page, next.map(|live| live.id)))
}

fn page_of(page: &[Arc<Live>], next: Option<SessionId>) -> Value {
    let connections: Vec<Value> = page.iter().map(|live| shown(live)).collect();
    json!({
        "connections": connections,
        "next": next.map(|id| id.to_string()),
    })
}

/// Closes one session.
pub(super) fn kill(admin: &Admin, id: &str) -> Result<Value, Fault> {
    let live = find(admin, id)?;
    info!(id, client = %live.client, "killed by the operator");
    live.order(EndReason::Killed);
    Ok(json!({ "killed": live.id.to_string() }))
}

/// The session of this id.
pub(super) fn find(admin: &Admin, id: &str) -> Result<Arc<Live>, Fault> {
    let live = session_id(id).and_then(|id| admin.shared.registry.find(id));
    live.ok_or_else(|| Fault::Unknown {
        kind: "connection",
        name: id.to_owned(),
    })
}

/// Who comes first, where it is not the lowest id. What it goes by moves on, so there is one page.
#[derive(Clone, Copy)]
enum Sort {
    Age,
    Messages,
    Bytes,
}

impl Sort {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "age" => Some(Self::Age),
            "messages" => Some(Self::Messages),
            "bytes" => Some(Self::Bytes),
            _ => None,
        }
    }

    /// The smaller, the further in front.
    fn rank(self, live: &Live) -> (Reverse<u64>, Instant) {
        let most = match self {
            Self::Age => 0,
            Self::Messages => live.messages().iter().sum(),
            Self::Bytes => live.bytes().iter().sum(),
        };
        (Reverse(most), live.opened)
    }
}

/// Which sessions are asked for; what is `None` does not matter.
struct Filter {
    route: Option<String>,
    upstream: Option<String>,
    server: Option<String>,
    client: Option<IpAddr>,
    user: Option<String>,
}

impl Filter {
    fn of<B>(request: &Request<B>) -> Result<Self, Fault> {
        let client = parsed(request, "client", "not an IP address", |text| {
            text.parse().ok()
        })?;
        Ok(Self {
            route: params::query(request, "route"),
            upstream: params::query(request, "upstream"),
            server: params::query(request, "server"),
            client: client.map(|client: IpAddr| client.to_canonical()),
            user: params::query(request, "user"),
        })
    }

    fn admits(&self, live: &Live) -> bool {
        let is = |wanted: &Option<String>, name: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == name)
        };
        let key = &live.server.key;
        is(&self.route, &live.route.settings.name)
            && is(&self.upstream, &key.upstream)
            && self
                .server
                .as_deref()
                .is_none_or(|wanted| is_server(live, wanted))
            && self.client.is_none_or(|client| client == live.client)
            && (self.user.is_none() || self.user.as_deref() == live.user.as_deref())
    }
}

/// `ADDRESS`, or `UPSTREAM/ADDRESS`.
fn is_server(live: &Live, wanted: &str) -> bool {
    let rest = wanted.strip_suffix(live.server.label.as_ref());
    let upstream = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    upstream.is_some_and(|name| name.is_empty() || *name == *live.server.key.upstream)
}

fn shown(live: &Live) -> Value {
    let [messages_to_backend, messages_to_client] = live.messages();
    let [bytes_to_backend, bytes_to_client] = live.bytes();
    json!({
        "id": live.id.to_string(),
        "route": &*live.route.settings.name,
        "upstream": &*live.server.key.upstream,
        "server": &*live.server.label,
        "client": live.client,
        "user": live.user.as_deref(),
        "age_seconds": live.opened.elapsed().as_secs(),
        "messages_to_backend": messages_to_backend,
        "messages_to_client": messages_to_client,
        "bytes_to_backend": bytes_to_backend,
        "bytes_to_client": bytes_to_client,
        "closing": live.is_ordered(),
    })
}

fn session_id(text: &str) -> Option<SessionId> {
    text.parse().ok().map(SessionId)
}

fn parsed<B, T>(
    request: &Request<B>,
    what: &'static str,
    rule: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Fault> {
    let Some(value) = params::query(request, what) else {
        return Ok(None);
    };
    match parse(&value) {
        None => Err(Fault::Parameter { what, value, rule }),
        some => Ok(some),
    }
}
