//! What a line of the access log says: plain data, and the table of fields that writes it.
//! `docs/access-log.md` repeats the table and a test holds the two together.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::logic::reason::EndReason;

use super::json::{Value, write_line};

/// A line to be.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it happened.
    pub at: SystemTime,
    /// What happened.
    pub event: Event,
    /// What is known of the request; a session's two lines share it.
    pub facts: Arc<Facts>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A 101 was sent.
    Open,
    /// The session is over.
    Close(Ending),
    /// A plain request was answered.
    Request(Served),
    /// A request was not let through.
    Refused {
        /// Head received to answer.
        took: Duration,
        /// The word of the refusal.
        reason: &'static str,
    },
}

/// How a session ended, and what it carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the log say it")]
pub struct Ending {
    pub lived: Duration,
    pub messages_to_backend: u64,
    pub messages_to_client: u64,
    pub bytes_to_backend: u64,
    pub bytes_to_client: u64,
    pub close_code: Option<u16>,
    pub close_from: Option<&'static str>,
    pub reason: EndReason,
    pub ping_rtt: Option<Duration>,
}

/// How a plain request was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Head received to the answer's end.
    pub took: Duration,
    /// Payload of its body.
    pub bytes_to_backend: u64,
    /// Payload of the answer's.
    pub bytes_to_client: u64,
    /// Why the answer stopped before its end, if it did.
    pub cut: Option<&'static str>,
}

/// What is known of a request when its line is written; texts of the peer's are bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of the log say it")]
pub struct Facts {
    pub id: Option<u64>,
    pub listener: Arc<str>,
    pub route: Option<Arc<str>>,
    pub upstream: Option<Arc<str>>,
    pub server: Option<Arc<str>>,
    pub client: IpAddr,
    pub user: Option<Box<str>>,
    pub client_subject: Option<Box<str>>,
    pub client_san: Option<Box<str>>,
    pub method: Option<Box<str>>,
    pub host: Option<Box<str>>,
    pub path: Option<Box<str>>,
    pub status: Option<u16>,
    pub handshake: Option<Duration>,
    pub retries: Option<u32>,
}

impl Facts {
    /// All that is known of a client that has not asked for anything yet.
    pub fn of(listener: &Arc<str>, client: IpAddr) -> Self {
        Self {
            id: None,
            listener: Arc::clone(listener),
            route: None,
            upstream: None,
            server: None,
            client,
            user: None,
            client_subject: None,
            client_san: None,
            method: None,
            host: None,
            path: None,
            status: None,
            handshake: None,
            retries: None,
        }
    }
}

impl Record {
    /// Appends its line, as JSON.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let fields = FIELDS.iter();
        write_line(fields.map(|field| (field.name, (field.value)(self))), out);
    }

    const fn ending(&self) -> Option<&Ending> {
        match &self.event {
            Event::Close(ending) => Some(ending),
            _ => None,
        }
    }

    /// To the backend, to the client.
    const fn bytes(&self) -> Option<[u64; 2]> {
        match &self.event {
            Event::Close(ending) => Some([ending.bytes_to_backend, ending.bytes_to_client]),
            Event::Request(served) => Some([served.bytes_to_backend, served.bytes_to_client]),
            Event::Open | Event::Refused { .. } => None,
        }
    }
}

/// A field of every line.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it says, for the documentation.
    pub meaning: &'static str,
    value: fn(&Record) -> Value<'_>,
}

macro_rules! fields {
    ($($name:literal $value:expr, $meaning:literal;)*) => {
        /// Every field, in the order of the line. Without a value it is null, never left out.
        pub const FIELDS: &[Field] = &[$(Field { name: $name, meaning: $meaning, value: $value }),*];
    };
}

fields! {
    "ts" |record| Value::Moment(record.at),
        "When, in UTC.";
    "event" |record| Value::Text(record.event.word()),
        "`open`, `close`, `request` or `refused`.";
    "id" |record| record.facts.id.map_or(Value::Null, Value::Digits),
        "The session, as the admin API names it.";
    "listener" |record| Value::Text(&record.facts.listener),
        "Where the client came in.";
    "route" |record| text(record.facts.route.as_deref()),
        "The route that took the request.";
    "upstream" |record| text(record.facts.upstream.as_deref()),
        "The upstream of that route.";
    "server" |record| text(record.facts.server.as_deref()),
        "The server, or the last one that was tried.";
    "client" |record| Value::Address(record.facts.client),
        "The client's address, by the trusted chain.";
    "user" |record| text(record.facts.user.as_deref()),
        "The user that the token names.";
    "client_subject" |record| text(record.facts.client_subject.as_deref()),
        "The subject of the client's certificate (RFC 4514).";
    "client_san" |record| text(record.facts.client_san.as_deref()),
        "The subject alternative names of the client's certificate.";
    "method" |record| text(record.facts.method.as_deref()),
        "The request's method.";
    "host" |record| text(record.facts.host.as_deref()),
        "The host that was asked for, without port.";
    "path" |record| text(record.facts.path.as_deref()),
        "The path in its one form, never with a query.";
    "status" |record| number(record.facts.status),
        "The status that was sent.";
    "handshake_ms" |record| millis(record.facts.handshake),
        "Request head received to 101 sent.";
    "duration_ms" |record| millis(record.event.took()),
        "Life of the session, 101 to end; of a request, head received to the answer's end.";
    "messages_to_backend" |record| number(record.ending().map(|end| end.messages_to_backend)),
        "Data messages that went to the server.";
    "messages_to_client" |record| number(record.ending().map(|end| end.messages_to_client)),
        "Data messages that went to the client.";
    "bytes_to_backend" |record| number(record.bytes().map(|[to_backend, _]| to_backend)),
        "Payload bytes of data frames, or of a request's body, that went to the server.";
    "bytes_to_client" |record| number(record.bytes().map(|[_, to_client]| to_client)),
        "Payload bytes of data frames, or of an answer's body, that went to the client.";
    "close_code" |record| number(record.ending().and_then(|end| end.close_code)),
        "The code of the Close that ended the session.";
    "close_from" |record| text(record.ending().and_then(|end| end.close_from)),
        "Who sent that Close: `client`, `backend` or `proxy`.";
    "reason" |record| text(record.event.reason()),
        "Why the session ended, the request was refused, or the answer stopped before its end.";
    "ping_rtt_ms" |record| millis(record.ending().and_then(|end| end.ping_rtt)),
        "The last round trip of a ping of the proxy's to the client.";
    "retries" |record| number(record.facts.retries),
        "Other servers that were tried before the last one.";
}

