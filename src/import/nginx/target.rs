//! `proxy_pass`: which upstream it means here, and how it is spoken to.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::http::Http;
use super::listener::file;
use super::read::Directive;
use super::scope::Scope;
use super::units;
use super::upstream::address;
use crate::import::draft::{Draft, Table, Value, free_name};

/// What a `proxy_pass` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass<'a> {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    /// An upstream's name, or a host with or without a port.
    pub authority: &'a str,
    /// What replaces the location, if anything does.
    pub path: Option<&'a str>,
}

impl<'a> Pass<'a> {
    /// Reads `http://chat/live/`; none where it depends on the request.
    pub fn read(directive: &'a Directive) -> Option<Self> {
        let url = directive.arg(0);
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let (authority, path) = match rest.strip_prefix("unix:") {
            // http://unix:/run/app.sock:/path
            Some(socket) => match socket.split_once(':') {
                Some((socket, path)) => (&rest[..5 + socket.len()], Some(path)),
                None => (rest, None),
            },
            None => match rest.find('/') {
                Some(at) => (&rest[..at], Some(&rest[at..])),
                None => (rest, None),
            },
        };
        let path = path.filter(|path| !path.is_empty());
        (!url.contains('$')).then_some(Self {
            tls,
            authority,
            path,
        })
    }
}

/// The upstreams that are in use so far.
#[derive(Debug, Default)]
pub struct Targets {
    names: HashMap<(String, bool), String>,
    written: HashSet<String>,
}

impl Targets {
    /// The name of the upstream here; none when it has no server in use.
    pub fn name(
        &mut self,
        http: &Http<'_>,
        pass: &Pass<'_>,
        scope: &Scope<'_>,
        directive: &Directive,
        draft: &mut Draft,
    ) -> Option<String> {
        let key = (pass.authority.to_owned(), pass.tls);
        if let Some(name) = self.names.get(&key) {
            let name = name.clone();
            let known = draft.upstreams.iter_mut().find(|(known, _)| *known == name);
            let (_, table) = known?;
            connecting(scope, table, false, &mut draft.findings);
            return Some(name);
        }
        let declared = http.upstreams.get(pass.authority);
        let is_declared = http
            .scope
            .block()
            .iter()
            .any(|d| d.name == "upstream" && d.arg(0) == pass.authority);
        if is_declared && declared.is_none() {
            return None;
        }
        let mut table = declared.cloned().unwrap_or_else(|| {
            let port = if pass.tls { 443 } else { 80 };
            let mut table = Table::default();
            let server = address(pass.authority, port);
            table.set("servers", Value::texts([server]), &directive.place);
            table
        });
        if pass.tls {
            speak_tls(http, pass, scope, directive, &mut table, draft);
        }
        connecting(scope, &mut table, true, &mut draft.findings);
        let wanted = match (is_declared, pass.tls) {
            (true, true) if self.written.contains(pass.authority) => {
                format!("{}_tls", pass.authority)
            }
            _ => pass.authority.to_owned(),
        };
        let wanted = wanted.trim_start_matches("unix:").trim_start_matches('/');
        let taken = |name: &str| draft.upstreams.iter().any(|(known, _)| known == name);
        let name = free_name(wanted, taken);
        draft.upstreams.push((name.clone(), table));
        self.names.insert(key, name.clone());
        self.written.insert(pass.authority.to_owned());
        Some(name)
    }

    /// Whether any `proxy_pass` named it.
    pub fn uses(&self, authority: &str) -> bool {
        self.written.contains(authority)
    }
}

/// nginx does not look at a server's certificate unless it is told to.
fn speak_tls(
    http: &Http<'_>,
    pass: &Pass<'_>,
    scope: &Scope<'_>,
    directive: &Directive,
    table: &mut Table,
    draft: &mut Draft,
) {
    let mut keys = Vec::new();
    let mut put = |key: &str, value: Value| keys.push((key.to_owned(), value));
    let name = match scope.arg("proxy_ssl_name") {
        Some((name, _)) if !name.contains('$') => Some(name),
        Some((_, directive)) => {
            let advice = "the name is fixed; write it into upstream.NAME.tls.server_name";
            draft
                .findings
                .lost(&directive.place, directive.text(), advice);
            None
        }
        None => pass.authority.split(':').next(),
    };
    if let Some(name) = name.filter(|name| name.contains(|c: char| c.is_ascii_alphabetic())) {
        put("server_name", name.into());
    }
    if scope
        .arg("proxy_ssl_verify")
        .is_some_and(|(on, _)| on == "on")
    {
        if let Some((ca, _)) = scope.arg("proxy_ssl_trusted_certificate") {
            put("ca", file(http.directory, ca));
        }
    } else {
        put("insecure", Value::plain(true));
        let advice = "nginx takes any certificate of a server unless proxy_ssl_verify is on, and so \
                      does `insecure = true`; leave it out, and name a ca, to be safe";
        draft
            .findings
            .differs(&directive.place, directive.text(), advice);
    }
    for (theirs, ours) in [
        ("proxy_ssl_certificate", "client_cert"),
        ("proxy_ssl_certificate_key", "client_key"),
    ] {
        if let Some((name, _)) = scope.arg(theirs) {
            put(ours, file(http.directory, name));
        }
    }
    table.set("tls", Value::Inline(keys), &directive.place);
}

/// Times, tries and source are the location's there and the upstream's here: the first location
/// says them.
fn connecting(
    scope: &Scope<'_>,
    table: &mut Table,
    is_first: bool,
    findings: &mut crate::import::finding::Findings,
) {
    let mut put = |ours: &'static str, value: Value, directive: &Directive| match table.value(ours)
    {
        Some(known) if *known == value => {}
        Some(_) => {
            let advice = "it is the upstream's; the first location's counts";
            findings.differs(&directive.place, directive.text(), advice);
        }
        None if is_first => table.set(ours, value, &directive.place),
        None => {
            let advice = "it is the upstream's; the first location says nothing of it";
            findings.differs(&directive.place, directive.text(), advice);
        }
    };
    if let Some((time, directive)) = scope.arg("proxy_connect_timeout")
        && let Some(time) = units::time(time)
    {
        put("connect_timeout", Value::Text(time), directive);
    }
    if let Some((tries, directive)) = scope.arg("proxy_next_upstream_tries")
        && let Ok(tries @ 1..) = tries.parse::<u32>()
    {
        put("retries", Value::plain(tries - 1), directive);
    }
    if let Some(directive) = scope.one("proxy_next_upstream")
        && directive.arg(0) == "off"
    {
        put("retries", Value::plain(0), directive);
    }
    match scope.arg("proxy_bind") {
        Some(("off", _)) | None => {}
        Some((address, directive)) if address.parse::<IpAddr>().is_ok() => {
            put("source", address.into(), directive);
        }
        Some((_, directive)) => {
            let advice = "only an address of this machine can be upstream.NAME.source; the client's \
                          is told with proxy_protocol or X-Forwarded-For";
            findings.lost(&directive.place, directive.text(), advice);
        }
    }
}
