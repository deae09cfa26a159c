//! `[upstream.NAME]`.

use std::time::Duration;

use serde_json::{Value as Json, json};

use super::{key, optional, table};
use crate::config::check;
use crate::config::defaults::{
    MAX_CHECKS, MAX_COUNT, MAX_RETRIES, MAX_SOCKET_BUFFER_BYTES, MAX_TIME, MIN_INTERVAL,
    MIN_SOCKET_BUFFER_BYTES, MIN_TIME,
};
use crate::config::kind::address::{Address, CERTIFIABLE_NAME, Ip};
use crate::config::kind::http::TARGET;
use crate::config::kind::number::{Count, Positive, Size, Time, ZeroIsNone};
use crate::config::kind::section::{Braces, Key, Row, Section, Shape, Status, read_optional};
use crate::config::kind::text::FileName;
use crate::config::kind::{At, Describe, Flag, Kind, List, Maybe, Or, Word, Words, Written};
use crate::config::model::{HealthCheck, OnServerDown, OnServerRemoved, Passive, ProbeKind};
use crate::config::raw::{ServerEntry, Upstream, UpstreamTls};
use crate::config::reader::Reader;
use crate::config::tree::{Node, Value};
use crate::logic::balance;
use crate::logic::proxy_header::Version;

pub(in crate::config) static UPSTREAM: Section<Upstream> = Section::<Upstream>::new(&[
    key!("balance" => balance, Words(&[
        ("round_robin", Word::Is(balance::Kind::RoundRobin)),
        ("least_conn", Word::Is(balance::Kind::LeastConn)),
        ("ip_hash", Word::Is(balance::Kind::IpHash)),
        ("hash", Word::Later),
        ("random_two", Word::Later),
        ("least_time", Word::Later),
    ]), Acts, "How a server is chosen: in turn by weight, the fewest live connections over weight, or by the client's address."),
    key!("servers" => servers, List(At(ServerKind)), Acts, "Its servers; compulsory."),
    key!("connect_timeout" => connect_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "How long connecting may take, TLS included."),
    key!("handshake_timeout" => handshake_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "Request sent to response head received."),
    key!("retries" => retries, Count(0, MAX_RETRIES), Acts,
        "Other servers tried while no byte of a response has come; once sent, only upgrades, GET and HEAD."),
    key!("max_handshakes" => max_handshakes, ZeroIsNone(MAX_COUNT), Acts,
        "Handshakes per server at a time, more wait; 0 is any number."),
    key!("queue_length" => queue_length, Count(0, MAX_COUNT), Acts,
        "Most requests that wait for a server at its `max_handshakes` or `max_connections`; then 503 with Retry-After."),
    key!("queue_timeout" => queue_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "How long a request may wait; then 503 with Retry-After."),
    key!("on_server_down" => on_server_down, Words(&[
        ("keep", Word::Is(OnServerDown::Keep)),
        ("close", Word::Is(OnServerDown::Close)),
    ]), Acts, "Live WebSockets of a server that fails its checks are kept, or closed with 1012, paced."),
    key!("on_server_removed" => on_server_removed, Words(&[
        ("keep", Word::Is(OnServerRemoved::Keep)),
        ("drain", Word::Is(OnServerRemoved::Drain)),
    ]), Acts, "Live WebSockets of a server that a reload removes are kept, or closed with 1012, paced."),
    key!("drain" => drain, Time(Duration::ZERO, MAX_TIME), Acts,
        "Over how long drained connections are closed."),
    key!("slow_start" => slow_start, Time(Duration::ZERO, MAX_TIME), Acts,
        "How long a server that was added or recovered takes to reach its weight."),
    key!("keepalive" => keepalive, Count(0, MAX_COUNT), Acts,
        "Idle connections kept per server and worker for plain requests."),
    key!("resolve" => resolve, Or("off", Time(MIN_INTERVAL, MAX_TIME)), Acts,
        "How often names in `servers` are looked up again; every address of a name is a server."),
    key!("source" => source, List(Ip), Acts,
        "Own addresses that connections to servers of the same IP version come from, in turn, checks included; none is the kernel's choice."),
    key!("receive_buffer" => receive_buffer_bytes,
        Or("auto", Size(MIN_SOCKET_BUFFER_BYTES, MAX_SOCKET_BUFFER_BYTES)), Acts,
        "`SO_RCVBUF` of sockets to the servers; bounds what the kernel holds for a client that stalls."),
    optional!("tls" => tls, TLS, Acts, "TLS to the servers; no table is plaintext."),
    key!("proxy_protocol" => proxy_protocol, Words(&[
        ("off", Word::Is(None)),
        ("v1", Word::Is(Some(Version::V1))),
        ("v2", Word::Is(Some(Version::V2))),
    ]), Acts, "The PROXY header that servers are sent first on every connection, health checks included."),
    optional!("health_check" => health_check, HEALTH_CHECK, Acts, "Active checks; no table is none."),
    table!("passive" => passive, PASSIVE, Acts, "Servers that fail requests are left out for a while; never the last one."),
])
.own(&["servers"])
.then(check::upstream);

