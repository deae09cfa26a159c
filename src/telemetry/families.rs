//! The table of metric families: name, kind, labels, help. `docs/metrics.md` repeats it and a
//! test holds the two together; `metrics.rs` builds its collectors from it.

use Kind::{Counter, Gauge, Histogram};

/// A family as it stands in the exposition.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Full name, `tidegate_` included.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Label names, in order.
    pub labels: &'static [&'static str],
    /// One line for the reader of a scrape.
    pub help: &'static str,
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    pub const fn word(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

macro_rules! families {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family = Family {
                name: concat!("tidegate_", $name),
                kind: $kind,
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// Every family, in the order of the documentation.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    CONNECTIONS = "connections" Gauge ["listener"]
        "Open client connections.";
    CONNECTIONS_ACCEPTED = "connections_accepted_total" Counter ["listener"]
        "Client connections accepted.";
    CONNECTIONS_REFUSED = "connections_refused_total" Counter ["listener", "reason"]
        "Connections and requests refused before they met a route, by cause.";
    TLS_HANDSHAKES = "tls_handshakes_total" Counter ["listener", "result"]
        "TLS handshakes with clients by result: full, resumed, failed, timeout, refused, displaced.";
    HANDSHAKES = "handshakes_total" Counter ["route", "status"]
        "Answers to upgrade requests by status.";
    HANDSHAKE_DURATION = "handshake_duration_seconds" Histogram ["route"]
        "Request head received to 101 sent.";
    WEBSOCKETS = "websockets" Gauge ["route", "upstream", "server"]
        "Live WebSockets.";
    WEBSOCKETS_CLOSED = "websockets_closed_total" Counter ["route", "upstream", "reason"]
        "WebSockets that ended, by end reason.";
    CLOSE_CODES = "close_codes_total" Counter ["route", "code", "from"]
        "Close codes by who sent them: client, backend, proxy.";
    SESSION_DURATION = "session_duration_seconds" Histogram ["route"]
        "Life of a WebSocket, 101 to end.";
    MESSAGES = "messages_total" Counter ["route", "direction", "kind"]
        "Messages relayed, counted by their final frame.";
    BYTES = "bytes_total" Counter ["route", "direction"]
        "Payload bytes of data frames relayed.";
    PING_RTT = "ping_rtt_seconds" Histogram ["route", "side"]
        "Round trip of the proxy's own pings.";
    REQUESTS = "requests_total" Counter ["route", "status"]
        "Plain requests by the status of their answer; 499 is a client that left before it.";
    REQUEST_DURATION = "request_duration_seconds" Histogram ["route"]
        "Head of a plain request received to the end of its answer.";
    SERVER_UP = "server_up" Gauge ["upstream", "server"]
        "1 while the server passes its active checks, 0 when it failed them; drained and ejected ones are in the admin API.";
    SERVER_CONNECTIONS = "server_connections" Gauge ["upstream", "server"]
        "Live WebSockets and requests in flight of a server.";
    SERVER_FAILURES = "server_failures_total" Counter ["upstream", "server", "phase"]
        "Failed attempts by phase: connect, tls, handshake.";
    RETRIES = "retries_total" Counter ["upstream"]
        "Attempts repeated on another server.";
    DRAINING = "draining" Gauge ["upstream", "reason"]
        "WebSockets that a drain under way has still to close.";
    QUEUE_LENGTH = "queue_length" Gauge ["upstream"]
        "Requests that wait for a server.";
    HEALTH_CHECKS = "health_checks_total" Counter ["upstream", "server", "result"]
        "Active checks by result: ok, failed.";
    RELOADS = "reloads_total" Counter ["result"]
        "Configuration reloads by result: ok, failed.";
    LAST_RELOAD_TIMESTAMP = "last_reload_timestamp_seconds" Gauge []
        "Unix time of the last reload that was tried.";
    LAST_RELOAD_SUCCESSFUL = "last_reload_successful" Gauge []
        "1 when the last reload took effect, 0 when it was refused.";
    PARKED_BYTES = "parked_bytes" Gauge []
        "Bytes held for peers that do not read.";
    ACCESS_LOG_DROPPED = "access_log_dropped_total" Counter []
        "Lines of the access log that were lost: it could not be written, or not fast enough.";
    TRACE_SPANS = "trace_spans_total" Counter ["result"]
        "OpenTelemetry spans by what became of them: exported, dropped.";
    WORKERS = "workers" Gauge []
        "Worker threads.";
    WORKER_CONNECTIONS = "worker_connections" Gauge ["worker"]
        "Open client connections of a worker.";
    FILE_DESCRIPTORS = "file_descriptors" Gauge ["kind"]
        "File descriptors: used, limit.";
    BUILD_INFO = "build_info" Gauge ["version"]
        "Always 1; the version is the label.";
}
