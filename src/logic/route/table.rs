//! The routes of one listener, compiled: the first match in file order without a walk through all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::{HostPattern, PathPattern};

/// Finds the route of a request. A look-up costs what the request's own host and path are long,
/// however many routes there are.
#[derive(Clone, Debug, Default)]
pub struct Table {
    any: Paths,
    exact: HashMap<Arc<str>, Paths>,
    suffix: HashMap<Arc<str>, Paths>,
}

impl Table {
    /// Adds a route; no host means any. The route with the smallest index wins.
    pub fn add(&mut self, index: usize, hosts: &[HostPattern], path: &PathPattern) {
        if hosts.is_empty() {
            self.any.add(index, path);
        }
        for host in hosts {
            let (map, name) = match host {
                HostPattern::Exact(name) => (&mut self.exact, name),
                HostPattern::Suffix(suffix) => (&mut self.suffix, suffix),
            };
            map.entry(Arc::clone(name)).or_default().add(index, path);
        }
    }

    /// The first route that takes this host (lower case, no port) and path (normal form).
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        let dotted = if self.suffix.is_empty() { "" } else { host };
        let suffixes = dotted
            .match_indices('.')
            .filter(|&(dot, _)| dot > 0)
            .map(|(dot, _)| &dotted[dot..]);
        let exact = self.exact.get(host).into_iter();
        let below = suffixes.filter_map(|suffix| self.suffix.get(suffix));
        exact
            .chain(below)
            .chain([&self.any])
            .filter_map(|paths| paths.find(path))
            .min()
    }
}

/// The routes that share a host pattern, by path.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Arc<str>, usize>,
    prefix: HashMap<Arc<str>, usize>,
    longest_prefix: usize,
}

impl Paths {
    fn add(&mut self, index: usize, path: &PathPattern) {
        let (map, path) = match path {
            PathPattern::Exact(path) => (&mut self.exact, path),
            PathPattern::Prefix(path) => {
                self.longest_prefix = self.longest_prefix.max(path.len());
                (&mut self.prefix, path)
            }
        };
        match map.entry(Arc::clone(path)) {
            Entry::Occupied(mut first) => {
                let first = first.get_mut();
                *first = index.min(*first);
            }
            Entry::Vacant(vacant) => {
                vacant.insert(index);
            }
        }
    }

    fn find(&self, path: &str) -> Option<usize> {
        let prefixes = segment_borders(path)
            // Nothing longer is configured, and a path of slashes must not cost square time.
            .take_while(|&border| border <= self.longest_prefix)
            .filter_map(|border| self.prefix.get(&path[..border]));
        self.exact
            .get(path)
            .into_iter()
            .chain(prefixes)
            .copied()
            .min()
    }
}

/// Where a prefix of `path` may end, in rising order: before and behind each slash, and at the end.
fn segment_borders(path: &str) -> impl Iterator<Item = usize> {
    let around_slashes = path
        .match_indices('/')
        .flat_map(|(slash, _)| [slash, slash + 1]);
    let end = (!path.ends_with('/')).then_some(path.len());
    around_slashes.chain(end)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    type Rules = Vec<(Vec<HostPattern>, PathPattern)>;

    fn rules(routes: &[(&[&str], &str)]) -> Rules {
        let hosts = |hosts: &[&str]| {
            hosts
                .iter()
                .map(|host| HostPattern::parse(host).unwrap())
                .collect()
        };
        let rule =
            |(names, path): &(&[&str], &str)| (hosts(names), PathPattern::parse(path).unwrap());
        routes.iter().map(rule).collect()
    }

    fn table(rules: &Rules) -> Table {
        let mut table = Table::default();
        for (index, (hosts, path)) in rules.iter().enumerate() {
            table.add(index, hosts, path);
        }
        table
    }

    /// What the table must agree with: a walk in file order.
    fn walk(rules: &Rules, host: &str, path: &str) -> Option<usize> {
        rules.iter().position(|(hosts, pattern)| {
            (hosts.is_empty() || hosts.iter().any(|each| each.matches(host)))
                && pattern.matches(path)
        })
    }

    #[test]
    fn the_first_match_in_file_order_wins() {
        let routes = table(&rules(&[
            (&["a.example.com"], "/ws/deep"),
            (&["*.example.com"], "/ws"),
            (&["a.example.com"], "/ws"),
            (&[], "=/health"),
            (&["a.example.com", "b.org"], "/"),
            (&[], "/"),
        ]));
        let rows = [
            ("a.example.com", "/ws/deep/x", Some(0)),
            ("a.example.com", "/ws", Some(1)),
            ("b.c.example.com", "/ws/x", Some(1)),
            ("example.com", "/ws", Some(5)),
            ("a.example.com", "/health", Some(3)),
            ("a.example.com", "/health/x", Some(4)),
            ("b.org", "/x", Some(4)),
            ("[::1]", "/x", Some(5)),
            ("a.example.com", "*", None),
        ];
        for (host, path, expected) in rows {
            assert_eq!(routes.find(host, path), expected, "{host} {path}");
        }
    }

    #[test]
    fn an_empty_table_finds_nothing() {
        assert_eq!(Table::default().find("a", "/"), None);
    }

    #[test]
    fn hostile_hosts_and_paths_cost_linear_time() {
        let paths: Vec<_> = (0..100_000).map(|n| format!("/tenant-{n}/ws")).collect();
        let routes: Vec<(&[&str], &str)> = paths.iter().map(|path| (&[][..], &**path)).collect();
        let routes = table(&rules(&routes));
        let (host, path) = ("a.".repeat(126), "/a".repeat(8_000));
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(routes.find(&host, &path), None);
        }
        assert!(start.elapsed().as_secs() < 2, "{:?}", start.elapsed());
        assert_eq!(routes.find("a", "/tenant-99999/ws/x"), Some(99_999));
    }

    proptest! {
        #[test]
        fn the_table_agrees_with_a_walk_in_file_order(
            routes in prop::collection::vec(
                (prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..3), "=?(/[ab]){0,3}/?"),
                0..12,
            ),
            host in "[ab](\\.[ab]){0,3}",
            path in "(/[ab]){1,4}/?",
        ) {
            let rule = |(hosts, path): &(Vec<String>, String)| {
                let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap());
                Some((hosts.collect(), PathPattern::parse(path).ok()?))
            };
            let rules: Rules = routes.iter().filter_map(rule).collect();
            prop_assert_eq!(table(&rules).find(&host, &path), walk(&rules, &host, &path));
        }
    }
}
