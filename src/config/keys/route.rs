//! `[[route]]`.

use super::{key, optional, table};
use crate::config::check;
use crate::config::defaults::{
    MAX_COUNT, MAX_MESSAGE_BYTES, MAX_PARK_BUFFER_BYTES, MAX_TIME, MIN_FRAME_BYTES, MIN_INTERVAL,
    MIN_PARK_BUFFER_BYTES, MIN_TIME,
};
use crate::config::kind::address::Network;
use crate::config::kind::header::{FieldName, Fields};
use crate::config::kind::http::{Host, Origin, PLAIN_PATH, Path};
use crate::config::kind::number::{BytesPerSecond, Count, PerSecond, Size, Time, ZeroIsNone};
use crate::config::kind::section::{Key, Section, Shape, Status, read_optional, read_shared};
use crate::config::kind::text::{ANY, FileName, LABEL, NAME};
use crate::config::kind::token::TokenSource;
use crate::config::kind::{At, Flag, Kind, List, Maybe, Or, Word, Words, Written};
use crate::config::model::{Access, Headers, Http, Limit, WebSocket};
use crate::config::raw::{Auth, Jwt, Redirect, Root, Route};
use crate::config::reader::Reader;
use crate::config::tree::{Node, Value};
use crate::logic::auth::signature::Algorithm;
use crate::logic::route::Accept;
use crate::logic::websocket::OnExcess;
use crate::logic::websocket::handshake::Strictness;

pub(in crate::config) static ROUTE: Section<Route> = Section::<Route>::new(&[
    key!("name" => name, Maybe(LABEL), Acts,
        "Its name in logs, metrics and messages; by default its first host and its path."),
    key!("listener" => listeners, List(At(NAME)), Acts, "Listeners it serves; by default all."),
    key!("host" => hosts, List(Host), Acts, "Hosts it serves; by default any."),
    key!("path" => path, Path, Acts,
        "Path it serves and everything below it, on a segment border."),
    key!("upstream" => upstream, Maybe(At(NAME)), Acts,
        "Where requests go. A route has this, `respond` or `redirect`."),
    key!("respond" => respond, Maybe(At(Count(200, 599))), Acts, "Status to answer with instead."),
    key!("redirect" => redirect, Maybe(At(Words(&[("https", Word::Is(Redirect::Https))]))), Acts,
        "Sends clients to the same address over https instead."),
    key!("accept" => accept, Words(&[
        ("websocket", Word::Is(Accept::WebSocket)),
        ("http", Word::Is(Accept::Http)),
        ("both", Word::Is(Accept::Both)),
    ]), Acts, "With `\"websocket\"` a plain request gets 426, with `\"http\"` an upgrade 403."),
    key!("rewrite" => rewrite, Maybe(At(PLAIN_PATH)), Acts,
        "Replaces the part of the path that `path` matched, towards the backend."),
    key!("handshake" => handshake, Words(&[
        ("strict", Word::Is(Strictness::Strict)),
        ("lax", Word::Is(Strictness::Lax)),
    ]), Acts, "`\"lax\"` forgives a backend whose 101 breaks RFC 6455 in anything but `Sec-WebSocket-Accept`."),
    table!("access" => access, ACCESS, Acts, "Who may come in."),
    table!("auth" => auth, AUTH, Acts, "Who the client is."),
    table!("limit" => limit, LIMIT, Acts, "How many may come in."),
    Key {
        name: "websocket",
        status: Status::Acts,
        doc: "What a WebSocket may do.",
        shape: || Shape::Table { rows: WEBSOCKET.rows(), off: false },
        read: |route, node, reader| read_shared(&WEBSOCKET, &mut route.websocket, node, reader),
        write: |route| Written::Table(WEBSOCKET.write(&route.websocket)),
    },
    table!("http" => http, HTTP, Acts, "What a plain request may do."),
    table!("headers" => headers, HEADERS, Acts, "Header fields towards the backend."),
])
.own(&["name", "host", "path", "upstream", "respond", "redirect", "rewrite"])
.then(check::route);

static ACCESS: Section<Access> = Section::new(&[
    key!("allow" => allow, List(Network), Acts, "Addresses that may come in; empty is all; others get 403."),
    key!("deny" => deny, List(Network), Acts, "Addresses that get 403, whatever `allow` says."),
    key!("origins" => origins, List(Origin), Acts,
        "Origins that may open a WebSocket, others get 403; empty is any. `\"same-host\"` is the request's own, \
         `\"none\"` a request without one."),
]);

static AUTH: Section<Auth> = Section::new(&[
    optional!("jwt" => jwt, JWT, Acts, "A JSON Web Token, without which a request gets 401."),
]);

static JWT: Section<Jwt> = Section::new(&[
    key!("from" => from, List(TokenSource), Acts,
        "Where the token is looked for; the first that is present decides alone."),
    key!("algorithms" => algorithms, List(ALGORITHMS), Acts, "Signatures that count; they must fit the key. Compulsory."),
    key!("key_file" => key_file, Maybe(FileName), Acts, "PEM file with the public key; there is this or `secret_file`."),
    key!("secret_file" => secret_file, Maybe(FileName), Acts, "File with the secret of `HS` algorithms."),
    key!("jwks_url" => jwks_url, Maybe(ANY), Later, "Where the keys are fetched."),
    key!("issuer" => issuer, Maybe(ANY), Acts, "What `iss` must be."),
    key!("audience" => audience, Maybe(ANY), Acts, "What `aud` must contain."),
    key!("user_claim" => user_claim, ANY, Acts, "Claim that names the user in logs and in X-Tidegate-User."),
    key!("close_at_expiry" => close_at_expiry, Flag, Acts, "Close a WebSocket with 3000 when its token ends."),
]);

