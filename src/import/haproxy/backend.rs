//! Backends, and the server side of `listen`, as upstreams.

use std::net::IpAddr;

use super::address;
use super::proxy::Proxy;
use super::read::{Kind, Line};
use super::units::time;
use crate::import::draft::{Table, Value};
use crate::import::finding::Findings;
use crate::import::source::Place;

/// HAProxy's own: a check every two seconds.
const INTERVAL: &str = "2s";

/// A `server` line with the defaults it stands under.
struct Server<'a> {
    line: &'a Line,
    options: Vec<&'a str>,
}

impl<'a> Server<'a> {
    fn read(line: &'a Line, defaults: &[&'a Line]) -> Self {
        // What a server says itself comes first, so that it is found first.
        let own = line.words.iter().skip(3);
        let below = defaults.iter().flat_map(|line| line.words.iter().skip(1));
        Self {
            line,
            options: own.chain(below).map(String::as_str).collect(),
        }
    }

    fn has(&self, word: &str) -> bool {
        self.options.contains(&word)
    }

    fn after(&self, word: &str) -> Option<&'a str> {
        let at = self.options.iter().position(|own| *own == word)?;
        self.options.get(at + 1).copied()
    }

    fn is_off(&self) -> bool {
        self.has("disabled") || self.after("weight") == Some("0")
    }
}

/// Writes an upstream; none when it has no server in use.
pub fn write(proxy: &Proxy<'_>, findings: &mut Findings) -> Option<Table> {
    let mut table = Table::default();
    let section = proxy.section;
    table.comment(format!("{}, {}", section.head.text(), section.head.place));
    let defaults: Vec<&Line> = proxy
        .own(&["default-server"])
        .chain(proxy.defaults.iter().flat_map(|section| {
            section
                .lines
                .iter()
                .filter(|line| line.begins(&["default-server"]))
        }))
        .collect();
    let servers: Vec<Server<'_>> = proxy
        .own(&["server"])
        .map(|line| Server::read(line, &defaults))
        .collect();
    let entries: Vec<(Value, Place)> = servers
        .iter()
        .filter_map(|server| entry(server, findings))
        .collect();
    balance(proxy, &mut table, findings);
    if entries.is_empty() {
        return None;
    }
    if section.kind == Kind::Backend {
        refusals(proxy, findings);
    }
    table.set("servers", Value::Lines(entries), &section.head.place);
    timing(proxy, &mut table);
    source(proxy, &servers, &mut table, findings);
    one_for_all(&servers, &mut table, findings);
    checks(proxy, &servers, &mut table, findings);
    Some(table)
}

/// What a backend itself refuses or redirects; routes do that here, which are its frontends'.
fn refusals(proxy: &Proxy<'_>, findings: &mut Findings) {
    let of_requests = |line: &&Line| match (line.word(0), line.word(1)) {
        ("http-request", "deny" | "reject" | "return" | "redirect") => true,
        ("tcp-request", second) => second != "inspect-delay",
        (first, _) => first == "redirect",
    };
    for line in proxy.section.lines.iter().filter(of_requests) {
        let advice = "a backend refuses nothing by itself; say it in the frontends that use it";
        findings.lost(&line.place, line.text(), advice);
    }
}

fn balance(proxy: &Proxy<'_>, table: &mut Table, findings: &mut Findings) {
    if let Some((kind, line)) = proxy.value(&["balance"]) {
        match kind {
            "roundrobin" | "static-rr" => table.set("balance", "round_robin", &line.place),
            "leastconn" => table.set("balance", "least_conn", &line.place),
            "source" => table.set("balance", "ip_hash", &line.place),
            "random" => {
                findings.differs(&line.place, line.text(), "least_conn looks at every server");
                table.set("balance", "least_conn", &line.place);
            }
            "first" => {
                let advice = "least_conn spreads over all servers; make the later ones `backup`";
                findings.lost(&line.place, line.text(), advice);
                table.set("balance", "least_conn", &line.place);
            }
            _ => {
                let advice = "hashes other than the client's address come with a later version";
                findings.lost(&line.place, line.text(), advice);
            }
        }
    }
    let sticks = proxy.own(&["stick"]).find(|line| line.has("src"));
    if let Some(line) = sticks {
        let advice = "ip_hash binds a client to its server without a table";
        findings.differs(&line.place, line.text(), advice);
        table.set("balance", "ip_hash", &line.place);
    } else if let Some(line) = proxy.own(&["stick"]).next() {
        findings.lost(
            &line.place,
            line.text(),
            "clients are bound by their address: ip_hash",
        );
    }
    if let Some(line) = proxy.setting(&["cookie"]) {
        let advice = "cookies that bind come with a later version; ip_hash binds a client to its \
                      server too";
        findings.lost(&line.place, line.text(), advice);
        table.set("balance", "ip_hash", &line.place);
    }
}

