//! Checks of one key against another in the same section, made right after it is read.

use super::model::{HealthCheck, WebSocket};
use super::raw::{Demand, Listener, Pair, Route, ServerEntry, Upstream, UpstreamTls};
use super::reader::Reader;
use super::source::Place;
use super::tree::{Node, Value};

pub(super) fn listener(listener: &mut Listener, node: &Node, reader: &mut Reader) {
    if reader.in_defaults {
        return;
    }
    if !Reader::says(node, "bind") {
        reader.wrong_at(&node.place, "has no bind", r#"write bind = "0.0.0.0:8080""#);
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
            let place = table.map_or_else(
                || tls.place.clone(),
                |table| Reader::place_of(table, &["client_auth"]),
            );
            let example = r#"write client_ca = "clients.pem""#;
            reader.wrong_at(&place, "client_auth needs a client_ca", example);
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

pub(super) fn route(_: &mut Route, node: &Node, reader: &mut Reader) {
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
            let place = Reader::place_of(node, &[second]);
            let instead = "a route has one of upstream, respond and redirect";
            reader.wrong_at(&place, format!("has both {first} and {second}"), instead);
        }
    }
    if Reader::says(node, "rewrite") && !Reader::says(node, "upstream") {
        let place = Reader::place_of(node, &["rewrite"]);
        reader.wrong_at(
            &place,
            "rewrite without an upstream has nothing to rewrite",
            "leave it out",
        );
    }
}

pub(super) fn websocket(websocket: &mut WebSocket, node: &Node, reader: &mut Reader) {
    if websocket.ping_backend && websocket.ping_interval.is_none() {
        let place = Reader::place_of(node, &["ping_backend", "ping_interval"]);
        let example = r#"write ping_interval = "30s""#;
        reader.wrong_at(&place, "ping_backend needs a ping_interval", example);
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
    if tls.client_cert.is_some() != tls.client_key.is_some() {
        let place = Reader::place_of(node, &["client_cert", "client_key"]);
        let what = "client_cert and client_key need each other";
        reader.wrong_at(&place, what, "write both or neither");
    }
}

pub(super) fn health_check(check: &mut HealthCheck, node: &Node, reader: &mut Reader) {
    if check.timeout > check.interval {
        let place: Place = Reader::place_of(node, &["timeout", "interval"]);
        let instead = "checks of one server do not overlap";
        reader.wrong_at(&place, "timeout is longer than interval", instead);
    }
}

fn table_at<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    table.find(name).map(|entry| &entry.node)
}
