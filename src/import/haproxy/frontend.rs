//! Frontends, and the client side of `listen`, as listeners and routes.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::acl::{Acls, Match};
use super::address::{self, Address};
use super::proxy::Proxy;
use super::read::{Kind, Line};
use super::rules::{self, Rules};
use super::units::time;
use crate::import::draft::{Draft, Table, Value, free_name};
use crate::import::pattern::PathRule;
use crate::import::source::Place;
use crate::import::trust_nobody;

/// What every route of a file may refer to.
#[derive(Debug)]
pub struct Targets<'a> {
    /// Every proxy with servers by name.
    pub proxies: HashMap<&'a str, Proxy<'a>>,
    /// The upstreams among them that have a server in use, by their names here.
    pub upstreams: HashMap<&'a str, String>,
}

/// A listener that a frontend opened.
#[derive(Clone, Debug)]
struct Listener {
    name: String,
    tls: bool,
}

/// Writes a frontend's listeners and routes.
pub fn write(proxy: &Proxy<'_>, targets: &Targets<'_>, draft: &mut Draft) {
    let head = &proxy.section.head;
    let listeners = listeners(proxy, draft);
    if listeners.is_empty() {
        draft
            .findings
            .lost(&head.place, head.text(), "it listens nowhere");
        return;
    }
    if proxy.is_tcp() {
        let advice = "mode tcp: WebSockets and HTTP go on as before, other bytes are refused; TLS \
                      that the servers end needs a certificate here";
        draft.findings.differs(&head.place, head.text(), advice);
    }
    let own = proxy.own(&["acl"]);
    let acls = Acls::read(own);
    let mut writer = Routes {
        proxy,
        targets,
        listeners,
        rules: Rules::read(proxy, &acls, draft),
        draft,
    };
    writer.answers(&acls);
    writer.uses(&acls);
    writer.otherwise();
    writer.rules.tell(&mut writer.draft.findings);
}

/// Everything that a frontend's routes have in common.
struct Routes<'a, 'd> {
    proxy: &'a Proxy<'a>,
    targets: &'a Targets<'a>,
    listeners: Vec<Listener>,
    rules: Rules,
    draft: &'d mut Draft,
}

impl Routes<'_, '_> {
    /// Rules that answer by themselves, in the order in which HAProxy tries them.
    fn answers(&mut self, acls: &Acls<'_>) {
        let mut lines: Vec<&Line> = self.proxy.section.lines.iter().collect();
        lines.sort_by_key(|line| match line.word(0) {
            "monitor-uri" => 0,
            "http-request" => 1,
            _ => 2,
        });
        for line in lines {
            let action = match (line.word(0), line.word(1)) {
                ("redirect", "scheme") if line.word(2) == "https" => Some(("redirect", 0)),
                ("http-request", "redirect")
                    if line.begins(&["http-request", "redirect", "scheme", "https"]) =>
                {
                    Some(("redirect", 0))
                }
                ("http-request", "deny" | "reject") => {
                    Some(("respond", status(line, "deny_status").unwrap_or(403)))
                }
                ("http-request", "return") => {
                    Some(("respond", status(line, "status").unwrap_or(200)))
                }
                ("monitor-uri", _) => {
                    let path = PathRule::Exact(line.word(1).to_owned());
                    self.answer(
                        &Match {
                            paths: Some(vec![path]),
                            ..Match::default()
                        },
                        ("respond", 200),
                        line,
                    );
                    None
                }
                _ => None,
            };
            let Some(action) = action else { continue };
            match acls.condition(line) {
                Some(matches) => {
                    for found in matches {
                        self.answer(&found, action, line);
                    }
                }
                None => self.lost(line),
            }
        }
    }

