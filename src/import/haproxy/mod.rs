//! HAProxy: `haproxy.cfg`.

pub mod acl;
pub mod address;
pub mod backend;
pub mod frontend;
pub mod keywords;
pub mod proxy;
pub mod read;
pub mod rules;
pub mod units;

use std::collections::HashMap;
use std::path::Path;

use super::draft::{Draft, Value, free_name};
use super::source::ImportError;
use proxy::Proxy;
use read::{Kind, Section};

/// Carries a configuration over into `draft`.
///
/// # Errors
/// When the file can't be read or is no HAProxy configuration.
pub fn import(path: &Path, draft: &mut Draft) -> Result<(), ImportError> {
    let sections = read::sections(path)?;
    for section in &sections {
        keywords::tell(section, &mut draft.findings);
        if section.kind == Kind::Global {
            process(section, draft);
        }
    }
    let proxies = Proxy::all(&sections);
    let mut upstreams = HashMap::new();
    for proxy in proxies
        .iter()
        .filter(|proxy| proxy.section.kind != Kind::Frontend)
    {
        if let Some(table) = backend::write(proxy, &mut draft.findings) {
            let taken = |name: &str| draft.upstreams.iter().any(|(known, _)| known == name);
            let name = free_name(proxy.name(), taken);
            upstreams.insert(proxy.name(), name.clone());
            draft.upstreams.push((name, table));
        }
    }
    let targets = frontend::Targets {
        proxies: proxies.iter().map(|proxy| (proxy.name(), *proxy)).collect(),
        upstreams,
    };
    for proxy in &proxies {
        let serves = match proxy.section.kind {
            Kind::Frontend => true,
            // Statistics alone are not a site.
            Kind::Listen => {
                targets.upstreams.contains_key(proxy.name())
                    || proxy.own(&["use_backend"]).next().is_some()
            }
            _ => false,
        };
        if serves {
            frontend::write(proxy, &targets, draft);
        }
    }
    Ok(())
}

fn process(global: &Section, draft: &mut Draft) {
    for line in &global.lines {
        let value = line.word(1);
        let count = value.parse::<u32>().is_ok_and(|count| count > 0);
        match line.word(0) {
            "maxconn" if count => {
                draft
                    .server
                    .set("max_connections", Value::plain(value), &line.place);
            }
            "nbthread" if count => draft
                .server
                .set("workers", Value::plain(value), &line.place),
            "hard-stop-after" => {
                if let Some(time) = units::time(value) {
                    draft.server.set("shutdown_grace", time, &line.place);
                }
            }
            _ => {}
        }
    }
}
