//! What a frontend and a backend do to every request: fields, addresses, certificates.

use ipnet::IpNet;

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

/// In the place of stick tables that count.
pub const OF_ONE_CLIENT: &str = "bound what one client may take of a route: [route.limit] \
                                 connections_per_ip, handshakes_per_ip";

/// What a frontend's routes have in common.
#[derive(Debug, Default)]
pub struct Rules {
    fields: Fields,
    addresses: Vec<Refusal>,
}

/// A denial by address and the requests that it concerns.
#[derive(Clone, Debug)]
struct Refusal {
    scope: Match,
    /// Whether it turns away who comes from the networks, or everybody else.
    inside: bool,
    networks: Vec<IpNet>,
    line: Line,
    fate: Fate,
}

/// How far a denial has got into routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Into none.
    Unsaid,
    /// Into one that leaves others some of its requests.
    Begun,
    /// Into all that its requests can meet.
    Said,
    /// A route took some of its requests before without it.
    Missed,
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
        let concerned: Vec<&Refusal> = self
            .addresses
            .iter_mut()
            .filter_map(|refusal| refusal.meet(found).then_some(&*refusal))
            .collect();
        access::write(&in_order(&concerned, findings), route, findings);
    }

    /// Whether such requests are refused to anybody for their path.
    pub fn refuses(&self, found: &Match) -> bool {
        let same_paths = |refusal: &Refusal| refusal.scope.paths == found.paths;
        found.paths.is_some() && self.addresses.iter().any(same_paths)
    }

    /// Tells of refusals that no route is about.
    pub fn tell(&self, findings: &mut Findings) {
        let is_lost = |refusal: &&Refusal| matches!(refusal.fate, Fate::Unsaid | Fate::Missed);
        for refusal in self.addresses.iter().filter(is_lost) {
            let advice = "addresses are refused on a whole route: put it into the [route.access] of \
                          the routes that are meant";
            findings.lost(&refusal.line.place, refusal.line.text(), advice);
        }
    }

    /// `deny if { src … }`, `reject if !known`.
    fn deny(&mut self, line: &Line, acls: &Acls<'_>, findings: &mut Findings) {
        let denies = line.has("deny") || line.has("reject");
        let matches = acls.condition(line).unwrap_or_default();
        let by_address = |found: &Match| denies && !found.sources.is_empty();
        let is_said = !matches.is_empty() && matches.iter().all(by_address);
        // Letting in by address what is refused after it is an exception; else it refuses nobody.
        let is_idle = line.has("accept") && matches.iter().all(|found| found.sources.is_empty());
        if line.word(0) == "tcp-request" && !is_said && !is_idle {
            let advice = "only refusals by address can be said";
            findings.lost(&line.place, line.text(), advice);
        }
        // What denies for another reason is told where its answer is.
        for found in matches {
            if !by_address(&found) {
                continue;
            }
            let [(inside, networks)] = found.sources.as_slice() else {
                let advice = "one set of addresses is all that a refusal can have";
                findings.lost(&line.place, line.text(), advice);
                continue;
            };
            let mut scope = found.clone();
            scope.sources.clear();
            self.addresses.push(Refusal {
                scope,
                inside: *inside,
                networks: networks.clone(),
                line: line.clone(),
                fate: Fate::Unsaid,
            });
        }
    }
}

/// Each denial stands for itself, so that their order does not matter: those of networks first, then
/// the one that lets in a set and nobody else.
fn in_order(refusals: &[&Refusal], findings: &mut Findings) -> Vec<AddressRule> {
    let rule = |refusal: &Refusal, allows, network| AddressRule {
        allows,
        network,
        place: refusal.line.place.clone(),
    };
    let (inside, outside): (Vec<&Refusal>, Vec<&Refusal>) =
        refusals.iter().copied().partition(|refusal| refusal.inside);
    let mut rules = Vec::new();
    for refusal in inside {
        let each = refusal.networks.iter();
        rules.extend(each.map(|network| rule(refusal, false, Some(*network))));
    }
    for (i, refusal) in outside.into_iter().enumerate() {
        if i > 0 {
            let advice = "a route has one set of addresses that it lets in; write down those that \
                          are in both";
            findings.lost(&refusal.line.place, refusal.line.text(), advice);
            continue;
        }
        let each = refusal.networks.iter();
        rules.extend(each.map(|network| rule(refusal, true, Some(*network))));
        rules.push(rule(refusal, false, None));
    }
    rules
}

impl Refusal {
    /// Takes note of a route for such requests; says whether the route has to refuse them: all of
    /// them are the denial's.
    fn meet(&mut self, found: &Match) -> bool {
        let Match { hosts, paths, .. } = &self.scope;
        let has_all_hosts = hosts.is_none() || *hosts == found.hosts;
        let has_all_paths = paths.is_none() || *paths == found.paths;
        let concerns = has_all_hosts && has_all_paths && self.scope.websocket.is_none();
        let leaves_none = (found.hosts.is_none() || *hosts == found.hosts)
            && (found.paths.is_none() || *paths == found.paths)
            && found.tls.is_none();
        self.fate = match self.fate {
            Fate::Missed | Fate::Said => self.fate,
            _ if concerns && leaves_none => Fate::Said,
            _ if concerns => Fate::Begun,
            _ if self.scope.overlaps(found) => Fate::Missed,
            fate => fate,
        };
        concerns
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
            action if action.starts_with("track-sc") => {
                findings.lost(&line.place, line.text(), OF_ONE_CLIENT);
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
