//! Routes out of the locations of a site.

use crate::import::draft::{Draft, Table, Value};
use crate::import::pattern::PathRule;
use crate::import::source::Place;

use super::directives;
use super::header;
use super::http::Http;
use super::listener::Listener;
use super::location::{Location, locations};
use super::read::Directive;
use super::route_settings::{access, is_to_https, respond, rewrite, timeouts};
use super::scope::Scope;
use super::site::Site;
use super::target::{Pass, Targets};
use super::units;

/// The hosts of a site's turn; none is any.
#[derive(Clone, Debug)]
pub struct Hosts(pub Vec<String>);

/// Writes routes.
#[derive(Debug)]
pub struct Routes<'h> {
    http: &'h Http<'h>,
    targets: Targets,
}

/// Where a turn's routes belong.
struct Turn<'a> {
    site: &'a Site<'a>,
    hosts: &'a [String],
    /// Listeners by name; none is all.
    listeners: Vec<&'a str>,
    has_plain: Vec<&'a str>,
}

impl<'h> Routes<'h> {
    /// None yet.
    pub fn new(http: &'h Http<'h>) -> Self {
        Self {
            http,
            targets: Targets::default(),
        }
    }

    /// Writes the routes of a site for some of its hosts, on some of its listeners.
    pub fn write_site(
        &mut self,
        site: &Site<'_>,
        hosts: Hosts,
        on: &[&Listener],
        listeners: usize,
        draft: &mut Draft,
    ) {
        let plain = on.iter().filter(|listener| !listener.tls);
        let turn = Turn {
            site,
            hosts: &hosts.0,
            listeners: match on.len() == listeners {
                true => Vec::new(),
                false => on.iter().map(|listener| listener.name.as_str()).collect(),
            },
            has_plain: plain.map(|listener| listener.name.as_str()).collect(),
        };
        directives::tell(site.scope.block(), &mut draft.findings);
        redirects(&turn, draft);
        for rewrite in site.scope.block().iter().filter(|d| d.name == "rewrite") {
            let advice = "`rewrite` is a route's; put it into the locations that are meant";
            draft.findings.lost(&rewrite.place, rewrite.text(), advice);
        }
        if let Some(answer) = site.scope.block().iter().find(|d| d.name == "return") {
            // Of the site itself: before any location.
            let mut route = turn.route(&PathRule::root(), &answer.place, draft);
            respond(answer, &mut route, draft);
            draft.routes.push(route);
            return;
        }
        for location in locations(&site.scope, draft) {
            for path in &location.paths {
                self.write_location(&turn, &location, path, draft);
            }
        }
    }

    /// An upstream that no location names is carried over all the same.
    pub fn write_unused(&self, name: &str, draft: &mut Draft) {
        let taken = |known: &str| draft.upstreams.iter().any(|(name, _)| name == known);
        if let Some(table) = self.http.upstreams.get(name)
            && !self.targets.uses(name)
        {
            let name = crate::import::draft::free_name(name, taken);
            draft.upstreams.push((name, table.clone()));
        }
    }

    fn write_location(
        &mut self,
        turn: &Turn<'_>,
        location: &Location<'_>,
        path: &PathRule,
        draft: &mut Draft,
    ) {
        let mut route = turn.route(path, location.place, draft);
        let scope = &location.scope;
        let of = |name: &str| scope.block().iter().find(|d| d.name == name);
        directives::tell(scope.block(), &mut draft.findings);
        for condition in scope.block().iter().filter(|d| d.name == "if") {
            let findings = &mut draft.findings;
            findings.lost(&condition.place, condition.text(), CONDITION);
        }
        if let Some(internal) = of("internal") {
            // Only nginx itself sent requests there.
            route.set("respond", Value::plain(404), &internal.place);
        } else if let Some(answer) = of("return") {
            respond(answer, &mut route, draft);
        } else if let Some(guard) = lost_guard(scope) {
            // Without its guard it would be open to everybody.
            route.comment("its guard is not to be had here: 403 until there is another");
            route.set("respond", Value::plain(403), &guard.place);
            let advice = "who may come in is asked of nobody any more, so a route answers 403";
            draft.findings.lost(&guard.place, guard.text(), advice);
        } else if let Some(directive) = of("proxy_pass") {
            self.pass(directive, location, path, &mut route, draft);
        } else {
            // Without a route of its own a less exact one would take its requests.
            route
                .comment("nothing of it is carried over: 404 keeps its requests from other routes");
            route.set("respond", Value::plain(404), location.place);
            let advice = "what it does is not to be had here; a route answers 404 in its place";
            draft.findings.lost(location.place, &location.text, advice);
        }
        access(scope, &mut route, draft);
        draft.routes.push(route);
    }

    fn pass(
        &mut self,
        directive: &Directive,
        location: &Location<'_>,
        path: &PathRule,
        route: &mut Table,
        draft: &mut Draft,
    ) {
        let scope = &location.scope;
        let Some(pass) = Pass::read(directive) else {
            let advice = "the server depends on the request; write a route for each that is meant";
            draft
                .findings
                .lost(&directive.place, directive.text(), advice);
            route.set("respond", Value::plain(502), &directive.place);
            return;
        };
        match self.targets.name(self.http, &pass, scope, directive, draft) {
            Some(name) => route.set("upstream", name, &directive.place),
            None => {
                route.set("respond", Value::plain(503), &directive.place);
                return;
            }
        }
        if let Some(new) = pass.path {
            let same = matches!(path, PathRule::Prefix(old) if old == new);
            match new {
                new if new.contains('?') => {
                    let advice = "a query can't be put in";
                    draft
                        .findings
                        .lost(&directive.place, directive.text(), advice);
                }
                new if !same => route.set("rewrite", new, &directive.place),
                _ => {}
            }
        }
        rewrite(scope, path, route, draft);
        let host = match pass.authority.starts_with("unix:") {
            true => "localhost",
            false => pass.authority,
        };
        header::write(scope, host, &directive.place, route, &mut draft.findings);
        timeouts(scope, route);
        self.limits(scope, route, draft);
    }

