//! What a location's directives become on its route.

use crate::import::access::{self, AddressRule};
use crate::import::draft::{Draft, Table, Value};
use crate::import::pattern::PathRule;

use super::read::Directive;
use super::scope::Scope;
use super::units;

/// `return`: an answer of the proxy's own.
pub(super) fn respond(answer: &Directive, route: &mut Table, draft: &mut Draft) {
    let place = &answer.place;
    if is_to_https(answer) {
        route.set("redirect", "https", place);
        return;
    }
    let status = answer.arg(0).parse::<u16>().ok();
    let status = match status {
        Some(444) => {
            draft
                .findings
                .differs(place, answer.text(), "answered with 404, not with silence");
            404
        }
        Some(status @ (200..=299 | 400..=599)) => {
            if !answer.arg(1).is_empty() {
                let advice = "the text of an answer is its status's own";
                draft.findings.differs(place, answer.text(), advice);
            }
            status
        }
        _ => {
            let advice = "only a redirect to the same address over https can be said; \
                          a route answers 404 in its place";
            draft.findings.lost(place, answer.text(), advice);
            404
        }
    };
    route.set("respond", Value::plain(status), place);
}

/// Whether it sends the client to the same address over https.
pub(super) fn is_to_https(answer: &Directive) -> bool {
    let url = match answer.arg(1) {
        "" => answer.arg(0),
        url => url,
    };
    let hosts = ["$host", "$http_host", "$server_name"];
    let rests = ["$request_uri", "$uri", "$uri$is_args$args"];
    url.strip_prefix("https://").is_some_and(|rest| {
        hosts.iter().any(|host| {
            rest.strip_prefix(host)
                .is_some_and(|rest| rests.contains(&rest))
        })
    })
}

/// `rewrite ^/ws/(.*)$ /$1 break;`, which replaces the location's own prefix.
pub(super) fn rewrite(scope: &Scope<'_>, path: &PathRule, route: &mut Table, draft: &mut Draft) {
    for directive in scope.block().iter().filter(|d| d.name == "rewrite") {
        let PathRule::Prefix(own) = path else {
            continue;
        };
        let from = directive.arg(0).strip_prefix('^');
        let from = from.and_then(|from| {
            let tails = ["/?(.*)$", "/(.*)$", "(.*)$", "/?(.*)", "/(.*)", "(.*)"];
            tails.iter().find_map(|tail| from.strip_suffix(tail))
        });
        let to = directive.arg(1).strip_suffix("$1");
        match (from, to) {
            (Some(from), Some(to)) if from.trim_end_matches('/') == own.trim_end_matches('/') => {
                let to = if to.is_empty() { "/" } else { to };
                route.set("rewrite", to, &directive.place);
            }
            _ => {
                let advice = "`rewrite` replaces what `path` matched, and nothing else";
                draft
                    .findings
                    .lost(&directive.place, directive.text(), advice);
            }
        }
    }
}

pub(super) fn timeouts(scope: &Scope<'_>, route: &mut Table) {
    let mut put = |table: &'static str, ours: &'static str, theirs: &str| {
        if let Some((time, directive)) = scope.arg(theirs)
            && let Some(time) = units::time(time)
        {
            route.table(table).set(ours, time, &directive.place);
        }
    };
    put("websocket", "idle_timeout", "proxy_read_timeout");
    put("http", "response_timeout", "proxy_read_timeout");
    put("http", "body_timeout", "client_body_timeout");
    put("http", "send_timeout", "send_timeout");
    if let Some((size, directive)) = scope.arg("client_max_body_size")
        && let Some(bytes) = units::bytes(size)
    {
        let value = match bytes {
            0 => Value::from("off"),
            bytes => Value::plain(bytes),
        };
        route.table("http").set("max_body", value, &directive.place);
    }
}

pub(super) fn access(scope: &Scope<'_>, route: &mut Table, draft: &mut Draft) {
    let rules = scope.either(&["allow", "deny"]);
    let mut read = Vec::new();
    for rule in rules {
        let network = match rule.arg(0) {
            "all" => None,
            "unix:" if rule.name == "allow" => continue,
            text => match access::network(text) {
                Some(network) => Some(network),
                None => {
                    draft
                        .findings
                        .lost(&rule.place, rule.text(), "not a network");
                    continue;
                }
            },
        };
        read.push(AddressRule {
            allows: rule.name == "allow",
            network,
            place: rule.place.clone(),
        });
    }
    access::write(&read, route, &mut draft.findings);
}
