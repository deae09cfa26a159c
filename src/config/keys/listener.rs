//! `[listener.NAME]`.

use super::{key, optional};
use crate::config::check;
use crate::config::defaults::{
    MAX_HEADER_BYTES, MAX_HEADERS, MAX_SOCKET_BUFFER_BYTES, MAX_TIME, MIN_HEADER_BYTES,
    MIN_SOCKET_BUFFER_BYTES, MIN_TIME,
};
use crate::config::kind::address::{Listen, Network};
use crate::config::kind::number::{Count, Mode, Size, Time};
use crate::config::kind::section::{Braces, Key, Section, Shape, Status, read_optional};
use crate::config::kind::text::FileName;
use crate::config::kind::{At, Kind, List, Maybe, Or, Word, Words, Written};
use crate::config::model::{ProxyProtocolIn, TlsVersion};
use crate::config::raw::{Demand, Listener, Pair, Tls};

pub(in crate::config) static LISTENER: Section<Listener> = Section::<Listener>::new(&[
    key!("bind" => bind, List(At(Listen)), Acts, "Addresses to listen on; compulsory."),
    key!("socket_mode" => socket_mode, Mode, Acts,
        "Permissions of its unix sockets: who may connect."),
    key!("proxy_protocol" => proxy_protocol, Words(&[
        ("off", Word::Is(ProxyProtocolIn::Off)),
        ("accept", Word::Is(ProxyProtocolIn::Accept)),
        ("require", Word::Is(ProxyProtocolIn::Require)),
    ]), Acts, "Whether `trusted_proxies` may or must send a PROXY header (v1 or v2); from others one is a bad request."),
    key!("trusted_proxies" => trusted_proxies, List(Network), Acts,
        "Peers whose PROXY header and X-Forwarded-For are believed."),
    key!("header_timeout" => header_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "From accept (or the end of TLS) to the end of the request head, PROXY header included; then 408."),
    key!("max_header_bytes" => max_header_bytes, Size(MIN_HEADER_BYTES, MAX_HEADER_BYTES), Acts,
        "Most bytes of a request head, the target included; then 431."),
    key!("max_headers" => max_headers, Count(1, MAX_HEADERS), Acts,
        "Most header fields of a request head; then 431."),
    key!("keepalive_timeout" => keepalive_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "On a kept connection, until the next request's first byte."),
    key!("receive_buffer" => receive_buffer_bytes,
        Or("auto", Size(MIN_SOCKET_BUFFER_BYTES, MAX_SOCKET_BUFFER_BYTES)), Acts,
        "`SO_RCVBUF` of client sockets; `\"auto\"` leaves it to the kernel."),
    optional!("tls" => tls, TLS, Acts, "TLS; no table is plaintext."),
])
.own(&["bind"])
.then(check::listener);

static TLS: Section<Tls> = Section::<Tls>::new(&[
    key!("certificates" => certificates, List(Braces(&PAIR)), Acts,
        "Certificate chains and their keys, picked by SNI; the first serves where none fits. Compulsory."),
    key!("min_version" => min_version, Words(&[
        ("1.2", Word::Is(TlsVersion::V1_2)),
        ("1.3", Word::Is(TlsVersion::V1_3)),
    ]), Acts, "Oldest version spoken."),
    key!("handshake_timeout" => handshake_timeout, Time(MIN_TIME, MAX_TIME), Acts,
        "From accept to the end of the TLS handshake, PROXY header included."),
    key!("client_auth" => client_auth, Words(&[
        ("off", Word::Is(Demand::Off)),
        ("optional", Word::Is(Demand::Optional)),
        ("require", Word::Is(Demand::Require)),
    ]), Acts, "Whether clients may or must show a certificate."),
    key!("client_ca" => client_ca, Maybe(FileName), Acts,
        "PEM file with the roots of client certificates; compulsory unless `client_auth` is `\"off\"`."),
    key!("client_crl" => client_crl, Maybe(FileName), Acts,
        "PEM file with revocation lists, one of every authority in `client_ca` and below; a reload takes another one."),
])
.then(|tls, node, _| tls.place = node.place.clone());

static PAIR: Section<Pair> = Section::<Pair>::new(&[
    key!("cert" => cert, Maybe(FileName), Acts, "PEM file with the chain, leaf first."),
    key!("key" => key, Maybe(FileName), Acts, "PEM file with the private key."),
])
.then(check::pair);
