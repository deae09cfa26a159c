//! Checks of one key against another in the same section, made right after it is read.

use super::model::{ProxyProtocolIn, WebSocket};
use super::raw::{Demand, Jwt, Listener, Pair, Route, ServerEntry, Upstream, UpstreamTls};
use super::reader::Reader;
use super::tree::{Node, Value};

pub(super) fn listener(listener: &mut Listener, node: &Node, reader: &mut Reader) {
    if reader.in_defaults {
        return;
    }
    if !Reader::says(node, "bind") {
        reader.wrong_at(&node.place, "has no bind", r#"write bind = "0.0.0.0:8080""#);
    }
    let demands = listener.proxy_protocol == ProxyProtocolIn::Require;
    if demands && listener.trusted_proxies.is_empty() && !Reader::says(node, "trusted_proxies") {
        let example = r#"write trusted_proxies = ["10.0.0.0/8"]"#;
        let what = "lets nobody in without trusted_proxies";
        reader.wrong_key(node, "proxy_protocol", what, example);
    }
    let Some(tls) = &listener.tls else { return };
    let table = table_at(node, "tls");
    let said = |name| table.is_some_and(|table| Reader::says(table, name));
    reader.within("tls", |reader| {
        if tls.certificates.is_empty() && !said("certificates") {
            let example = r#"write certificates = [{ cert = "a.crt", key = "a.key" }]"#;
            reader.wrong_at(&tls.place, "has no certificates", example);
        }
        if tls.client_auth != Demand::Off && tls.client_ca.is_none() && !said("client_ca") {
            let example = r#"write client_ca = "clients.pem""#;
            reader.wrong_key(
                table.unwrap_or(node),
                "client_auth",
                "needs a client_ca",
                example,
            );
        }
        if tls.client_auth == Demand::Off && tls.client_crl.is_some() {
            let instead = r#"write client_auth = "require", or leave it out"#;
            let what = "revokes certificates that nobody is asked for";
            reader.wrong_key(table.unwrap_or(node), "client_crl", what, instead);
        }
    });
}

pub(super) fn pair(_: &mut Pair, node: &Node, reader: &mut Reader) {
    for name in ["cert", "key"] {
        if !Reader::says(node, name) {
            let example = r#"write { cert = "a.crt", key = "a.key" }"#;
            reader.wrong_at(&node.place, format!("has no {name}"), example);
        }
    }
}

pub(super) fn route(route: &mut Route, node: &Node, reader: &mut Reader) {
    if reader.in_defaults {
        return;
    }
    let actions = ["upstream", "respond", "redirect"];
    let mut said = actions.into_iter().filter(|name| Reader::says(node, name));
    match (said.next(), said.next()) {
        (None, _) => reader.wrong_at(
            &node.place,
            "goes nowhere",
            r#"write upstream = "NAME", respond = 404 or redirect = "https""#,
        ),
        (Some(_), None) => {}
        (Some(first), Some(second)) => {
            let instead = "a route has one of upstream, respond and redirect";
            reader.wrong_key(node, second, format!("{first} is set too"), instead);
        }
    }
    if Reader::says(node, "rewrite") && !Reader::says(node, "upstream") {
        reader.wrong_key(
            node,
            "rewrite",
            "nothing to rewrite without an upstream",
            "leave it out",
        );
    }
    if let Some(token) = &route.auth.jwt {
        reader.within("auth", |reader| {
            reader.within("jwt", |reader| jwt(token, node, reader));
        });
    }
}

/// The table may stand at the route, in the defaults, or in part at both.
fn jwt(jwt: &Jwt, route: &Node, reader: &mut Reader) {
    let table = table_at(route, "auth").and_then(|auth| table_at(auth, "jwt"));
    let said = |name| table.is_some_and(|table| Reader::says(table, name));
    let table = table.unwrap_or(route);
    if jwt.from.is_empty() {
        let example = r#"write from = ["header"]"#;
        reader.wrong_key(table, "from", "looks for a token nowhere", example);
    }
    if jwt.algorithms.is_empty() && !said("algorithms") {
        let example = r#"write algorithms = ["ES256"]"#;
        reader.wrong_at(&table.place, "has no algorithms", example);
    }
    let key = match (&jwt.key_file, &jwt.secret_file) {
        (Some(_), Some(_)) => {
            let instead = "a signature has one key: a public one or a secret";
            reader.wrong_key(table, "secret_file", "key_file is set too", instead);
            return;
        }
        (None, None) if said("key_file") || said("secret_file") => return,
        (None, None) => {
            let example = r#"write key_file = "jwt.pem", or secret_file with an HS algorithm"#;
            reader.wrong_at(&table.place, "has no key", example);
            return;
        }
        (Some(_), None) => "key_file",
        (None, Some(_)) => "secret_file",
    };
    let is_secret = key == "secret_file";
    let misfit = jwt.algorithms.iter();
    if let Some(misfit) = misfit.copied().find(|it| it.is_symmetric() != is_secret) {
        let needs = if is_secret { "key_file" } else { "secret_file" };
        let what = format!("{} does not fit a {key}", misfit.word());
        reader.wrong_key(table, "algorithms", what, format!("it needs a {needs}"));
    }
}

pub(super) fn websocket(websocket: &mut WebSocket, node: &Node, reader: &mut Reader) {
    if websocket.session.ping_backend && websocket.session.ping_interval.is_none() {
        let example = r#"write ping_interval = "30s""#;
        reader.wrong_key(node, "ping_backend", "needs a ping_interval", example);
    }
}

pub(super) fn upstream(_: &mut Upstream, node: &Node, reader: &mut Reader) {
    if !reader.in_defaults && !Reader::says(node, "servers") {
        reader.wrong_at(
            &node.place,
            "has no servers",
            r#"write servers = ["10.0.0.1:8080"]"#,
        );
    }
}

pub(super) fn server(_: &mut ServerEntry, node: &Node, reader: &mut Reader) {
    if !Reader::says(node, "address") {
        let example = r#"write { address = "10.0.0.1:8080" }"#;
        reader.wrong_at(&node.place, "has no address", example);
    }
}

pub(super) fn upstream_tls(tls: &mut UpstreamTls, node: &Node, reader: &mut Reader) {
    match (&tls.client_cert, &tls.client_key) {
        (Some(_), None) if !Reader::says(node, "client_key") => {
            reader.wrong_key(
                node,
                "client_cert",
                "needs a client_key",
                "write both or neither",
            );
        }
        (None, Some(_)) if !Reader::says(node, "client_cert") => {
            reader.wrong_key(
                node,
                "client_key",
                "needs a client_cert",
                "write both or neither",
            );
        }
        _ => {}
    }
}

fn table_at<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    table.find(name).map(|entry| &entry.node)
}
