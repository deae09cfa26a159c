//! `http { … }`: upstreams, listeners, and every site's routes in the order that finds the same
//! one as nginx.

use std::collections::HashMap;
use std::path::Path;

use super::directives;
use super::listener::{self, Listener};
use super::read::Directive;
use super::routes::{Hosts, Routes};
use super::scope::Scope;
use super::site::Site;
use super::upstream;
use crate::import::draft::Draft;

/// What every site of an `http` block may refer to.
#[derive(Debug)]
pub struct Http<'a> {
    /// The block itself.
    pub scope: Scope<'a>,
    /// What relative file names are relative to.
    pub directory: &'a Path,
    /// `upstream` blocks that have a server.
    pub upstreams: HashMap<&'a str, crate::import::draft::Table>,
    /// `limit_conn_zone` and `limit_req_zone`, by name.
    pub zones: HashMap<&'a str, &'a Directive>,
}

/// Writes the whole block.
pub fn write(block: &[Directive], directory: &Path, draft: &mut Draft) {
    let scope = Scope::of(block);
    directives::tell(block, &mut draft.findings);
    maps(block, draft);
    let mut upstreams = HashMap::new();
    let declared: Vec<_> = block.iter().filter(|d| d.name == "upstream").collect();
    for directive in &declared {
        match upstream::write(directive, &mut draft.findings) {
            Some(table) => {
                upstreams.insert(directive.arg(0), table);
            }
            None => {
                let advice = "it has no server in use; its routes answer 503";
                draft
                    .findings
                    .differs(&directive.place, directive.text(), advice);
            }
        }
    }
    let zones = block.iter().filter_map(|d| {
        let zone = d.parameter("zone")?.split(':').next()?;
        d.name.starts_with("limit_").then_some((zone, d))
    });
    let http = Http {
        zones: zones.collect(),
        scope: scope.clone(),
        directory,
        upstreams,
    };
    let servers = block.iter().filter(|d| d.name == "server");
    let sites: Vec<Site<'_>> = servers
        .map(|server| Site::read(&scope, server, &mut draft.findings))
        .collect();
    let listeners = listener::write(&sites, directory, draft);
    let mut routes = Routes::new(&http);
    for (site, hosts, on) in turns(&sites, &listeners) {
        routes.write_site(&sites[site], hosts, &on, listeners.len(), draft);
    }
    for directive in declared {
        routes.write_unused(directive.arg(0), draft);
    }
}

/// The sites in an order in which the first match is nginx's choice: full names, then wildcards
/// from the longest on, then the defaults, which answer for every other host.
fn turns<'l>(
    sites: &[Site<'_>],
    listeners: &'l [Listener],
) -> Vec<(usize, Hosts, Vec<&'l Listener>)> {
    let mut turns = Vec::new();
    let mut wild = Vec::new();
    let mut defaults = Vec::new();
    for (i, site) in sites.iter().enumerate() {
        let on: Vec<_> = listeners.iter().filter(|l| l.sites.contains(&i)).collect();
        let default: Vec<_> = on.iter().copied().filter(|l| l.default == i).collect();
        let covered = |l: &&Listener| l.default == i && !contested(sites, i, l);
        let named: Vec<_> = on.iter().copied().filter(|l| !covered(l)).collect();
        if !named.is_empty() && !site.exact.is_empty() {
            turns.push((i, Hosts(site.exact.clone()), named.clone()));
        }
        for name in &site.wild {
            if !named.is_empty() {
                wild.push((i, Hosts(vec![name.clone()]), named.clone()));
            }
        }
        if !default.is_empty() {
            defaults.push((i, Hosts(Vec::new()), default));
        }
    }
    wild.sort_by_key(|(_, hosts, _)| std::cmp::Reverse(hosts.0[0].len()));
    turns.extend(wild);
    turns.extend(defaults);
    turns
}

/// Whether a name of the default site is one that another site's wildcard would take first.
fn contested(sites: &[Site<'_>], default: usize, listener: &Listener) -> bool {
    let others = listener.sites.iter().filter(|&&i| i != default);
    let mut wildcards = others.flat_map(|&i| &sites[i].wild);
    let own = &sites[default];
    wildcards.any(|wildcard| {
        let suffix = &wildcard[1..];
        own.exact.iter().any(|name| name.ends_with(suffix))
            || own.wild.iter().any(|name| name.ends_with(suffix))
    })
}

/// The map that every guide has for `Connection` is what goes without saying here; others are lost.
fn maps(block: &[Directive], draft: &mut Draft) {
    for map in block.iter().filter(|d| d.name == "map") {
        if map.arg(0) != "$http_upgrade" {
            let advice = "there are no variables; say it with routes";
            let what = format!("map {} {}", map.arg(0), map.arg(1));
            draft.findings.lost(&map.place, what, advice);
        }
    }
}
