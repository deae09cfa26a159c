//! ACLs and conditions, as the hosts, paths and addresses of routes.

use std::collections::HashMap;

use ipnet::IpNet;

use super::read::Line;
use crate::import::access::network;
use crate::import::pattern::{PathRule, paths_of};
use crate::logic::route::HostPattern;

/// Most alternatives of one condition.
const MAX_ALTERNATIVES: usize = 64;

/// One thing that is asked of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Test {
    /// Its host is one of these.
    Host(Vec<String>),
    /// Its path is one of these.
    Path(Vec<PathRule>),
    /// It comes from one of these.
    Source(Vec<IpNet>),
    /// It came over TLS.
    Tls,
    /// It asks for a WebSocket.
    WebSocket,
    /// Nothing is asked.
    Always,
}

/// A request that a condition lets through: everything that is asked of it at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Its hosts; none is any.
    pub hosts: Option<Vec<String>>,
    /// Its paths; none is any.
    pub paths: Option<Vec<PathRule>>,
    /// Where it comes from, and whether it must or must not.
    pub sources: Vec<(bool, Vec<IpNet>)>,
    /// Whether it came over TLS.
    pub tls: Option<bool>,
    /// Whether it asks for a WebSocket.
    pub websocket: Option<bool>,
}

impl Match {
    /// Whether a request may be both; where that takes a closer look, it may.
    pub fn overlaps(&self, other: &Self) -> bool {
        let meets = |a: &String, b: &String| a == b || a.contains('*') || b.contains('*');
        let begins = |a: &PathRule, b: &PathRule| a.fixes().starts_with(b.fixes());
        may_share(self.hosts.as_deref(), other.hosts.as_deref(), meets)
            && may_share(self.paths.as_deref(), other.paths.as_deref(), |a, b| {
                begins(a, b) || begins(b, a)
            })
    }

    fn and(mut self, test: &Test, wanted: bool) -> Option<Self> {
        match (test, wanted) {
            (Test::Host(hosts), true) if self.hosts.is_none() => self.hosts = Some(hosts.clone()),
            (Test::Path(paths), true) if self.paths.is_none() => self.paths = Some(paths.clone()),
            (Test::Source(networks), wanted) => self.sources.push((wanted, networks.clone())),
            (Test::Tls, wanted) if self.tls.is_none_or(|tls| tls == wanted) => {
                self.tls = Some(wanted);
            }
            (Test::WebSocket, wanted) if self.websocket.is_none_or(|ws| ws == wanted) => {
                self.websocket = Some(wanted);
            }
            (Test::Always, true) => {}
            _ => return None,
        }
        Some(self)
    }
}

/// Whether anything is in both lists; nothing said is everything.
fn may_share<T>(a: Option<&[T]>, b: Option<&[T]>, meets: impl Fn(&T, &T) -> bool) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.iter().any(|a| b.iter().any(|b| meets(a, b))),
        _ => true,
    }
}

/// The ACLs of a proxy by name: any of its tests will do. `None` where one can't be said here.
#[derive(Debug, Default)]
pub struct Acls<'a>(HashMap<&'a str, Vec<Option<Test>>>);

impl<'a> Acls<'a> {
    /// Reads `acl NAME …` lines.
    pub fn read(lines: impl Iterator<Item = &'a Line>) -> Self {
        let mut acls: HashMap<&str, Vec<Option<Test>>> = HashMap::new();
        for line in lines {
            let words: Vec<&str> = line.words.iter().skip(2).map(String::as_str).collect();
            acls.entry(line.word(1)).or_default().push(test(&words));
        }
        Self(acls)
    }

    /// The alternatives of `if …` or `unless …` at the end of a line; one that asks nothing where
    /// there is no condition. `None` when it can't be said with routes.
    pub fn condition(&self, line: &Line) -> Option<Vec<Match>> {
        let at = line
            .words
            .iter()
            .position(|word| word == "if" || word == "unless");
        let Some(at) = at else {
            return Some(vec![Match::default()]);
        };
        let terms = self.terms(&line.words[at + 1..])?;
        if line.word(at) == "if" {
            return self.alternatives(&terms);
        }
        // unless a b: not (a and b), which is not a, or not b.
        let [conjunction] = terms.as_slice() else {
            return None;
        };
        let negated: Vec<Vec<(bool, Vec<Test>)>> = conjunction
            .iter()
            .map(|(wanted, tests)| vec![(!wanted, tests.clone())])
            .collect();
        self.alternatives(&negated)
    }