static LIMIT: Section<Limit> = Section::new(&[
    key!("connections_per_ip" => connections_per_ip, ZeroIsNone(MAX_COUNT), Acts,
        "Live WebSockets and requests in flight of one client (an IPv4 address or an IPv6 /64), then 429; 0 is no limit."),
    key!("handshakes_per_ip" => handshakes_per_ip, Or("off", PerSecond), Acts,
        "Upgrade requests of one client, then 429 with Retry-After."),
    key!("max_connections" => max_connections, ZeroIsNone(MAX_COUNT), Acts,
        "WebSockets and plain requests in flight of the route, then 503 with Retry-After; 0 is no limit."),
]);

static WEBSOCKET: Section<WebSocket> = Section::<WebSocket>::new(&[
    key!("idle_timeout" => session.idle_timeout, Or("off", Time(MIN_TIME, MAX_TIME)), Acts,
        "Longest time without a byte in either direction, the proxy's own pings apart; then 1001."),
    key!("max_lifetime" => session.max_lifetime, Or("off", Time(MIN_TIME, MAX_TIME)), Acts,
        "Longest life, spread by ±10 %; then 1012."),
    key!("ping_interval" => session.ping_interval, Or("off", Time(MIN_INTERVAL, MAX_TIME)), Acts,
        "Silence after which the proxy pings a client."),
    key!("ping_timeout" => session.ping_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "How long the answer to a ping may take; then the connection is cut."),
    key!("ping_backend" => session.ping_backend, Flag, Acts, "Ping the backend too; without an answer the client gets 1014."),
    key!("max_frame" => session.max_frame_bytes, Size(MIN_FRAME_BYTES, MAX_MESSAGE_BYTES), Acts,
        "Largest payload of a frame; then 1009."),
    key!("max_message" => session.max_message_bytes, Size(MIN_FRAME_BYTES, MAX_MESSAGE_BYTES), Acts,
        "Largest payload of a message over all its frames; then 1009."),
    key!("client_messages" => session.client_messages, Or("off", PerSecond), Acts,
        "Data messages that one session's client may send."),
    key!("client_bytes" => session.client_bytes, Or("off", BytesPerSecond), Acts,
        "Payload that one session's client may send; beyond it the proxy stops reading, and may overshoot by 64 KiB."),
    key!("on_excess" => session.on_excess, Words(&[
        ("close", Word::Is(OnExcess::Close)),
        ("throttle", Word::Is(OnExcess::Throttle)),
    ]), Acts, "Beyond `client_messages`: close with 1008, or stop reading."),
    key!("park_buffer" => park_buffer_bytes, Size(MIN_PARK_BUFFER_BYTES, MAX_PARK_BUFFER_BYTES), Acts,
        "Most that is held for a peer that does not read, per direction."),
])
.then(check::websocket);

static HTTP: Section<Http> = Section::new(&[
    key!("max_body" => max_body_bytes, Or("off", Size(0, MAX_MESSAGE_BYTES)), Acts,
        "Largest request body; then 413."),
    key!("response_timeout" => response_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "Request sent to response head received; then 504."),
    key!("body_timeout" => body_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "Silence inside a request body (408) or a response body."),
    key!("send_timeout" => send_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "How long a client may take no byte of its response; then it is cut."),
]);

static HEADERS: Section<Headers> = Section::new(&[
    key!("set" => set, Fields, Acts, "Fields set, after X-Forwarded-For/-Proto/-Host/-Port and X-Real-IP."),
    key!("remove" => remove, List(FieldName), Acts, "Fields removed."),
]);

const ALGORITHMS: Words<Algorithm> = Words(&[
    ("HS256", Word::Is(Algorithm::HS256)),
    ("HS384", Word::Is(Algorithm::HS384)),
    ("HS512", Word::Is(Algorithm::HS512)),
    ("RS256", Word::Is(Algorithm::RS256)),
    ("RS384", Word::Is(Algorithm::RS384)),
    ("RS512", Word::Is(Algorithm::RS512)),
    ("PS256", Word::Is(Algorithm::PS256)),
    ("PS384", Word::Is(Algorithm::PS384)),
    ("PS512", Word::Is(Algorithm::PS512)),
    ("ES256", Word::Is(Algorithm::ES256)),
    ("ES384", Word::Is(Algorithm::ES384)),
    ("EdDSA", Word::Is(Algorithm::EdDSA)),
]);

/// Reads every `[[route]]`; one without a name goes by its position in messages.
pub(super) fn read_routes(root: &mut Root, node: &Node, reader: &mut Reader) {
    let Value::List(nodes) = &node.value else {
        reader.wrong_type(node, "write [[route]], once for each");
        return;
    };
    for (i, node) in nodes.iter().enumerate() {
        let mut route = Route {
            place: node.place.clone(),
            ..root.defaults.route.clone()
        };
        // "route" is the key so far, and a name follows it as a key of its own.
        let segment = written_name(node).unwrap_or_else(|| format!("[{}]", i + 1));
        reader.within(&segment, |reader| {
            reader.key().clone_into(&mut route.key);
            ROUTE.read(&mut route, node, reader);
        });
        root.routes.push(route);
    }
}

fn written_name(node: &Node) -> Option<String> {
    let Value::Table(table) = &node.value else {
        return None;
    };
    match &table.find("name")?.node.value {
        Value::Text(name) if (LABEL.accepts)(name) => Some(name.clone()),
        _ => None,
    }
}
