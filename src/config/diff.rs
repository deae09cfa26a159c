//! What a reload changes, one line for each change.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::dump::inline;
use super::keys::{ADMIN, LISTENER, LOG, ROUTE, SERVER, TRACING, UPSTREAM};
use super::kind::Written;
use super::kind::section::{Section, Status};
use super::model::{Config, Listener, Route, Upstream};
use super::raw;
use super::reader::Provenance;

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it concerns: `route chat`.
    pub subject: String,
    /// What became of it: `added`, `removed`, or the keys that changed.
    pub what: String,
    /// When it takes effect.
    pub effect: Effect,
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// With the reload.
    Live,
    /// With the next start.
    Restart,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.effect {
            Effect::Live => "live",
            Effect::Restart => "needs a restart",
        };
        write!(f, "{}: {} ({effect})", self.subject, self.what)
    }
}

/// Lists what differs, in the order of the file.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let differ = Differ {
        old: &old.provenance,
        new: &new.provenance,
    };
    let [old_admin, new_admin] = [old, new].map(|config| raw::AdminSection::from(&config.admin));
    let mut changes = differ.keys("server", &SERVER, &old.server, &new.server);
    changes.extend(differ.keys("log", &LOG, &old.log, &new.log));
    changes.extend(differ.keys("admin", &ADMIN, &old_admin, &new_admin));
    changes.extend(differ.keys("tracing", &TRACING, &old.tracing, &new.tracing));
    changes.extend(differ.named("listener", &LISTENER, &old.listeners, &new.listeners));
    changes.extend(differ.named("route", &ROUTE, &old.routes, &new.routes));
    if is_reordered(&old.routes, &new.routes) {
        changes.push(live("routes", "in another order"));
    }
    changes.extend(differ.named("upstream", &UPSTREAM, &old.upstreams, &new.upstreams));
    changes.extend(differ.files());
    changes
}

/// Writes both sides as their files do.
struct Differ<'a> {
    old: &'a Provenance,
    new: &'a Provenance,
}

impl Differ<'_> {
    /// One change for each key of a section that there is once.
    fn keys<S>(&self, subject: &str, section: &Section<S>, old: &S, new: &S) -> Vec<Change> {
        let mut changes = Vec::new();
        for key in section.keys {
            if let Some(what) = self.value(key.name, &(key.write)(old), &(key.write)(new)) {
                let effect = match key.status {
                    Status::Restart => Effect::Restart,
                    Status::Acts | Status::Later => Effect::Live,
                };
                changes.push(Change {
                    subject: subject.to_owned(),
                    what,
                    effect,
                });
            }
        }
        changes
    }

    /// One change for each certificate, key or list that was renewed under the same name.
    fn files(&self) -> Vec<Change> {
        let renewed = self.new.renewed_since(self.old).into_iter();
        let change = |path: &Path| live(&format!("file {}", path.display()), "new content");
        renewed.map(change).collect()
    }

    /// One change for each listener, route or upstream.
    fn named<S, M>(
        &self,
        kind: &str,
        section: &Section<S>,
        old: &[Arc<M>],
        new: &[Arc<M>],
    ) -> Vec<Change>
    where
        S: Clone + Default + for<'m> From<&'m M>,
        M: Name + PartialEq,
    {
        let [old_by_name, new_by_name] = [old, new].map(by_name);
        let mut changes = Vec::new();
        for item in old
            .iter()
            .filter(|item| !new_by_name.contains_key(item.name()))
        {
            changes.push(live(&format!("{kind} {}", item.name()), "removed"));
        }
        for item in new {
            let subject = format!("{kind} {}", item.name());
            match old_by_name.get(item.name()) {
                None => changes.push(live(&subject, "added")),
                Some(before) if *before == item => {}
                Some(before) => {
                    let [before, after] =
                        [before, item].map(|model| section.write(&S::from(&**model)));
                    changes.push(live(&subject, &self.table("", &before, &after)));
                }
            }
        }
        changes
    }

    fn table(&self, path: &str, old: &[(String, Written)], new: &[(String, Written)]) -> String {
        let new_names = new
            .iter()
            .filter(|(name, _)| old.iter().all(|(other, _)| other != name));
        let names = old.iter().chain(new_names).map(|(name, _)| name);
        let what: Vec<String> = names
            .filter_map(|name| {
                self.value(&format!("{path}{name}"), find(old, name), find(new, name))
            })
            .collect();
        what.join(", ")
    }

    fn value(&self, name: &str, old: &Written, new: &Written) -> Option<String> {
        if old == new {
            return None;
        }
        Some(match (old, new) {
            (Written::Table(old), Written::Table(new)) => self.table(&format!("{name}."), old, new),
            (Written::Nothing, Written::Table(_)) => format!("{name} added"),
            (Written::Table(_), Written::Nothing) => format!("{name} removed"),
            (Written::List(old), Written::List(new)) => self.list(name, old, new),
            (old, new) => match (self.written_old(old), self.written_new(new)) {
                // Secrets are shown alike.
                (old, new) if old == new => format!("{name} changed"),
                (old, new) => format!("{name} {old} -> {new}"),
            },
        })
    }

    fn list(&self, name: &str, old: &[Written], new: &[Written]) -> String {
        let [old, new] = [
            old.iter()
                .map(|item| self.written_old(item))
                .collect::<Vec<_>>(),
            new.iter()
                .map(|item| self.written_new(item))
                .collect::<Vec<_>>(),
        ];
        let gone: HashSet<&String> = old.iter().collect();
        let come: HashSet<&String> = new.iter().collect();
        let removed = old
            .iter()
            .filter(|item| !come.contains(item))
            .map(|item| format!("-{item}"));
        let added = new
            .iter()
            .filter(|item| !gone.contains(item))
            .map(|item| format!("+{item}"));
        let what: Vec<String> = removed.chain(added).collect();
        match what.as_slice() {
            [] => format!("{name} in another order"),
            what => format!("{name} {}", what.join(" ")),
        }
    }

    fn written_old(&self, written: &Written) -> String {
        shown(written, self.old)
    }

    fn written_new(&self, written: &Written) -> String {
        shown(written, self.new)
    }
}