fn entry(server: &Server<'_>, findings: &mut Findings) -> Option<(Value, Place)> {
    let place = &server.line.place;
    if server.is_off() {
        let advice = "left out: a server out of use is not written down, or drained at run time";
        findings.differs(place, server.line.text(), advice);
        return None;
    }
    let Some(address) = address::read(server.line.word(2)).map(|it| it.to_string()) else {
        findings.lost(place, server.line.text(), "write an address with a port");
        return None;
    };
    let mut keys = vec![("address".to_owned(), Value::Text(address.clone()))];
    for (theirs, ours, none) in [
        ("weight", "weight", "1"),
        ("maxconn", "max_connections", "0"),
    ] {
        if let Some(number) = server.after(theirs)
            && number != none
            && number.parse::<u32>().is_ok()
        {
            keys.push((ours.to_owned(), Value::plain(number)));
        }
    }
    if server.has("backup") {
        keys.push(("backup".to_owned(), Value::plain(true)));
    }
    let entry = match keys.len() {
        1 => Value::Text(address),
        _ => Value::Inline(keys),
    };
    Some((entry, place.clone()))
}

fn timing(proxy: &Proxy<'_>, table: &mut Table) {
    for (theirs, ours) in [
        (["timeout", "connect"], "connect_timeout"),
        (["timeout", "queue"], "queue_timeout"),
    ] {
        if let Some((text, line)) = proxy.value(&theirs)
            && let Some(text) = time(text)
        {
            table.set(ours, text, &line.place);
        }
    }
    if let Some((retries, line)) = proxy.value(&["retries"])
        && retries.parse::<u32>().is_ok()
    {
        table.set("retries", Value::plain(retries), &line.place);
    }
}

/// Which address connections come from: what the first server says of itself, else the backend.
fn source(proxy: &Proxy<'_>, servers: &[Server<'_>], table: &mut Table, findings: &mut Findings) {
    let own = servers.iter().find(|server| !server.is_off());
    let own = own.and_then(|server| Some((server.after("source")?, server.line)));
    let Some((text, line)) = own.or_else(|| proxy.value(&["source"])) else {
        return;
    };
    match text.parse::<IpAddr>() {
        Ok(any) if any.is_unspecified() => {}
        Ok(_) => table.set("source", text, &line.place),
        Err(_) => {
            let advice = "write the address alone into upstream.NAME.source; its port is chosen at \
                          the connect";
            findings.lost(&line.place, line.text(), advice);
        }
    }
    if line.has("usesrc") {
        let advice = "the client's address is told with proxy_protocol or X-Forwarded-For";
        findings.lost(&line.place, line.text(), advice);
    }
}

/// What is a server's there and the upstream's here: the first server's counts.
fn one_for_all(servers: &[Server<'_>], table: &mut Table, findings: &mut Findings) {
    let Some(first) = servers.iter().find(|server| !server.is_off()) else {
        return;
    };
    for word in [
        "ssl",
        "verify",
        "ca-file",
        "sni",
        "crt",
        "send-proxy",
        "send-proxy-v2",
        "slowstart",
        "source",
        "check",
    ] {
        let said = |server: &Server<'_>| {
            let value = server.after(word).filter(|_| VALUED.contains(&word));
            (server.has(word), value.map(str::to_owned))
        };
        let other = servers
            .iter()
            .find(|other| !other.is_off() && said(other) != said(first));
        if let Some(other) = other {
            let advice = format!("`{word}` is the upstream's; the first server's counts");
            findings.differs(&other.line.place, other.line.text(), advice);
        }
    }
    let place = &first.line.place;
    if let Some(text) = first.after("slowstart").and_then(time) {
        table.set("slow_start", text, place);
    }
    if first.has("send-proxy-v2") || first.has("send-proxy-v2-ssl") {
        table.set("proxy_protocol", "v2", place);
    } else if first.has("send-proxy") {
        table.set("proxy_protocol", "v1", place);
    }
    if first.after("on-marked-down") == Some("shutdown-sessions") {
        table.set("on_server_down", "close", place);
    }
    if first.has("ssl") {
        tls(first, table, findings);
    }
}

/// Options of the list above that have a value behind them.
const VALUED: [&str; 6] = ["verify", "ca-file", "sni", "crt", "slowstart", "source"];

