//! From what is written to what holds: references that lead somewhere, addresses and names used once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{Errors, Problem};
use super::files::Files;
use super::kind::Placed;
use super::kind::address::is_certifiable;
use super::model::{
    Action, Admin, Certificate, ClientAuth, Config, Jwt, KeyFile, Listener, Passive, Route,
    ServerAddress, ServerSpec, Tls, Upstream, UpstreamTls,
};
use super::raw::{self, Demand, Named, Root};
use super::reader::{Provenance, nearest};
use super::source::Place;
use crate::logic::auth::jwt::Terms;
use crate::logic::endpoint::Endpoint;

/// Turns a whole configuration into the model, which is good only if no error was added.
pub(super) fn validate(
    mut root: Root,
    beginning: Place,
    provenance: Provenance,
    files: Files,
    errors: &mut Errors,
) -> Config {
    if let Some(bind) = &mut root.admin.bind
        && bind.place.is_nowhere()
    {
        bind.place = beginning.clone();
    }
    check_binds(&root, &beginning, errors);
    check_admin(&root, errors);
    check_servers(&root, errors);
    check_server_names(&root, errors);
    check_references(&root, errors);
    check_route_names(&root.routes, errors);
    let named = provenance.files().cloned();
    let paths: BTreeSet<PathBuf> = files.paths.into_iter().chain(named).collect();
    Config {
        server: root.server,
        log: root.log,
        admin: Admin {
            bind: root.admin.bind.map(|bind| bind.value),
            token_file: root.admin.token_file,
        },
        tracing: root.tracing,
        listeners: root
            .listeners
            .into_iter()
            .map(|named| Arc::new(listener(named)))
            .collect(),
        routes: root
            .routes
            .into_iter()
            .map(|raw| Arc::new(route(raw)))
            .collect(),
        upstreams: root
            .upstreams
            .into_iter()
            .map(|named| Arc::new(upstream(named)))
            .collect(),
        files: paths.into_iter().collect(),
        directories: files.directories.into_iter().collect(),
        provenance,
    }
}

fn check_binds(root: &Root, beginning: &Place, errors: &mut Errors) {
    if root.listeners.is_empty() {
        let example = r#"write [listener.public] with bind = "0.0.0.0:8080""#;
        errors.push(Problem::at(beginning, "listener", "there is none").instead(example));
    }
    let mut seen: Vec<&Placed<Endpoint>> = Vec::new();
    let listeners = root.listeners.iter().flat_map(|named| {
        let key = format!("listener.{}.bind", named.name);
        named
            .section
            .bind
            .iter()
            .map(move |bind| (key.clone(), bind))
    });
    let admin = root
        .admin
        .bind
        .iter()
        .map(|bind| ("admin.bind".to_owned(), bind));
    for (key, bind) in listeners
        .chain(admin)
        .filter(|(_, bind)| !is_any_port(&bind.value))
    {
        match seen.iter().find(|it| overlap(&it.value, &bind.value)) {
            None => seen.push(bind),
            Some(first) => errors.push(
                Problem::at(
                    &bind.place,
                    &key,
                    format!("is already taken at {}", first.place),
                )
                .value(bind.place.quote())
                .instead("write another address or port"),
            ),
        }
    }
}

/// Whether the kernel refuses the second of them: `0.0.0.0` is every address.
fn overlap(first: &Endpoint, second: &Endpoint) -> bool {
    let (Endpoint::Tcp(a), Endpoint::Tcp(b)) = (first, second) else {
        return first == second;
    };
    let is_wide = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && (a.ip() == b.ip() || (is_wide && a.is_ipv4() == b.is_ipv4()))
}

/// The kernel chooses a port, another one each time.
fn is_any_port(bind: &Endpoint) -> bool {
    matches!(bind, Endpoint::Tcp(address) if address.port() == 0)
}

