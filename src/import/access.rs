//! Rules on addresses that another proxy tries in order, as the two sets of a route.

use std::net::IpAddr;

use ipnet::IpNet;

use super::draft::{Table, Value};
use super::finding::Findings;
use super::source::Place;

/// One rule of a list that is tried from the top.
#[derive(Clone, Debug)]
pub struct AddressRule {
    /// Whether it lets in.
    pub allows: bool,
    /// Whom it concerns; none is everybody.
    pub network: Option<IpNet>,
    /// Where it stands.
    pub place: Place,
}

/// A network as both proxies write it: `10.0.0.0/8`, or one address.
pub fn network(text: &str) -> Option<IpNet> {
    let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse().ok().or_else(address)
}

/// Writes the rules into `[route.access]`. There the first that fits decides, here a denied
/// network stays denied: an exception inside one can't be said.
pub fn write(rules: &[AddressRule], route: &mut Table, findings: &mut Findings) {
    let end = rules.iter().position(|rule| rule.network.is_none());
    let (rules, closing) = match end {
        Some(at) => (&rules[..at], Some(&rules[at])),
        None => (rules, None),
    };
    let refuses_others = closing.is_some_and(|rule| !rule.allows);
    let (mut allow, mut deny) = (Vec::new(), Vec::new());
    for (i, rule) in rules.iter().enumerate() {
        let Some(network) = rule.network else {
            continue;
        };
        let overlaps = |other: &AddressRule| {
            other
                .network
                .is_some_and(|other| other.contains(&network) || network.contains(&other))
        };
        if !rule.allows {
            let exception = rules[..i].iter().find(|rule| rule.allows && overlaps(rule));
            if let Some(exception) = exception {
                let advice = "who is in a denied network stays out, this exception too; deny the \
                              networks around it instead";
                findings.lost(
                    &exception.place,
                    format!("allow before deny {network}"),
                    advice,
                );
            }
            deny.push(network);
        } else if refuses_others {
            allow.push(network);
        }
    }
    let place = rules.first().or(closing).map(|rule| &rule.place);
    let Some(place) = place else { return };
    let access = route.table("access");
    if refuses_others && allow.is_empty() {
        // Nobody: the empty list would be everybody.
        access.set("deny", Value::texts(["0.0.0.0/0", "::/0"]), place);
        return;
    }
    if !allow.is_empty() {
        access.set("allow", Value::texts(allow), place);
    }
    if !deny.is_empty() {
        access.set("deny", Value::texts(deny), place);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::draft::Draft;
    use super::*;

    fn written(rules: &[(bool, &str)]) -> (String, bool) {
        let place = Place::of(Path::new("x"));
        let rules: Vec<_> = rules
            .iter()
            .map(|&(allows, text)| AddressRule {
                allows,
                network: network(text),
                place: place.clone(),
            })
            .collect();
        let mut draft = Draft::default();
        let mut route = Table::default();
        write(&rules, &mut route, &mut draft.findings);
        draft.routes.push(route);
        (draft.render(Path::new("x")), draft.findings.loses())
    }

    #[test]
    fn the_usual_lists_become_two_sets() {
        let (text, loses) = written(&[(true, "10.0.0.0/8"), (true, "::1"), (false, "all")]);
        assert!(
            text.contains(r#"allow = ["10.0.0.0/8", "::1/128"]"#) && !loses,
            "{text}"
        );
        let (text, loses) = written(&[(false, "192.0.2.1"), (true, "all")]);
        assert!(text.contains(r#"deny = ["192.0.2.1/32"]"#) && !text.contains("allow") && !loses);
        let (text, _) = written(&[(false, "10.1.0.0/16"), (true, "10.0.0.0/8"), (false, "all")]);
        assert!(text.contains(r#"allow = ["10.0.0.0/8"]"#), "{text}");
        assert!(text.contains(r#"deny = ["10.1.0.0/16"]"#), "{text}");
    }

    #[test]
    fn nobody_is_not_everybody() {
        let (text, _) = written(&[(false, "all")]);
        assert!(text.contains(r#"deny = ["0.0.0.0/0", "::/0"]"#), "{text}");
    }

    #[test]
    fn an_exception_inside_a_denied_network_stays_out_and_is_told() {
        let (text, loses) = written(&[(true, "10.0.0.1"), (false, "10.0.0.0/8")]);
        assert!(text.contains(r#"deny = ["10.0.0.0/8"]"#) && loses, "{text}");
    }
}