fn tls(server: &Server<'_>, table: &mut Table, findings: &mut Findings) {
    let place = &server.line.place;
    let mut keys = Vec::new();
    let mut put = |key: &str, value: Value| keys.push((key.to_owned(), value));
    let named = server.after("verifyhost").or_else(|| {
        let fixed = server.after("sni")?.strip_prefix("str(")?;
        fixed.strip_suffix(')')
    });
    match named {
        Some(name) => put("server_name", name.into()),
        None if server.after("sni").is_some() => {
            let advice = "the name is fixed; write it into upstream.NAME.tls.server_name";
            findings.lost(place, server.line.text(), advice);
        }
        None => {}
    }
    if server.after("verify") == Some("none") {
        put("insecure", Value::plain(true));
        let advice = "`verify none` takes any certificate; leave `insecure` out, and name a ca, to \
                      be safe";
        findings.differs(place, server.line.text(), advice);
    } else if let Some(ca) = server.after("ca-file").filter(|ca| *ca != "@system-ca") {
        put("ca", ca.into());
    }
    if let Some(pem) = server.after("crt") {
        put("client_cert", pem.into());
        put("client_key", pem.into());
    }
    table.set("tls", Value::Inline(keys), place);
}

fn checks(proxy: &Proxy<'_>, servers: &[Server<'_>], table: &mut Table, findings: &mut Findings) {
    let Some(checked) = servers
        .iter()
        .find(|server| server.has("check") && !server.is_off())
    else {
        return;
    };
    let place = &checked.line.place;
    let check = table.table("health_check");
    match proxy.setting(&["option", "httpchk"]) {
        Some(line) => http_check(proxy, line, check, findings),
        None => check.set("type", "tcp", place),
    }
    let interval = checked.after("inter").and_then(time);
    check.set(
        "interval",
        interval.unwrap_or_else(|| INTERVAL.to_owned()),
        place,
    );
    if let Some((text, line)) = proxy.value(&["timeout", "check"])
        && let Some(text) = time(text)
    {
        check.set("timeout", text, &line.place);
    }
    for (word, default) in [("rise", "2"), ("fall", "3")] {
        let number = checked.after(word).unwrap_or(default);
        if number.parse::<u32>().is_ok() {
            let name = if word == "rise" { "rise" } else { "fall" };
            check.set(name, Value::plain(number), place);
        }
    }
    for word in [
        "fastinter",
        "downinter",
        "port",
        "addr",
        "agent-check",
        "observe",
    ] {
        if checked.has(word) {
            let advice = "one interval, at the server's own address, is all there is";
            findings.lost(place, format!("server … {word}"), advice);
        }
    }
    for line in proxy.own(&["tcp-check"]) {
        if line.word(1) != "connect" {
            findings.lost(&line.place, line.text(), "a tcp check is a connect");
        }
    }
}

fn http_check(proxy: &Proxy<'_>, line: &Line, check: &mut Table, findings: &mut Findings) {
    let lines: Vec<&Line> = proxy.own(&["http-check"]).collect();
    let sends = lines
        .iter()
        .find(|line| line.begins(&["http-check", "send"]));
    let uri = match line.words.len() {
        0..=2 => None,
        3 => Some(line.word(2)),
        _ => Some(line.word(3)),
    };
    let uri = sends
        .and_then(|line| line.after("uri"))
        .or(uri)
        .unwrap_or("/");
    let upgrades = |line: &&Line| {
        line.words
            .iter()
            .any(|word| word.to_ascii_lowercase().contains("websocket"))
    };
    let is_websocket = lines.iter().any(&upgrades) || upgrades(&line);
    let kind = if is_websocket { "websocket" } else { "http" };
    check.set("type", kind, &line.place);
    check.set("path", uri, sends.map_or(&line.place, |line| &line.place));
    for line in lines {
        let expected = line.words[1..].join(" ");
        let same = match line.word(1) {
            "send" | "connect" | "disable-on-404" => true,
            "expect" => [
                "status 200-399",
                "status 101",
                "rstatus ^[23]",
                "rstatus (2|3)[0-9][0-9]",
            ]
            .iter()
            .any(|known| expected.ends_with(known)),
            _ => false,
        };
        match line.word(1) {
            "expect" if !same && expected.contains("status") => {
                findings.differs(&line.place, line.text(), "2xx and 3xx are good");
            }
            _ if !same => {
                findings.lost(
                    &line.place,
                    line.text(),
                    "a check looks at the status alone",
                );
            }
            _ => {}
        }
    }
}