fn check_admin(root: &Root, errors: &mut Errors) {
    let Some(Placed {
        value: Endpoint::Tcp(address),
        place,
    }) = &root.admin.bind
    else {
        return;
    };
    if root.admin.token_file.is_none() && !is_loopback(*address) {
        errors.push(
            Problem::at(
                place,
                "admin.bind",
                "is open to others, and there is no admin.token_file",
            )
            .value(place.quote())
            .instead(r#"write token_file = "admin.token", or bind to 127.0.0.1"#),
        );
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Health, counts and limits are kept by upstream and address, so an address stands once.
fn check_servers(root: &Root, errors: &mut Errors) {
    for named in &root.upstreams {
        let mut seen = HashMap::new();
        for server in &named.section.servers {
            let Some(address) = &server.value.address else {
                continue;
            };
            match seen.entry(address) {
                Entry::Vacant(first) => {
                    first.insert(&server.place);
                }
                Entry::Occupied(first) => {
                    let key = format!("upstream.{}.servers", named.name);
                    let what = format!("{address} is already at {}", first.get());
                    let instead = "write it once, with a weight";
                    errors.push(Problem::at(&server.place, &key, what).instead(instead));
                }
            }
        }
    }
}

/// Over TLS a server must prove to be somebody: what can't stand in a certificate needs a name.
fn check_server_names(root: &Root, errors: &mut Errors) {
    for named in &root.upstreams {
        let Some(tls) = &named.section.tls else {
            continue;
        };
        if tls.server_name.is_some() {
            continue;
        }
        for server in &named.section.servers {
            let what = match &server.value.address {
                Some(ServerAddress::Fixed(Endpoint::Unix(_))) => {
                    "a unix socket has no name to verify"
                }
                Some(ServerAddress::Name { host, .. }) if !is_certifiable(host) => {
                    "no certificate can be for this name"
                }
                _ => continue,
            };
            let key = format!("upstream.{}.servers", named.name);
            let problem = Problem::at(&server.place, &key, what).value(server.place.quote());
            errors.push(problem.instead(r#"write tls.server_name = "app.internal""#));
        }
    }
}

fn check_references(root: &Root, errors: &mut Errors) {
    let listeners: HashMap<&str, &raw::Listener> = root
        .listeners
        .iter()
        .map(|named| (&*named.name, &named.section))
        .collect();
    let upstreams: HashMap<&str, ()> = root
        .upstreams
        .iter()
        .map(|named| (&*named.name, ()))
        .collect();
    for route in &root.routes {
        if let Some(upstream) = &route.upstream {
            check_reference(&upstreams, "upstream", upstream, route, errors);
        }
        for listener in &route.listeners {
            check_reference(&listeners, "listener", listener, route, errors);
        }
        check_redirect(route, &listeners, errors);
    }
}

fn check_reference<T>(
    known: &HashMap<&str, T>,
    what: &str,
    name: &Placed<Arc<str>>,
    route: &raw::Route,
    errors: &mut Errors,
) {
    if known.contains_key(&*name.value) {
        return;
    }
    let instead = match errors.is_full() {
        true => None,
        false => nearest(&name.value, known.keys().copied()),
    };
    let instead = instead.map_or_else(
        || format!("write [{what}.{}]", name.value),
        |nearest| format!("did you mean \"{nearest}\"?"),
    );
    errors.push(
        Problem::at(
            &name.place,
            &format!("{}.{what}", route.key),
            format!("no such {what}"),
        )
        .value(name.place.quote())
        .instead(instead),
    );
}

/// A client that came over TLS would be sent where it is already, for ever.
fn check_redirect(route: &raw::Route, known: &HashMap<&str, &raw::Listener>, errors: &mut Errors) {
    let Some(redirect) = &route.redirect else {
        return;
    };
    let speaks_tls = |name: &&str| known.get(name).is_some_and(|section| section.tls.is_some());
    let listener = match route.listeners.as_slice() {
        [] => known.keys().copied().filter(speaks_tls).min(),
        names => names.iter().map(|name| &*name.value).find(speaks_tls),
    };
    if let Some(listener) = listener {
        let what = format!("listener {listener}, which the route serves, speaks TLS already");
        errors.push(
            Problem::at(&redirect.place, &format!("{}.redirect", route.key), what)
                .value(redirect.place.quote())
                .instead("name the plaintext listener with listener = \"…\""),
        );
    }
}

fn check_route_names(routes: &[raw::Route], errors: &mut Errors) {
    let mut seen: HashMap<Arc<str>, &Place> = HashMap::with_capacity(routes.len());
    for route in routes {
        match seen.entry(name_of(route)) {
            Entry::Vacant(first) => {
                first.insert(&route.place);
            }
            Entry::Occupied(first) => {
                let what = format!(
                    "the route at {} is called \"{}\" too",
                    first.get(),
                    first.key()
                );
                let instead = "write another name = \"…\"";
                errors.push(Problem::at(&route.place, &route.key, what).instead(instead));
            }
        }
    }
}

fn name_of(route: &raw::Route) -> Arc<str> {
    route.name.clone().unwrap_or_else(|| {
        let host = route
            .hosts
            .first()
            .map(ToString::to_string)
            .unwrap_or_default();
        format!("{host}{}", route.path).into()
    })
}

fn listener(named: Named<raw::Listener>) -> Listener {
    let section = named.section;
    Listener {
        name: named.name,
        bind: section.bind.into_iter().map(|bind| bind.value).collect(),
        socket_mode: section.socket_mode,
        proxy_protocol: section.proxy_protocol,
        trusted_proxies: section.trusted_proxies,
        header_timeout: section.header_timeout,
        max_header_bytes: section.max_header_bytes,
        max_headers: section.max_headers,
        keepalive_timeout: section.keepalive_timeout,
        receive_buffer_bytes: section.receive_buffer_bytes,
        tls: section.tls.map(tls),
    }
}

fn tls(tls: raw::Tls) -> Tls {
    let pairs = tls.certificates.into_iter();
    Tls {
        certificates: pairs
            .filter_map(|pair| certificate(pair.cert, pair.key))
            .collect(),
        min_version: tls.min_version,
        handshake_timeout: tls.handshake_timeout,
        client_auth: match (tls.client_auth, tls.client_ca) {
            (Demand::Optional, Some(ca)) => ClientAuth::Optional { ca },
            (Demand::Require, Some(ca)) => ClientAuth::Require { ca },
            (Demand::Off, _) | (_, None) => ClientAuth::Off,
        },
        client_crl: tls.client_crl,
    }
}

fn certificate(cert: Option<PathBuf>, key: Option<PathBuf>) -> Option<Certificate> {
    Some(Certificate {
        cert: cert?,
        key: key?,
    })
}

fn route(raw: raw::Route) -> Route {
    Route {
        name: name_of(&raw),
        action: action(&raw),
        listeners: raw.listeners.into_iter().map(|name| name.value).collect(),
        hosts: raw.hosts,
        path: raw.path,
        accept: raw.accept,
        rewrite: raw.rewrite.map(|rewrite| rewrite.value),
        handshake: raw.handshake,
        access: raw.access,
        jwt: raw.auth.jwt.and_then(jwt),
        limit: raw.limit,
        websocket: raw.websocket,
        http: raw.http,
        headers: raw.headers,
    }
}

fn jwt(raw: raw::Jwt) -> Option<Jwt> {
    let terms = Terms {
        from: raw.from,
        algorithms: raw.algorithms,
        issuer: raw.issuer,
        audience: raw.audience,
        user_claim: raw.user_claim,
        close_at_expiry: raw.close_at_expiry,
    };
    let public = raw.key_file.map(KeyFile::Public);
    Some(Jwt {
        terms: Arc::new(terms),
        key: public.or_else(|| raw.secret_file.map(KeyFile::Secret))?,
    })
}

fn action(route: &raw::Route) -> Action {
    match (&route.upstream, &route.respond) {
        (Some(upstream), _) => Action::Proxy {
            upstream: Arc::clone(&upstream.value),
        },
        (None, Some(status)) => Action::Respond {
            status: status.value,
        },
        (None, None) => Action::RedirectHttps,
    }
}

fn upstream(named: Named<raw::Upstream>) -> Upstream {
    let section = named.section;
    Upstream {
        name: named.name,
        balance: section.balance,
        servers: section
            .servers
            .into_iter()
            .filter_map(|server| spec(server.value))
            .collect(),
        connect_timeout: section.connect_timeout,
        handshake_timeout: section.handshake_timeout,
        retries: section.retries,
        max_handshakes: section.max_handshakes,
        queue_length: section.queue_length,
        queue_timeout: section.queue_timeout,
        on_server_down: section.on_server_down,
        on_server_removed: section.on_server_removed,
        drain: section.drain,
        slow_start: section.slow_start,
        keepalive: section.keepalive,
        resolve: section.resolve,
        source: section.source,
        receive_buffer_bytes: section.receive_buffer_bytes,
        tls: section.tls.map(|tls| UpstreamTls {
            server_name: tls.server_name,
            ca: tls.ca,
            client_certificate: certificate(tls.client_cert, tls.client_key),
            insecure: tls.insecure,
        }),
        proxy_protocol: section.proxy_protocol,
        health_check: section.health_check,
        passive: Some(section.passive).filter(|passive: &Passive| passive.failures > 0),
    }
}

fn spec(server: raw::ServerEntry) -> Option<ServerSpec> {
    Some(ServerSpec {
        address: server.address?,
        weight: server.weight,
        backup: server.backup,
        max_connections: server.max_connections,
    })
}