trait Name {
    fn name(&self) -> &str;
}

impl Name for Listener {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Name for Route {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Name for Upstream {
    fn name(&self) -> &str {
        &self.name
    }
}

fn by_name<M: Name>(items: &[Arc<M>]) -> HashMap<&str, &Arc<M>> {
    items.iter().map(|item| (item.name(), item)).collect()
}

fn find<'a>(entries: &'a [(String, Written)], name: &str) -> &'a Written {
    entries
        .iter()
        .find(|(other, _)| other == name)
        .map_or(&Written::Nothing, |(_, value)| value)
}

fn shown(written: &Written, provenance: &Provenance) -> String {
    match written {
        Written::Nothing => "nothing".to_owned(),
        written => inline(written, provenance),
    }
}

/// Whether the routes that stay stand in another order: the first match counts.
fn is_reordered(old: &[Arc<Route>], new: &[Arc<Route>]) -> bool {
    let [old_names, new_names] = [old, new].map(by_name);
    let old = old
        .iter()
        .map(|route| route.name())
        .filter(|name| new_names.contains_key(name));
    let new = new
        .iter()
        .map(|route| route.name())
        .filter(|name| old_names.contains_key(name));
    old.ne(new)
}

fn live(subject: &str, what: &str) -> Change {
    Change {
        subject: subject.to_owned(),
        what: what.to_owned(),
        effect: Effect::Live,
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    use super::*;

    const OLD: &str = r#"
        [listener.a]
        bind = "127.0.0.1:80"
        [[route]]
        name = "one"
        path = "/one"
        upstream = "u"
        [[route]]
        name = "two"
        respond = 404
        [upstream.u]
        servers = ["10.0.0.1:80", "10.0.0.2:80"]
    "#;

    fn changes(edit: impl FnOnce(&str) -> String) -> Vec<String> {
        let [old, new] = [OLD.to_owned(), edit(OLD)]
            .map(|text| parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}")));
        diff(&old, &new).iter().map(Change::to_string).collect()
    }

    #[test]
    fn what_is_equal_is_no_change() {
        assert_eq!(changes(|old| format!("# moved\n\n{old}")), [""; 0]);
    }

    #[test]
    fn a_key_is_told_with_both_values() {
        let edit =
            |old: &str| old.replace("\"two\"", "\"two\"\nwebsocket = { max_frame = \"1m\" }");
        assert_eq!(
            changes(edit),
            ["route two: websocket.max_frame \"16MiB\" -> \"1MiB\" (live)"]
        );
    }

    #[test]
    fn servers_that_come_and_go_are_told_one_by_one() {
        let edit = |old: &str| old.replace("\"10.0.0.2:80\"", "\"10.0.0.3:80\"");
        assert_eq!(
            changes(edit),
            ["upstream u: servers -\"10.0.0.2:80\" +\"10.0.0.3:80\" (live)"]
        );
    }

    #[test]
    fn what_a_running_process_cannot_change_needs_a_restart() {
        let edit = |old: &str| format!("[server]\nworkers = 3\n[admin]\nbind = \"off\"\n{old}");
        assert_eq!(
            changes(edit),
            [
                "server: workers \"auto\" -> 3 (needs a restart)",
                "admin: bind \"127.0.0.1:9900\" -> \"off\" (needs a restart)",
            ]
        );
    }

    #[test]
    fn sections_come_and_go_by_name() {
        let edit = |old: &str| old.replace("listener.a", "listener.b");
        assert_eq!(
            changes(edit),
            ["listener a: removed (live)", "listener b: added (live)"]
        );
        let edit = |old: &str| format!("{old}\n[upstream.u.health_check]\ntype = \"tcp\"");
        assert_eq!(changes(edit), ["upstream u: health_check added (live)"]);
    }

    #[test]
    fn another_order_of_routes_is_a_change() {
        let edit = |old: &str| {
            let (head, routes) = old.split_once("[[route]]").unwrap();
            let (one, rest) = routes.split_once("[[route]]").unwrap();
            let (two, upstream) = rest.split_once("[upstream.u]").unwrap();
            format!("{head}[[route]]{two}[[route]]{one}[upstream.u]{upstream}")
        };
        assert_eq!(changes(edit), ["routes: in another order (live)"]);
    }

    #[test]
    fn a_secret_changes_unseen() {
        let with = |secret: &str| {
            let set = format!("\"two\"\nheaders.set = {{ X-Key = \"{secret}\" }}");
            let text = OLD.replace("\"two\"", &set);
            parse(&text, "test.toml").unwrap_or_else(|errors| panic!("{errors}"))
        };
        let changes = diff(&with("hunter2"), &with("hunter3"));
        let [change] = changes.as_slice() else {
            panic!("{changes:?}")
        };
        assert_eq!(change.to_string(), "route two: headers.set changed (live)");
    }
}