    fn answer(&mut self, found: &Match, (key, status): (&'static str, u16), line: &Line) {
        if !found.sources.is_empty() {
            // Denials by address are on every route they concern; see `rules`.
            return;
        }
        if found.websocket.is_some() {
            return self.lost(line);
        }
        let mut found = found.clone();
        if key == "redirect" {
            // What came over https is there already.
            found.tls = Some(false);
        }
        for mut route in self.routes(&found, status >= 400, &line.place) {
            match key {
                "redirect" => route.set("redirect", "https", &line.place),
                _ => route.set("respond", Value::plain(status), &line.place),
            }
            self.draft.routes.push(route);
        }
    }

    /// `use_backend NAME if …`
    fn uses(&mut self, acls: &Acls<'_>) {
        let lines: Vec<&Line> = self.proxy.own(&["use_backend"]).collect();
        for line in lines {
            if line.word(1).contains("%[") {
                let advice = "the backend depends on the request; write a route for each";
                self.draft.findings.lost(&line.place, line.text(), advice);
                continue;
            }
            let Some(matches) = acls.condition(line) else {
                self.lost(line);
                continue;
            };
            for found in matches {
                self.send(&found, line.word(1), line);
            }
        }
    }

    /// `default_backend`, or the servers of a `listen`.
    fn otherwise(&mut self) {
        let everything = Match::default();
        let line = self.proxy.setting(&["default_backend"]);
        if let Some(line) = line {
            self.send(&everything, line.word(1), line);
        } else if self.proxy.section.kind == Kind::Listen {
            let name = self.proxy.name();
            let has_servers = self.proxy.own(&["server"]).next().is_some();
            if has_servers {
                self.send(&everything, name, &self.proxy.section.head);
            }
        }
    }

    fn send(&mut self, found: &Match, backend: &str, line: &Line) {
        if !found.sources.is_empty() || found.websocket == Some(false) {
            return self.lost(line);
        }
        if found.websocket == Some(true) && found.hosts.is_none() && found.paths.is_none() {
            let advice = "a route is chosen by host and path, not by what the request asks for; \
                          give WebSockets a path or a host of their own";
            self.draft.findings.lost(&line.place, line.text(), advice);
            return;
        }
        let refuses = self.rules.refuses(found);
        for mut route in self.routes(found, refuses, &line.place) {
            if found.websocket == Some(true) {
                let advice = "a plain request there gets 426; it went to another backend";
                self.draft
                    .findings
                    .differs(&line.place, line.text(), advice);
                route.set("accept", "websocket", &line.place);
            }
            self.target(found, backend, line, &mut route);
            self.draft.routes.push(route);
        }
    }

    fn target(&mut self, found: &Match, backend: &str, line: &Line, route: &mut Table) {
        let proxy = self.targets.proxies.get(backend);
        let Some(name) = self.targets.upstreams.get(backend) else {
            let answer = proxy.and_then(|proxy| {
                proxy
                    .own(&["http-request"])
                    .find_map(|line| match line.word(1) {
                        "return" => status(line, "status").or(Some(200)),
                        "deny" => status(line, "deny_status").or(Some(403)),
                        _ => None,
                    })
            });
            if proxy.is_none() {
                let advice = "there is no such backend; a route answers 503 in its place";
                self.draft.findings.lost(&line.place, line.text(), advice);
            }
            route.set("respond", Value::plain(answer.unwrap_or(503)), &line.place);
            return;
        };
        route.set("upstream", name.as_str(), &line.place);
        let Some(proxy) = proxy else { return };
        self.rules
            .write(found, proxy, route, &mut self.draft.findings);
        timeouts(self.proxy, proxy, route);
    }

    /// A route for each path of a match, on the listeners it fits.
    fn routes(&mut self, found: &Match, refuses: bool, place: &Place) -> Vec<Table> {
        let fits = |listener: &&Listener| found.tls.is_none_or(|tls| tls == listener.tls);
        let on: Vec<&str> = self
            .listeners
            .iter()
            .filter(fits)
            .map(|listener| listener.name.as_str())
            .collect();
        if on.is_empty() {
            return Vec::new();
        }
        let root = [PathRule::root()];
        let paths = found.paths.as_deref().unwrap_or(&root);
        let host = found.hosts.as_ref().and_then(|hosts| hosts.first());
        let title = host.map_or_else(|| self.proxy.name(), String::as_str);
        let mut routes: Vec<Table> = Vec::new();
        for path in paths {
            let mut route = Table::default();
            route.comment(format!("{}, {place}", self.proxy.section.head.text()));
            let names = |name: &str| {
                routes
                    .iter()
                    .any(|r: &Table| r.value("name") == Some(&name.into()))
            };
            let mut name = self.draft.route_name(title, path);
            while names(&name) {
                name.push('\'');
            }
            route.fix("name", name);
            match on.as_slice() {
                [one] => route.fix("listener", *one),
                several => route.fix("listener", Value::texts(several)),
            }
            if let Some(hosts) = &found.hosts {
                route.set("host", Value::texts(hosts), place);
            }
            if *path != PathRule::root() {
                route.set("path", path.to_string(), place);
            }
            if path.ends_inside_a_segment() && *path != PathRule::root() {
                let what = format!("path_beg {path}");
                let advice =
                    format!("takes whole segments: not what merely begins alike, such as {path}x");
                // What a refusal no longer covers is open.
                match refuses {
                    true => self.draft.findings.lost(place, what, advice),
                    false => self.draft.findings.differs(place, what, advice),
                }
            }
            routes.push(route);
        }
        routes
    }

    fn lost(&mut self, line: &Line) {
        let counts = |word: &String| word.starts_with("sc_") || word.starts_with("sc0_");
        let advice = match line.words.iter().any(counts) {
            true => rules::OF_ONE_CLIENT,
            false => "a route is chosen by listener, host and path; its access by address",
        };
        self.draft.findings.lost(&line.place, line.text(), advice);
    }
}

/// The number behind a word.
fn status(line: &Line, word: &str) -> Option<u16> {
    let number = line.after(word)?.parse().ok()?;
    (200..=599).contains(&number).then_some(number)
}

/// A tunnel's time is `timeout tunnel`, else the shorter of the two sides'.
fn timeouts(frontend: &Proxy<'_>, backend: &Proxy<'_>, route: &mut Table) {
    let of = |proxy: &Proxy<'_>, side: &str| {
        let (text, _) = proxy.value(&["timeout", side])?;
        time(text)
    };
    let place = |proxy: &Proxy<'_>, side: &str| {
        proxy
            .setting(&["timeout", side])
            .map(|line| line.place.clone())
    };
    let mut put = |table: &'static str, ours: &'static str, proxy: &Proxy<'_>, side: &str| {
        if let (Some(text), Some(place)) = (of(proxy, side), place(proxy, side)) {
            route.table(table).set(ours, text, &place);
        }
    };
    match of(backend, "tunnel") {
        Some(_) => put("websocket", "idle_timeout", backend, "tunnel"),
        None => put("websocket", "idle_timeout", backend, "server"),
    }
    put("http", "response_timeout", backend, "server");
    put("http", "body_timeout", frontend, "client");
    put("http", "send_timeout", frontend, "client");
}

