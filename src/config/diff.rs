//! What a reload changes, one line for each change.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::dump::inline;
use super::keys::{ADMIN, LISTENER, LOG, ROUTE, SERVER, UPSTREAM};
use super::kind::Written;
use super::kind::section::{Section, Status};
use super::model::{Config, Listener, Route, Upstream};
use super::raw;
use super::reader::Origin;

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
        old: &old.origin,
        new: &new.origin,
    };
    let [old_admin, new_admin] = [old, new].map(|config| raw::AdminSection::from(&config.admin));
    let mut changes = differ.keys("server", &SERVER, &old.server, &new.server);
    changes.extend(differ.keys("log", &LOG, &old.log, &new.log));
    changes.extend(differ.keys("admin", &ADMIN, &old_admin, &new_admin));
    changes.extend(differ.named("listener", &LISTENER, &old.listeners, &new.listeners));
    changes.extend(differ.named("route", &ROUTE, &old.routes, &new.routes));
    if is_reordered(&old.routes, &new.routes) {
        changes.push(live("routes", "in another order"));
    }
    changes.extend(differ.named("upstream", &UPSTREAM, &old.upstreams, &new.upstreams));
    changes
}

/// Writes both sides as their files do.
struct Differ<'a> {
    old: &'a Origin,
    new: &'a Origin,
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

fn shown(written: &Written, origin: &Origin) -> String {
    match written {
        Written::Nothing => "nothing".to_owned(),
        written => inline(written, origin),
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