    /// A condition as alternatives of terms that must all hold.
    #[expect(
        clippy::type_complexity,
        reason = "a formula in its normal form, nowhere else"
    )]
    fn terms(&self, words: &[String]) -> Option<Vec<Vec<(bool, Vec<Test>)>>> {
        let mut alternatives = vec![Vec::new()];
        let mut words = words.iter();
        let mut wanted = true;
        while let Some(word) = words.next() {
            let mut word = word.as_str();
            if word == "or" || word == "||" {
                alternatives.push(Vec::new());
                continue;
            }
            while let Some(rest) = word.strip_prefix('!') {
                wanted = !wanted;
                word = rest;
            }
            let tests = match word {
                "" => continue,
                "{" => {
                    let inside: Vec<&str> = words
                        .by_ref()
                        .map(String::as_str)
                        .take_while(|word| *word != "}")
                        .collect();
                    vec![test(&inside)?]
                }
                name => self.named(name)?,
            };
            alternatives.last_mut()?.push((wanted, tests));
            wanted = true;
        }
        Some(alternatives)
    }

    fn named(&self, name: &str) -> Option<Vec<Test>> {
        let known = match name {
            "TRUE" | "HTTP" | "HTTP_1.1" => return Some(vec![Test::Always]),
            name => self.0.get(name)?,
        };
        let tests: Option<Vec<Test>> = known.iter().cloned().collect();
        let tests = tests?;
        // Of one kind, several lines are one longer list.
        let merged = tests.iter().skip(1).try_fold(tests[0].clone(), merge);
        Some(merged.map_or(tests, |test| vec![test]))
    }

    fn alternatives(&self, terms: &[Vec<(bool, Vec<Test>)>]) -> Option<Vec<Match>> {
        let mut matches = Vec::new();
        for conjunction in terms {
            let mut found = vec![Match::default()];
            for (wanted, tests) in conjunction {
                found = match wanted {
                    true => {
                        let pairs = found
                            .iter()
                            .flat_map(|m| tests.iter().map(move |test| m.clone().and(test, true)));
                        pairs.collect::<Option<_>>()?
                    }
                    // Not any of them.
                    false => {
                        let none_of =
                            |m: Match| tests.iter().try_fold(m, |m, test| m.and(test, false));
                        found.into_iter().map(none_of).collect::<Option<_>>()?
                    }
                };
            }
            matches.extend(found);
            if matches.len() > MAX_ALTERNATIVES {
                return None;
            }
        }
        Some(matches)
    }
}

fn merge(a: Test, b: &Test) -> Option<Test> {
    match (a, b) {
        (Test::Host(mut a), Test::Host(b)) => {
            a.extend(b.iter().cloned());
            Some(Test::Host(a))
        }
        (Test::Path(mut a), Test::Path(b)) => {
            a.extend(b.iter().cloned());
            Some(Test::Path(a))
        }
        (Test::Source(mut a), Test::Source(b)) => {
            a.extend(b.iter().copied());
            Some(Test::Source(a))
        }
        _ => None,
    }
}

/// A criterion, its flags and its values.
fn test(words: &[&str]) -> Option<Test> {
    let (criterion, rest) = words.split_first()?;
    let mut method = "";
    let mut values = Vec::new();
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-i" | "-n" | "--" => {}
            "-m" => method = rest.next()?,
            // A file of values is not read.
            "-f" | "-M" | "-u" => return None,
            value => values.push(value),
        }
    }
    let criterion = criterion.split(',').next()?.to_ascii_lowercase();
    let criterion = criterion.strip_prefix("req.").unwrap_or(&criterion);
    match criterion {
        "hdr(host)" | "ssl_fc_sni" | "req_ssl_sni" => hosts(method, &values),
        "hdr_end(host)" => hosts("end", &values),
        "hdr_beg(host)" => hosts("beg", &values),
        "hdr_dom(host)" => hosts("dom", &values),
        "path" | "pathq" | "url" => paths(method, &values),
        "path_beg" | "url_beg" => paths("beg", &values),
        "path_reg" => paths("reg", &values),
        "src" => {
            let networks: Option<Vec<IpNet>> = values.iter().map(|text| network(text)).collect();
            networks.map(Test::Source)
        }
        "ssl_fc" => Some(Test::Tls),
        "hdr(upgrade)" | "hdr_cnt(upgrade)" | "hdr(sec-websocket-key)" if is_websocket(&values) => {
            Some(Test::WebSocket)
        }
        "hdr(connection)" | "hdr_sub(connection)" if is_upgrade(&values) => Some(Test::WebSocket),
        "always_true" => Some(Test::Always),
        _ => None,
    }
}

fn is_websocket(values: &[&str]) -> bool {
    values
        .iter()
        .all(|value| value.eq_ignore_ascii_case("websocket"))
        && !values.is_empty()
}

fn is_upgrade(values: &[&str]) -> bool {
    values
        .iter()
        .all(|value| value.eq_ignore_ascii_case("upgrade"))
        && !values.is_empty()
}

fn hosts(method: &str, values: &[&str]) -> Option<Test> {
    let mut hosts: Vec<String> = Vec::new();
    for value in values {
        let value = value.to_ascii_lowercase();
        let bare = value.split(':').next()?.to_owned();
        match method {
            "" | "str" if !hosts.contains(&bare) => hosts.push(bare),
            "" | "str" => {}
            "end" => match value.strip_prefix('.') {
                Some(rest) => hosts.push(format!("*.{rest}")),
                None => hosts.extend([value.clone(), format!("*.{value}")]),
            },
            _ => return None,
        }
    }
    let good = hosts.iter().all(|host| HostPattern::parse(host).is_ok());
    (good && !hosts.is_empty()).then_some(Test::Host(hosts))
}

fn paths(method: &str, values: &[&str]) -> Option<Test> {
    let mut paths = Vec::new();
    for value in values {
        match method {
            "" | "str" => paths.push(PathRule::Exact((*value).to_owned())),
            "beg" => paths.push(PathRule::Prefix((*value).to_owned())),
            "reg" => paths.extend(paths_of(value)?),
            _ => return None,
        }
    }
    let good = paths.iter().all(PathRule::is_possible);
    (good && !paths.is_empty()).then_some(Test::Path(paths))
}
