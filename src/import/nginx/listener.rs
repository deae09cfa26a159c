//! Listeners: sockets that the same sites share, with the sites' certificates.

use std::path::{Path, PathBuf};

use super::scope::Scope;
use super::site::{Site, Socket};
use super::units;
use crate::import::draft::{Draft, Table, Value, free_name};
use crate::import::finding::Findings;
use crate::import::source::Place;
use crate::import::trust_nobody;

/// A listener and who answers on it.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name here.
    pub name: String,
    /// Whether TLS is spoken there.
    pub tls: bool,
    /// The sites on it, by their place in the file.
    pub sites: Vec<usize>,
    /// The one that answers for every other host.
    pub default: usize,
}

struct Opened<'a> {
    socket: Socket,
    sites: Vec<usize>,
    default: Option<usize>,
    place: &'a Place,
}

/// Writes the listeners of all sites.
pub fn write(sites: &[Site<'_>], directory: &Path, draft: &mut Draft) -> Vec<Listener> {
    let mut groups: Vec<Vec<Opened<'_>>> = Vec::new();
    for opened in sockets(sites) {
        let fits = |group: &Vec<Opened<'_>>| {
            let first = &group[0];
            let (a, b) = (&first.socket, &opened.socket);
            (a.port, a.tls, a.proxy_protocol) == (b.port, b.tls, b.proxy_protocol)
                && a.port.is_some()
                && (&first.sites, first.default) == (&opened.sites, opened.default)
        };
        match groups.iter_mut().find(|group| fits(group)) {
            Some(group) => group.push(opened),
            None => groups.push(vec![opened]),
        }
    }
    groups
        .iter()
        .map(|group| listener(group, sites, directory, draft))
        .collect()
}

