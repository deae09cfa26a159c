//! The same requests straight to a server and through the proxy: what the server saw and what the
//! client got must be equal but for the lists below.

mod answers;
mod case;
mod files;
mod requests;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::SocketAddr;

use serde_json::Value;

use crate::support::digest::Digest;
use crate::support::log::Line;
use crate::support::peers::Library::Node;
use crate::support::peers::Server;
use crate::support::reply::{Fields, Reply};
use crate::support::{Connection, Setup, Tidegate};
use case::Case;

/// Fields of a request that the proxy takes off, puts on or changes, and why they are not compared.
const OF_A_REQUEST: [&str; 12] = [
    // RFC 9110 section 7.6.1: each hop's own.
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "upgrade",
    // RFC 9110 section 10.1.1: the proxy answers it, the server need not.
    "expect",
    // Who the client is, said by the proxy.
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// The same of a response.
const OF_A_RESPONSE: [&str; 6] = [
    "connection",
    "keep-alive",
    // RFC 9110 section 15.5.22: a 426 must have one, ours where the server has none.
    "upgrade",
    // Announces what may be dropped on the way; the trailers themselves are compared.
    "trailer",
    // The second in which it was written.
    "date",
    // RFC 9112 section 6.1: never to HTTP/1.0, and each hop's own otherwise; the body is compared.
    "transfer-encoding",
];

/// A server and the proxy in front of it, each with a connection that is kept while it may be.
struct Pair {
    server: Server,
    straight: Way,
    through: Way,
    _proxy: Tidegate,
}

struct Way {
    address: SocketAddr,
    kept: Option<Connection>,
}

/// What one way came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    seen: Seen,
    got: Got,
}

/// The request as the server got it.
#[derive(Debug, PartialEq)]
struct Seen {
    method: String,
    target: String,
    fields: Fields,
    trailers: Fields,
    length: u64,
    sha256: String,
}

/// The response as the client got it.
#[derive(Debug, PartialEq)]
struct Got {
    interim: Vec<u16>,
    status: u16,
    reason: String,
    fields: Fields,
    length: usize,
    body: String,
    trailers: Fields,
}

#[test]
fn methods_with_every_kind_of_body() {
    check(&requests::methods());
}

#[test]
fn targets() {
    check(&requests::targets());
}

#[test]
fn fields_of_requests() {
    check(&requests::fields());
}

#[test]
fn bodies_of_requests() {
    check(&requests::bodies());
}

#[test]
fn requests_of_http_1_0() {
    check(&requests::old());
}

#[test]
fn every_status() {
    check(&answers::statuses());
}

#[test]
fn answers_without_a_body() {
    check(&answers::bodiless());
}

#[test]
fn fields_of_answers() {
    check(&answers::fields());
}

#[test]
fn bodies_of_answers() {
    check(&answers::bodies());
}

#[test]
fn there_are_more_than_two_hundred_cases_and_no_two_are_the_same() {
    let families = [
        requests::methods(),
        requests::targets(),
        requests::fields(),
        requests::bodies(),
        requests::old(),
        answers::statuses(),
        answers::bodiless(),
        answers::fields(),
        answers::bodies(),
    ];
    let cases: Vec<Case> = families.into_iter().flatten().collect();
    let count = |cases: &[Case]| {
        cases
            .iter()
            .map(Case::bytes)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert!(cases.len() > 200, "{}", cases.len());
    assert_eq!(count(&cases), cases.len());
}

/// Sends every case both ways and fails with all that differ.
#[track_caller]
fn check(cases: &[Case]) {
    let mut pair = Pair::new();
    let differences: Vec<String> = cases
        .iter()
        .filter_map(|case| pair.difference(case))
        .collect();
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        cases.len(),
        differences.join("\n")
    );
}

impl Pair {
    fn new() -> Self {
        let server = Node.server("mirror", &[]);
        let proxy = Tidegate::start(
            &Setup::to(&[&server]).with("listener.public", "max_header_bytes = \"32KiB\""),
        );
        Self {
            straight: Way::to(server.address),
            through: Way::to(proxy.address()),
            server,
            _proxy: proxy,
        }
    }