static SERVER: Section<ServerEntry> = Section::<ServerEntry>::new(&[
    key!("address" => address, Maybe(Address), Acts, "Where it is."),
    key!("weight" => weight, Positive(u16::MAX), Acts, "Its share."),
    key!("backup" => backup, Flag, Acts, "Used only when no other server is available."),
    key!("max_connections" => max_connections, ZeroIsNone(MAX_COUNT), Acts,
        "Most live connections; 0 is any number."),
])
.then(check::server);

static TLS: Section<UpstreamTls> = Section::<UpstreamTls>::new(&[
    key!("server_name" => server_name, Maybe(CERTIFIABLE_NAME), Acts,
        "Name that is verified and sent as SNI; by default the server's own, or its IP address."),
    key!("ca" => ca, Maybe(FileName), Acts, "PEM file with the roots; by default the system's."),
    key!("client_cert" => client_cert, Maybe(FileName), Acts, "PEM file with the proxy's own certificate, for servers that ask for one."),
    key!("client_key" => client_key, Maybe(FileName), Acts, "PEM file with its key."),
    key!("insecure" => insecure, Flag, Acts, "Take any certificate: whoever can stand in between reads and changes everything."),
])
.then(check::upstream_tls);

static HEALTH_CHECK: Section<HealthCheck> = Section::new(&[
    key!("type" => kind, Words(&[
        ("tcp", Word::Is(ProbeKind::Tcp)),
        ("http", Word::Is(ProbeKind::Http)),
        ("websocket", Word::Is(ProbeKind::WebSocket)),
    ]), Acts, "A connect, with TLS where `tls` says so; a GET that expects 2xx or 3xx; or a real handshake, ping, pong and close."),
    key!("path" => path, TARGET, Acts, "What `\"http\"` and `\"websocket\"` ask for."),
    key!("interval" => interval, Time(MIN_INTERVAL, MAX_TIME), Acts, "Time between checks, jittered."),
    key!("timeout" => timeout, Time(MIN_TIME, MAX_TIME), Acts, "How long a check may take; the next one waits for its end."),
    key!("rise" => rise, Count(1, MAX_CHECKS), Acts, "Good checks in a row that bring a server up."),
    key!("fall" => fall, Count(1, MAX_CHECKS), Acts, "Bad checks in a row that take it down; the first check of a server decides alone."),
]);

static PASSIVE: Section<Passive> = Section::new(&[
    key!("failures" => failures, Count(0, MAX_CHECKS), Acts,
        "Failures in a row, at connect, TLS or handshake, that eject a server; 0 is off."),
    key!("eject" => eject, Time(MIN_TIME, MAX_TIME), Acts,
        "For how long; doubling to ten times that."),
]);

/// A server: its address alone, or a table.
struct ServerKind;

impl Describe for ServerKind {
    fn words(&self) -> String {
        format!("{}, or {}", Address.words(), Braces(&SERVER).words())
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [Address.schema(), Braces(&SERVER).schema()] })
    }

    fn rows(&self) -> Vec<Row> {
        SERVER.rows()
    }
}

impl Kind<ServerEntry> for ServerKind {
    fn read(&self, node: &Node, reader: &mut Reader) -> Option<ServerEntry> {
        match node.value {
            Value::Table(_) => Braces(&SERVER).read(node, reader),
            _ => {
                let address = Address.read(node, reader)?;
                Some(ServerEntry {
                    address: Some(address),
                    ..ServerEntry::default()
                })
            }
        }
    }

    fn write(&self, value: &ServerEntry) -> Written {
        let plain = ServerEntry {
            address: value.address.clone(),
            ..ServerEntry::default()
        };
        match &value.address {
            Some(address) if *value == plain => Written::Text(address.to_string()),
            _ => Braces(&SERVER).write(value),
        }
    }
}