/// Every socket once, in file order.
fn sockets<'a>(sites: &'a [Site<'_>]) -> Vec<Opened<'a>> {
    let mut opened: Vec<Opened<'a>> = Vec::new();
    for (i, site) in sites.iter().enumerate() {
        for listen in &site.listens {
            let known = opened
                .iter()
                .position(|known| known.socket.bind == listen.socket.bind);
            let at = known.unwrap_or_else(|| {
                opened.push(Opened {
                    socket: listen.socket.clone(),
                    sites: Vec::new(),
                    default: None,
                    place: &listen.place,
                });
                opened.len() - 1
            });
            let known = &mut opened[at];
            // nginx too takes these of any site for the whole socket.
            known.socket.tls |= listen.socket.tls;
            known.socket.proxy_protocol |= listen.socket.proxy_protocol;
            if !known.sites.contains(&i) {
                known.sites.push(i);
            }
            if listen.is_default {
                known.default = Some(i);
            }
        }
    }
    opened
}

fn listener(
    group: &[Opened<'_>],
    sites: &[Site<'_>],
    directory: &Path,
    draft: &mut Draft,
) -> Listener {
    let first = &group[0];
    let wanted = match first.socket.port {
        Some(80) => "http".to_owned(),
        Some(443) => "https".to_owned(),
        Some(port) => format!("port_{port}"),
        None => "unix".to_owned(),
    };
    let taken = |name: &str| draft.listeners.iter().any(|(known, _)| known == name);
    let name = free_name(&wanted, taken);
    let default = first.default.unwrap_or(first.sites[0]);
    let mut table = Table::default();
    let bind = match group {
        [one] => Value::Text(one.socket.bind.clone()),
        group => Value::texts(group.iter().map(|opened| &opened.socket.bind)),
    };
    table.set("bind", bind, first.place);
    // As in nginx, what is not a matter of the host is the default site's to say.
    let scope = &sites[default].scope;
    trust(scope, first, &mut table, &mut draft.findings);
    let others: Vec<_> = first
        .sites
        .iter()
        .filter(|&&site| site != default)
        .collect();
    for &&site in &others {
        same(scope, &sites[site], &TRUST, &mut draft.findings);
        if first.socket.tls {
            same(
                scope,
                &sites[site],
                &CLIENT_CERTIFICATES,
                &mut draft.findings,
            );
        }
    }
    limits(scope, &mut table);
    if first.socket.tls {
        let scopes: Vec<_> = first.sites.iter().map(|&i| &sites[i].scope).collect();
        tls(
            &scopes,
            scope,
            first.place,
            directory,
            &mut table,
            &mut draft.findings,
        );
    }
    draft.listeners.push((name.clone(), table));
    Listener {
        name,
        tls: first.socket.tls,
        sites: first.sites.clone(),
        default,
    }
}

/// What decides whose word is believed.
const TRUST: [&str; 2] = ["set_real_ip_from", "real_ip_header"];
/// What decides who may come in by certificate.
const CLIENT_CERTIFICATES: [&str; 4] = [
    "ssl_verify_client",
    "ssl_client_certificate",
    "ssl_trusted_certificate",
    "ssl_crl",
];

/// Tells where a site asks for something else than the default one, which speaks for all.
fn same(default: &Scope<'_>, site: &Site<'_>, names: &[&str], findings: &mut Findings) {
    let said = |scope: &Scope<'_>, name: &str| -> Vec<Vec<String>> {
        let directives = scope.all(name).into_iter();
        directives.map(|directive| directive.args.clone()).collect()
    };
    for name in names {
        if said(default, name) != said(&site.scope, name) {
            let own = site.scope.one(name);
            let advice = "a listener has one for all its sites, the default site's; give this site \
                          an address of its own";
            let what = format!("{name} of server {}", site.title());
            findings.lost(own.map_or(site.place, |own| &own.place), what, advice);
        }
    }
}

fn trust(scope: &Scope<'_>, opened: &Opened<'_>, table: &mut Table, findings: &mut Findings) {
    if opened.socket.proxy_protocol {
        table.set("proxy_protocol", "require", opened.place);
    }
    let mut trusted: Vec<&str> = Vec::new();
    let from = scope.all("set_real_ip_from");
    for directive in &from {
        match directive.arg(0) {
            "unix:" => {}
            network => trusted.push(network),
        }
    }
    let header = scope.arg("real_ip_header");
    let header = header.or_else(|| Some(("X-Real-IP", *from.first()?)));
    if let Some((header, directive)) = header
        && !["x-forwarded-for", "proxy_protocol"].contains(&header.to_ascii_lowercase().as_str())
    {
        let advice = "the client's address comes from X-Forwarded-For or a PROXY header";
        findings.lost(&directive.place, directive.text(), advice);
    }
    if let Some(first) = from.first() {
        table.set("trusted_proxies", Value::texts(&trusted), &first.place);
    } else if opened.socket.proxy_protocol {
        trust_nobody("listen … proxy_protocol", opened.place, table, findings);
    }
}

fn limits(scope: &Scope<'_>, table: &mut Table) {
    for (theirs, ours) in [
        ("client_header_timeout", "header_timeout"),
        ("keepalive_timeout", "keepalive_timeout"),
    ] {
        if let Some((time, directive)) = scope.arg(theirs)
            && units::seconds(time).is_some_and(|seconds| seconds > 0)
            && let Some(time) = units::time(time)
        {
            table.set(ours, time, &directive.place);
        }
    }
    if let Some(directive) = scope.one("large_client_header_buffers")
        && let (Ok(count), Some(bytes)) = (
            directive.arg(0).parse::<u64>(),
            units::bytes(directive.arg(1)),
        )
    {
        let most = bytes.saturating_mul(count).clamp(1 << 10, 1 << 20);
        table.set("max_header_bytes", Value::plain(most), &directive.place);
    }
}

fn tls(
    sites: &[&Scope<'_>],
    default: &Scope<'_>,
    place: &Place,
    directory: &Path,
    table: &mut Table,
    findings: &mut Findings,
) {
    let tls = table.table("tls");
    let mut pairs: Vec<(Value, Place)> = Vec::new();
    // The first serves where no name fits: the default site's.
    for scope in std::iter::once(&default).chain(sites) {
        let (certs, keys) = (
            scope.all("ssl_certificate"),
            scope.all("ssl_certificate_key"),
        );
        for (cert, key) in certs.iter().zip(&keys) {
            let pair = Value::Inline(vec![
                ("cert".to_owned(), file(directory, cert.arg(0))),
                ("key".to_owned(), file(directory, key.arg(0))),
            ]);
            if cert.arg(0).contains('$') {
                findings.lost(&cert.place, cert.text(), "name the files of every host");
            } else if !pairs.iter().any(|(known, _)| *known == pair) {
                pairs.push((pair, cert.place.clone()));
            }
        }
    }
    if pairs.is_empty() {
        findings.lost(
            place,
            "listen … ssl",
            "there is no certificate to go with it",
        );
    }
    tls.set("certificates", Value::Lines(pairs), place);
    if let Some(directive) = default.one("ssl_protocols") {
        let oldest = if directive.has("TLSv1.2") {
            "1.2"
        } else {
            "1.3"
        };
        for old in ["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"] {
            if directive.has(old) {
                findings.differs(&directive.place, old, "TLS 1.2 is the oldest there is");
            }
        }
        let oldest = if directive.has("TLSv1.3") {
            oldest
        } else {
            "1.2"
        };
        tls.set("min_version", oldest, &directive.place);
    }
    if let Some((time, directive)) = default.arg("ssl_handshake_timeout")
        && let Some(time) = units::time(time)
    {
        tls.set("handshake_timeout", time, &directive.place);
    }
    client_certificates(default, directory, tls, findings);
}

fn client_certificates(
    scope: &Scope<'_>,
    directory: &Path,
    tls: &mut Table,
    findings: &mut Findings,
) {
    let Some((verify, directive)) = scope.arg("ssl_verify_client") else {
        return;
    };
    let demand = match verify {
        "on" => "require",
        "optional" => "optional",
        "off" => return,
        _ => {
            let advice = "a certificate that is shown must be good";
            findings.differs(&directive.place, directive.text(), advice);
            "optional"
        }
    };
    tls.set("client_auth", demand, &directive.place);
    let roots = scope
        .arg("ssl_client_certificate")
        .or_else(|| scope.arg("ssl_trusted_certificate"));
    if let Some((name, directive)) = roots {
        tls.set("client_ca", file(directory, name), &directive.place);
    }
    if let Some((name, directive)) = scope.arg("ssl_crl") {
        tls.set("client_crl", file(directory, name), &directive.place);
    }
}

/// A file by its full name, for the result may stand elsewhere.
pub fn file(directory: &Path, name: &str) -> Value {
    let path: PathBuf = directory.join(name);
    Value::Text(path.display().to_string())
}