/// One listener for binds that are spoken to alike.
fn listeners(proxy: &Proxy<'_>, draft: &mut Draft) -> Vec<Listener> {
    let mut binds: Vec<&Line> = proxy.own(&["bind"]).collect();
    if binds.is_empty() && proxy.section.head.words.len() > 2 {
        // listen NAME :80
        binds.push(&proxy.section.head);
    }
    let mut groups: Vec<(String, Vec<(String, &Line)>)> = Vec::new();
    for line in binds {
        let at = if line.word(0) == "bind" { 1 } else { 2 };
        let options = line.words.get(at + 1..).unwrap_or_default().join(" ");
        for text in line.word(at).split(',') {
            let Some(bind) = bindable(text) else {
                let advice = "write an IP address and one port";
                draft.findings.lost(&line.place, line.text(), advice);
                continue;
            };
            match groups.iter_mut().find(|(known, _)| *known == options) {
                Some((_, group)) => group.push((bind, line)),
                None => groups.push((options.clone(), vec![(bind, line)])),
            }
        }
    }
    groups
        .iter()
        .map(|(_, group)| listener(proxy, group, draft))
        .collect()
}

fn listener(proxy: &Proxy<'_>, binds: &[(String, &Line)], draft: &mut Draft) -> Listener {
    let line = binds[0].1;
    let tls = line.has("ssl");
    let taken = |name: &str| draft.listeners.iter().any(|(known, _)| known == name);
    let wanted = match taken(proxy.name()) && tls {
        true => format!("{}_tls", proxy.name()),
        false => proxy.name().to_owned(),
    };
    let name = free_name(&wanted, taken);
    let mut table = Table::default();
    table.comment(format!(
        "{}, {}",
        proxy.section.head.text(),
        proxy.section.head.place
    ));
    let bind = match binds {
        [(one, _)] => Value::Text(one.clone()),
        several => Value::texts(several.iter().map(|(bind, _)| bind)),
    };
    table.set("bind", bind, &line.place);
    if line.has("interface") {
        let advice = "a listener has addresses; bind the one of that interface";
        draft.findings.lost(&line.place, "bind … interface", advice);
    }
    if let Some(mode) = line.after("mode") {
        table.set("socket_mode", format!("0{mode}"), &line.place);
    }
    if ["user", "uid", "group", "gid"]
        .iter()
        .any(|word| line.has(word))
    {
        let advice = "a socket belongs to the process's user; see socket_mode";
        draft
            .findings
            .differs(&line.place, "bind … user or group", advice);
    }
    if line.has("accept-proxy") {
        table.set("proxy_protocol", "require", &line.place);
        let findings = &mut draft.findings;
        trust_nobody("bind … accept-proxy", &line.place, &mut table, findings);
    }
    for (theirs, ours) in [
        (["timeout", "http-request"], "header_timeout"),
        (["timeout", "http-keep-alive"], "keepalive_timeout"),
    ] {
        if let Some((text, line)) = proxy.value(&theirs)
            && let Some(text) = time(text)
        {
            table.set(ours, text, &line.place);
        }
    }
    if line.has("alpn") && line.after("alpn").is_some_and(|list| list.contains("h2")) {
        let advice = "clients are served over HTTP/1.1; they fall back to it by themselves";
        draft
            .findings
            .differs(&line.place, "bind … alpn h2", advice);
    }
    if tls {
        rules::tls(line, &mut table, &mut draft.findings);
    }
    draft.listeners.push((name.clone(), table));
    Listener { name, tls }
}

/// An address to listen on; a name is none.
fn bindable(text: &str) -> Option<String> {
    let (host, port) = match address::read(text)? {
        Address::Tcp(host, port) => (host, port),
        unix @ Address::Unix(_) => return Some(unix.to_string()),
    };
    let host = match host.as_str() {
        "" | "*" => "0.0.0.0",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let bind = format!("{host}:{port}");
    bind.parse::<SocketAddr>().is_ok().then_some(bind)
}