    /// What differs in the outcomes of a case.
    fn difference(&mut self, case: &Case) -> Option<String> {
        let straight = self.straight.take(case, &self.server);
        let straight = straight.map(|outcome| case.expected(outcome));
        let through = self.through.take(case, &self.server);
        let same = straight.is_ok() && straight == through;
        (!same).then(|| compared(case, &straight, &through))
    }
}

/// A case, and the lines that only one of its outcomes has.
fn compared(case: &Case, straight: &impl Debug, through: &impl Debug) -> String {
    let lines = [format!("{straight:#?}"), format!("{through:#?}")];
    let [straight, through] = lines
        .each_ref()
        .map(|text| text.lines().collect::<Vec<_>>());
    let only = |these: &[&str], those: &[&str], mark: &str| {
        let lines = these.iter().filter(|line| !those.contains(line));
        let marked = lines.map(|line| format!("  {mark} {}\n", line.trim()));
        marked.collect::<String>()
    };
    let [less, more] = [
        only(&straight, &through, "-"),
        only(&through, &straight, "+"),
    ];
    format!("{}{less}{more}", case.name())
}

impl Way {
    fn to(address: SocketAddr) -> Self {
        Self {
            address,
            kept: None,
        }
    }

    /// Sends a case and reads the response, on the connection of the last one while it may be.
    fn reply(&mut self, case: &Case) -> Option<Reply> {
        let kept = self.kept.take();
        // A server may close a kept connection without a word, as nginx does after a 412.
        let answered = kept.and_then(|connection| Self::reply_on(connection, case));
        let fresh = || Self::reply_on(Connection::open(self.address), case);
        let (reply, connection) = answered.or_else(fresh)?;
        self.kept = reply.kept.then_some(connection);
        Some(reply)
    }

    fn reply_on(mut connection: Connection, case: &Case) -> Option<(Reply, Connection)> {
        let reply = case.send(&mut connection)?;
        Some((reply, connection))
    }

    fn take(&mut self, case: &Case, server: &Server) -> Result<Outcome, String> {
        let mark = server.program.told().mark();
        let reply = self.reply(case).ok_or("no response")?;
        // The server tells of a request before it answers, but on another pipe.
        let told = |line: &Line| line.str("event").is_some();
        let line = server.program.told().wait_for(mark, "a request", told);
        let seen = Seen::of(&line).ok_or_else(|| line.text().to_owned())?;
        let got = Got::of(reply);
        Ok(Outcome { seen, got })
    }
}

impl Seen {
    fn of(line: &Line) -> Option<Self> {
        let mut fields = pairs(line.field("headers")?)?;
        OF_A_REQUEST
            .iter()
            .for_each(|&name| drop(fields.remove(name)));
        Some(Self {
            method: line.str("method")?.to_owned(),
            target: line.str("target")?.to_owned(),
            fields,
            trailers: pairs(line.field("trailers")?)?,
            length: line.field("length")?.as_u64()?,
            sha256: line.str("sha256")?.to_owned(),
        })
    }
}

impl Got {
    fn of(reply: Reply) -> Self {
        let mut fields = reply.fields;
        OF_A_RESPONSE
            .iter()
            .for_each(|&name| drop(fields.remove(name)));
        Self {
            interim: reply.interim,
            status: reply.status,
            reason: reply.reason,
            fields,
            length: reply.body.len(),
            body: format!("{:?}", Digest::of(&reply.body)),
            trailers: reply.trailers,
        }
    }
}

/// Fields as a program lists them.
fn pairs(list: &Value) -> Option<Fields> {
    let mut fields: Fields = BTreeMap::new();
    for pair in list.as_array()? {
        let (name, value) = (pair[0].as_str()?, pair[1].as_str()?);
        let values = fields.entry(name.to_ascii_lowercase()).or_default();
        values.push(value.to_owned());
    }
    Some(fields)
}
