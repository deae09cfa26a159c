//! `location` blocks, in the order in which nginx would choose among them.

use std::cmp::Reverse;

use crate::import::draft::Draft;
use crate::import::pattern::{PathRule, paths_of};
use crate::import::source::Place;

use super::read::Directive;
use super::scope::Scope;

/// How a location is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// `=`
    Exact,
    /// `^~`
    Final,
    /// `~` and `~*`
    Regex,
    /// No modifier.
    Prefix,
}

pub(super) struct Location<'a> {
    pub(super) order: Order,
    pub(super) paths: Vec<PathRule>,
    pub(super) scope: Scope<'a>,
    pub(super) place: &'a Place,
    pub(super) text: String,
}

/// The locations of a site and those inside them, the one to try first at the front.
pub(super) fn locations<'a>(site: &Scope<'a>, draft: &mut Draft) -> Vec<Location<'a>> {
    let mut found = Vec::new();
    gather(site, &mut found, draft);
    let rank = |location: &Location<'_>| match location.order {
        Order::Exact => 0,
        Order::Final => 1,
        Order::Regex => 2,
        Order::Prefix => 3,
    };
    let length = |location: &Location<'_>| match location.order {
        Order::Exact | Order::Regex => Reverse(0),
        Order::Final | Order::Prefix => {
            let fixed = |path: &PathRule| path.fixes().len();
            Reverse(location.paths.first().map_or(0, fixed))
        }
    };
    found.sort_by_key(|location| (rank(location), length(location)));
    found
}

fn gather<'a>(scope: &Scope<'a>, found: &mut Vec<Location<'a>>, draft: &mut Draft) {
    let blocks = scope.block().iter().filter(|d| d.name == "location");
    for directive in blocks {
        let inner = scope.inner(&directive.block);
        gather(&inner, found, draft);
        let text = directive.text();
        let place = &directive.place;
        let Some((order, paths)) = chosen_by(directive) else {
            let advice = "only expressions that stand for fixed paths can be said; write down \
                          the paths that are meant";
            draft.findings.lost(place, &text, advice);
            continue;
        };
        if paths.iter().any(|path| !path.is_possible()) {
            draft
                .findings
                .lost(place, &text, "no request can have this path");
            continue;
        }
        // What a refusal no longer covers is open; anything else is merely found elsewhere.
        let refuses = refuses(&inner);
        let mut narrows = |advice: &str| match refuses {
            true => draft.findings.lost(place, &text, advice),
            false => draft.findings.differs(place, &text, advice),
        };
        for path in paths.iter().filter(|path| path.ends_inside_a_segment()) {
            narrows(&format!(
                "takes whole segments: not what merely begins alike, such as {path}x"
            ));
        }
        if text.contains("~*") {
            narrows("paths are compared with their case");
        }
        if let ("", Some(PathRule::Prefix(path))) = (directive.arg(1), paths.first())
            && let Some(bare) = path.strip_suffix('/').filter(|bare| !bare.is_empty())
        {
            let advice = format!("nginx sends {bare} on to {path}; here it is another path");
            draft.findings.differs(place, &text, advice);
        }
        found.push(Location {
            order,
            paths,
            scope: inner,
            place,
            text,
        });
    }
}

/// Whether a location turns anybody away.
fn refuses(location: &Scope<'_>) -> bool {
    let answers = location.block().iter().filter(|d| d.name == "return");
    let mut refusals = answers.filter(|d| d.arg(0).starts_with('4'));
    !location.either(&["allow", "deny"]).is_empty() || refusals.next().is_some()
}

fn chosen_by(location: &Directive) -> Option<(Order, Vec<PathRule>)> {
    let prefix = |path: &str| vec![PathRule::Prefix(path.to_owned())];
    match (location.arg(0), location.arg(1)) {
        ("=", path) => Some((Order::Exact, vec![PathRule::Exact(path.to_owned())])),
        ("^~", path) => Some((Order::Final, prefix(path))),
        ("~" | "~*", regex) => Some((Order::Regex, paths_of(regex)?)),
        (path, "") if path.starts_with('/') => Some((Order::Prefix, prefix(path))),
        _ => None,
    }
}
