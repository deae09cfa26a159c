//! Every line's fate: read here, needless here, or not to be had here.

use super::read::{Kind, Line, Section};
use crate::import::finding::Findings;

/// Tells of every line of a section that nothing else will tell of.
pub fn tell(section: &Section, findings: &mut Findings) {
    if section.kind == Kind::Other {
        if !["resolvers", "peers", "mailers", "ring", "log-profile"].contains(&section.head.word(0))
        {
            findings.lost(&section.head.place, section.head.text(), UNKNOWN);
        }
        return;
    }
    for line in &section.lines {
        let (first, second) = match line.word(0) {
            "no" => (line.word(1), line.word(2)),
            first => (first, line.word(1)),
        };
        tell_of_case(line, findings);
        let pair = format!("{first} {second}");
        let says = |known: &&str| {
            let fits = |text: &str| match known.strip_suffix('*') {
                Some(family) => text.starts_with(family),
                None => *known == text,
            };
            fits(first) || fits(&pair)
        };
        let read = CARRIED.iter().any(says);
        let needless = NEEDLESS.iter().any(says)
            || (section.kind == Kind::Global && !first.starts_with("lua"));
        let is_rule = ["http-request", "tcp-request", "redirect", "acl"].contains(&first);
        if section.kind == Kind::Defaults && is_rule {
            let advice = "rules are a frontend's; say them in those that are meant";
            findings.lost(&line.place, line.text(), advice);
        } else if !read && !needless {
            let advice = LOST.iter().find(|(names, _)| names.iter().any(says));
            findings.lost(
                &line.place,
                line.text(),
                advice.map_or(UNKNOWN, |(_, advice)| advice),
            );
        }
    }
}

/// Tells of paths that are compared without their case.
fn tell_of_case(line: &Line, findings: &mut Findings) {
    let ignores = |pair: &[String]| {
        (pair[0].starts_with("path") || pair[0].starts_with("url")) && pair[1] == "-i"
    };
    if line.words.windows(2).any(ignores) {
        let advice = "paths are compared with their case";
        findings.differs(&line.place, line.text(), advice);
    }
}

const UNKNOWN: &str = "no counterpart; see docs/configuration.md for what there is";

const CARRIED: [&str; 31] = [
    "acl",
    "balance",
    "bind",
    "cookie",
    "default-server",
    "default_backend",
    "http-check",
    "http-request",
    "maxconn",
    "mode",
    "monitor-uri",
    "option httpchk",
    "option tcp-check",
    "redirect",
    "retries",
    "server",
    "source",
    "stick",
    "stick-table",
    "tcp-check",
    "tcp-request",
    "timeout check",
    "timeout client",
    "timeout connect",
    "timeout http-keep-alive",
    "timeout http-request",
    "timeout queue",
    "timeout server",
    "timeout tunnel",
    "use_backend",
    "hash-type",
];

const NEEDLESS: [&str; 26] = [
    "description",
    "enabled",
    "fullconn",
    "http-reuse",
    "id",
    "log*",
    "option abortonclose",
    "option accept-invalid-http-*",
    "option clitcpka",
    "option contstats",
    "option dontlog*",
    "option forwardfor",
    "option http-*",
    "option httpclose",
    "option httplog",
    "option log-*",
    "option logasap",
    "option redispatch",
    "option socket-stats",
    "option splice-*",
    "option srvtcpka",
    "option tcpka",
    "option tcplog",
    "timeout client-fin",
    "timeout server-fin",
    "unique-id-*",
];

const LOST: [(&[&str], &str); 10] = [
    (
        &["stats"],
        "figures are at the admin address: `tidegate status`, /metrics, the dashboard",
    ),
    (
        &["http-response", "http-after-response", "rsp*"],
        "fields of responses are not changed; set them in the backend",
    ),
    (
        &["compression"],
        "responses are passed as they come; compress in the backend",
    ),
    (
        &["errorfile", "errorfiles", "errorloc*", "http-error"],
        "the proxy's own answers are one line of text",
    ),
    (
        &["filter", "email-alert", "capture", "declare"],
        "there is nothing like it",
    ),
    (
        &["req*", "block", "rate-limit"],
        "an old word of HAProxy; say it with http-request first",
    ),
    (&["timeout tarpit"], "refused requests are answered at once"),
    (
        &[
            "use-server",
            "force-persist",
            "ignore-persist",
            "persist",
            "dispatch",
        ],
        "a server is chosen by `balance` alone",
    ),
    (
        &["server-template"],
        "a name in `servers` stands for all its addresses, looked up every `resolve`",
    ),
    (&["disabled"], "leave the section out to switch it off"),
];