impl Event {
    const fn word(&self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close(_) => "close",
            Self::Request(_) => "request",
            Self::Refused { .. } => "refused",
        }
    }

    const fn took(&self) -> Option<Duration> {
        match self {
            Self::Open => None,
            Self::Close(ending) => Some(ending.lived),
            Self::Request(served) => Some(served.took),
            Self::Refused { took, .. } => Some(*took),
        }
    }

    const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Request(served) => served.cut,
            Self::Close(ending) => Some(ending.reason.word()),
            Self::Refused { reason, .. } => Some(reason),
        }
    }
}

fn text(text: Option<&str>) -> Value<'_> {
    text.map_or(Value::Null, Value::Text)
}

fn number<'a>(number: Option<impl Into<u64>>) -> Value<'a> {
    number.map_or(Value::Null, |number| Value::Number(number.into()))
}

fn millis<'a>(span: Option<Duration>) -> Value<'a> {
    span.map_or(Value::Null, Value::Millis)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn facts() -> Facts {
        Facts {
            id: Some(4_294_967_296),
            route: Some("chat".into()),
            upstream: Some("chat".into()),
            server: Some("10.0.0.1:8080".into()),
            method: Some("GET".into()),
            host: Some("ws.example.com".into()),
            path: Some("/ws".into()),
            status: Some(101),
            handshake: Some(Duration::from_micros(1_500)),
            retries: Some(0),
            ..Facts::of(&"public".into(), [192, 0, 2, 1].into())
        }
    }

    fn ending() -> Ending {
        Ending {
            lived: Duration::from_secs(2),
            messages_to_backend: 3,
            messages_to_client: 4,
            bytes_to_backend: 30,
            bytes_to_client: 40,
            close_code: Some(1000),
            close_from: Some("client"),
            reason: EndReason::ClientClose,
            ping_rtt: Some(Duration::from_micros(250)),
        }
    }

    fn served() -> Served {
        Served {
            took: Duration::from_millis(3),
            bytes_to_backend: 5,
            bytes_to_client: 6,
            cut: None,
        }
    }

    fn line(event: Event, facts: Facts) -> String {
        let record = Record {
            at: SystemTime::UNIX_EPOCH,
            event,
            facts: Arc::new(facts),
        };
        let mut out = Vec::new();
        record.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn json(event: Event, facts: Facts) -> Json {
        serde_json::from_str(&line(event, facts)).unwrap()
    }

    #[test]
    fn a_close_line_says_everything() {
        let expected = json!({
            "ts": "1970-01-01T00:00:00.000Z", "event": "close", "id": "4294967296",
            "listener": "public", "route": "chat", "upstream": "chat", "server": "10.0.0.1:8080",
            "client": "192.0.2.1", "user": null, "client_subject": null,
            "client_san": null, "method": "GET", "host": "ws.example.com",
            "path": "/ws", "status": 101, "handshake_ms": 1.5, "duration_ms": 2000.0,
            "messages_to_backend": 3, "messages_to_client": 4, "bytes_to_backend": 30,
            "bytes_to_client": 40, "close_code": 1000, "close_from": "client",
            "reason": "client_close", "ping_rtt_ms": 0.25, "retries": 0,
        });
        assert_eq!(json(Event::Close(ending()), facts()), expected);
    }

    #[test]
    fn a_close_line_repeats_its_open_line() {
        let open = json(Event::Open, facts());
        let close = json(Event::Close(ending()), facts());
        for (name, value) in open.as_object().unwrap() {
            let repeated = *value == Json::Null || name == "event" || close[name] == *value;
            assert!(repeated, "{name}: {value} became {}", close[name]);
        }
    }

    /// CONTRACT section 5: null, never left out.
    #[test]
    fn every_line_has_every_field_in_the_same_order() {
        let took = Duration::ZERO;
        let reason = "no_route";
        for event in [
            Event::Open,
            Event::Close(ending()),
            Event::Request(served()),
            Event::Refused { took, reason },
        ] {
            for facts in [facts(), Facts::of(&"public".into(), [192, 0, 2, 1].into())] {
                let line = line(event, facts);
                let mut rest = line.as_str();
                for field in FIELDS {
                    let name = format!("\"{}\":", field.name);
                    rest = rest
                        .split_once(&name)
                        .unwrap_or_else(|| panic!("{name} in {line}"))
                        .1;
                }
            }
        }
    }

    #[test]
    fn a_refused_line_says_why_and_how_long_it_took() {
        let took = Duration::from_millis(3);
        let event = Event::Refused {
            took,
            reason: "origin",
        };
        let line = json(
            event,
            Facts {
                status: Some(403),
                ..facts()
            },
        );
        assert_eq!(line["event"], "refused");
        assert_eq!(line["reason"], "origin");
        assert_eq!(line["status"], 403);
        assert_eq!(line["duration_ms"], 3.0);
        assert_eq!(line["close_code"], Json::Null);
    }
}
