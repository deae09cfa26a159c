//! What a frontend and a backend do to every request: fields, addresses, certificates.

use super::acl::{Acls, Match};
use super::proxy::Proxy;
use super::read::Line;
use crate::import::access::{self, AddressRule};
use crate::import::draft::{Draft, Table, Value};
use crate::import::finding::Findings;

/// Fields that every request carries to a server here.
const OURS: [&str; 5] = [
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// What a frontend's routes have in common.
#[derive(Debug, Default)]
pub struct Rules {
    fields: Fields,
    addresses: Vec<Refusal>,
}

/// A rule on addresses and the requests that it concerns.
#[derive(Clone, Debug)]
struct Refusal {
    scope: Match,
    rule: AddressRule,
    line: Line,
    is_written: bool,
}

#[derive(Clone, Debug, Default)]
struct Fields {
    set: Vec<(String, Value)>,
    remove: Vec<String>,
    from: Option<Line>,
}

impl Rules {
    /// Reads them; what has an answer of its own is a route's matter.
    pub fn read(frontend: &Proxy<'_>, acls: &Acls<'_>, draft: &mut Draft) -> Self {
        let mut rules = Self::default();
        for line in &frontend.section.lines {
            match (line.word(0), line.word(1)) {
                ("http-request", "deny" | "reject") | ("tcp-request", "connection" | "content") => {
                    rules.deny(line, acls, &mut draft.findings);
                }
                ("http-request", "allow") => {
                    let advice = "say it the other way round: http-request deny";
                    draft.findings.lost(&line.place, line.text(), advice);
                }
                ("http-request", _) => rules.fields.read(line, &mut draft.findings),
                ("tcp-request", "inspect-delay") => {}
                ("redirect", "scheme") => {}
                ("redirect" | "tcp-request", _) => {
                    let advice = "only a redirect to https, and refusals by address, can be said";
                    draft.findings.lost(&line.place, line.text(), advice);
                }
                ("maxconn", _) => {
                    let advice = "a frontend has no maximum; see server.max_connections and \
                                  route.limit.max_connections";
                    draft.findings.differs(&line.place, line.text(), advice);
                }
                _ => {}
            }
        }
        rules
    }

    /// Writes them into a route for such requests to this backend, whose own fields come last.
    pub fn write(
        &mut self,
        found: &Match,
        backend: &Proxy<'_>,
        route: &mut Table,
        findings: &mut Findings,
    ) {
        let mut fields = self.fields.clone();
        for line in backend.own(&["http-request"]) {
            fields.read(line, findings);
        }
        if let Some(from) = &fields.from {
            let headers = route.table("headers");
            if !fields.set.is_empty() {
                headers.set("set", Value::Inline(fields.set.clone()), &from.place);
            }
            if !fields.remove.is_empty() {
                headers.set("remove", Value::texts(&fields.remove), &from.place);
            }
        }
        let concerned = self.addresses.iter_mut().filter(|r| r.concerns(found));
        let rules: Vec<AddressRule> = concerned
            .map(|refusal| {
                refusal.is_written = true;
                refusal.rule.clone()
            })
            .collect();
        access::write(&rules, route, findings);
    }

    /// Tells of refusals that no route is about.
    pub fn tell(&self, findings: &mut Findings) {
        for refusal in self.addresses.iter().filter(|refusal| !refusal.is_written) {
            let advice = "addresses are refused on a whole route: put it into the [route.access] of \
                          the routes that are meant";
            findings.lost(&refusal.line.place, refusal.line.text(), advice);
        }
    }

    /// `deny if { src … }`, `reject if !known`.
    fn deny(&mut self, line: &Line, acls: &Acls<'_>, findings: &mut Findings) {
        let denies = line.has("deny") || line.has("reject");
        let Some(matches) = acls.condition(line) else {
            if line.word(0) == "tcp-request" {
                let advice = "only refusals by address can be said";
                findings.lost(&line.place, line.text(), advice);
            }
            // A denial's condition is told where its answer is.
            return;
        };
        for found in matches {
            if !denies || found.sources.is_empty() {
                continue;
            }
            let [(inside, networks)] = found.sources.as_slice() else {
                let advice = "one set of addresses is all that a refusal can have";
                findings.lost(&line.place, line.text(), advice);
                continue;
            };
            let mut scope = found.clone();
            scope.sources.clear();
            let refusal = |allows, network| Refusal {
                scope: scope.clone(),
                rule: AddressRule {
                    allows,
                    network,
                    place: line.place.clone(),
                },
                line: line.clone(),
                is_written: false,
            };
            let each = networks
                .iter()
                .map(|network| refusal(!inside, Some(*network)));
            self.addresses.extend(each);
            // Refusing those outside a set is letting in the set and nobody else.
            if !inside {
                self.addresses.push(refusal(false, None));
            }
        }
    }
}

impl Refusal {
    /// Whether it is about every request, or about just these.
    fn concerns(&self, found: &Match) -> bool {
        let Match { hosts, paths, .. } = &self.scope;
        let same_hosts = hosts.is_none() || *hosts == found.hosts;
        let same_paths = paths.is_none() || *paths == found.paths;
        same_hosts && same_paths && self.scope.websocket.is_none()
    }
}

impl Fields {
    fn read(&mut self, line: &Line, findings: &mut Findings) {
        let (action, name, value) = (line.word(1), line.word(2), line.word(3));
        let lower = name.to_ascii_lowercase();
        let is_ours = OURS.contains(&lower.as_str());
        let unconditional = !line.has("if") && !line.has("unless");
        match action {
            "set-header" | "add-header" if is_ours => {}
            "set-header" | "add-header" if unconditional && !value.contains('%') => {
                self.set.push((name.to_owned(), value.into()));
                self.from = Some(line.clone());
            }
            "del-header" if unconditional && lower != "host" => {
                if !is_ours {
                    self.remove.push(name.to_owned());
                    self.from = Some(line.clone());
                }
            }
            "deny" | "return" | "reject" => {}
            "redirect" if line.begins(&["http-request", "redirect", "scheme", "https"]) => {}
            "use-service" => {
                let advice = "figures are at the admin address: /metrics";
                findings.differs(&line.place, line.text(), advice);
            }
            _ => {
                let advice = "a route sets or removes fields with fixed values, always";
                findings.lost(&line.place, line.text(), advice);
            }
        }
    }
}

/// `[listener.NAME.tls]` of a bind.
pub fn tls(line: &Line, listener: &mut Table, findings: &mut Findings) {
    let tls = listener.table("tls");
    let mut pairs = Vec::new();
    let files = line
        .words
        .windows(2)
        .filter(|pair| pair[0] == "crt")
        .map(|pair| pair[1].as_str());
    for file in files {
        if file.ends_with('/') {
            let advice = "a directory is not read; list its files";
            findings.lost(&line.place, format!("crt {file}"), advice);
        }
        // One file with both, as HAProxy has it, is read for both.
        let pair = ["cert", "key"].map(|key| (key.to_owned(), Value::from(file)));
        pairs.push((Value::Inline(pair.to_vec()), line.place.clone()));
    }
    if line.has("crt-list") {
        findings.lost(&line.place, "crt-list", "list the certificates");
    }
    tls.set("certificates", Value::Lines(pairs), &line.place);
    if line.after("ssl-min-ver") == Some("TLSv1.3") {
        tls.set("min_version", "1.3", &line.place);
    }
    match line.after("verify") {
        Some("required") => tls.set("client_auth", "require", &line.place),
        Some("optional") => tls.set("client_auth", "optional", &line.place),
        _ => return,
    }
    for (theirs, ours) in [("ca-file", "client_ca"), ("crl-file", "client_crl")] {
        if let Some(file) = line.after(theirs) {
            tls.set(ours, file, &line.place);
        }
    }
}