    fn limits(&self, scope: &Scope<'_>, route: &mut Table, draft: &mut Draft) {
        for limit in scope.either(&["limit_conn", "limit_req"]) {
            let zone = match limit.name.as_str() {
                "limit_conn" => limit.arg(0),
                _ => limit.parameter("zone").unwrap_or_default(),
            };
            let zone = self.http.zones.get(zone);
            let key = zone.map_or("", |zone| zone.arg(0));
            let by_address = ["$binary_remote_addr", "$remote_addr"].contains(&key);
            let of_all = ["$server_name", "$host", "$http_host"].contains(&key);
            match (limit.name.as_str(), limit.arg(1).parse::<u32>()) {
                ("limit_conn", Ok(count)) if by_address => {
                    let limit_table = route.table("limit");
                    limit_table.set("connections_per_ip", Value::plain(count), &limit.place);
                }
                ("limit_conn", Ok(count)) if of_all => {
                    let limit_table = route.table("limit");
                    limit_table.set("max_connections", Value::plain(count), &limit.place);
                }
                ("limit_req", _) if by_address => {
                    let rate = zone.and_then(|zone| units::per_second(zone.parameter("rate")?));
                    let Some(rate) = rate.filter(|rate| *rate > 0) else {
                        let advice = "a rate is whole requests a second";
                        draft.findings.lost(&limit.place, limit.text(), advice);
                        continue;
                    };
                    let text = match limit.parameter("burst") {
                        Some(burst) => format!("{rate}/s burst {burst}"),
                        None => format!("{rate}/s"),
                    };
                    route
                        .table("limit")
                        .set("handshakes_per_ip", text, &limit.place);
                    let advice = "counts WebSocket handshakes, not plain requests; 429 beyond";
                    draft.findings.differs(&limit.place, limit.text(), advice);
                }
                _ => {
                    let advice = "limits are by the client's address, or of the whole route";
                    draft.findings.lost(&limit.place, limit.text(), advice);
                }
            }
        }
    }
}

const CONDITION: &str = "there are no conditions; say it with routes";

impl Turn<'_> {
    /// A route of this turn, which does nothing yet.
    fn route(&self, path: &PathRule, place: &Place, draft: &Draft) -> Table {
        let mut route = Table::default();
        route.comment(format!("server {}, {place}", self.site.title()));
        route.fix("name", draft.route_name(self.site.title(), path));
        self.listen(&mut route, &self.listeners);
        match self.hosts {
            [] => {}
            hosts => route.set("host", Value::texts(hosts), self.site.place),
        }
        if *path != PathRule::root() {
            route.set("path", path.to_string(), place);
        }
        route
    }

    fn listen(&self, route: &mut Table, names: &[&str]) {
        match names {
            [] => {}
            [one] => route.set("listener", *one, self.site.place),
            several => route.set("listener", Value::texts(several), self.site.place),
        }
    }
}

/// `if ($scheme = http) { return 301 https://… }`, and what certbot writes.
fn redirects(turn: &Turn<'_>, draft: &mut Draft) {
    for condition in turn.site.scope.block().iter().filter(|d| d.name == "if") {
        let text = condition.args.join(" ");
        let words: Vec<&str> = text.trim_matches(['(', ')']).split_whitespace().collect();
        let answer = condition.block.iter().find(|d| d.name == "return");
        let to_https = answer.is_some_and(is_to_https);
        let hosts = match words.as_slice() {
            ["$scheme", "=", "http"] | ["$scheme", "!=", "https"] | ["$https", "=", ""]
                if to_https =>
            {
                Vec::new()
            }
            ["$host" | "$http_host", "=", host] if to_https => vec![*host],
            _ => {
                let findings = &mut draft.findings;
                findings.lost(&condition.place, condition.text(), CONDITION);
                continue;
            }
        };
        if turn.has_plain.is_empty() {
            continue;
        }
        let mut route = turn.route(&PathRule::root(), &condition.place, draft);
        turn.listen(&mut route, &turn.has_plain);
        if !hosts.is_empty() {
            route.set("host", Value::texts(hosts), &condition.place);
        }
        route.set("redirect", "https", &condition.place);
        draft.routes.push(route);
    }
}

/// What decides who may come in, where that can't be said here.
fn lost_guard<'a>(scope: &Scope<'a>) -> Option<&'a Directive> {
    const GUARDS: [&str; 6] = [
        "auth_basic",
        "auth_request",
        "auth_jwt",
        "limit_except",
        "secure_link",
        "valid_referers",
    ];
    let in_force = GUARDS.iter().find_map(|name| scope.one(name));
    let guard = in_force.filter(|guard| guard.arg(0) != "off");
    let refuses = |d: &&Directive| {
        let mut answers = d.block.iter().filter(|inner| inner.name == "return");
        d.name == "if" && answers.any(|answer| answer.arg(0).starts_with('4'))
    };
    guard.or_else(|| scope.block().iter().find(refuses))
}
