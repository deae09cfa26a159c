//! The black-box suite: one binary, one module per subject, the real `tidegate` underneath.
//! `support` is the small language the tests are written in.

#![expect(
    unreachable_pub,
    reason = "a test binary exports nothing; pub means for the other modules"
)]
#![expect(
    clippy::print_stderr,
    reason = "a failed test shows what its programs said"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a failed step of a test is a failed test"
)]

mod access;
mod access_log;
mod admin;
mod applications;
mod architecture;
mod attacks;
mod auth;
mod backend_answers;
mod balance;
mod bench;
mod browser;
mod chaos;
mod cli;
mod client_certificates;
mod client_limits;
mod closing;
mod config;
mod container;
mod dashboard;
mod demo;
mod desync;
mod differential;
mod docs;
mod drain;
mod explain;
mod faults;
mod frames;
mod handshake;
mod headers;
mod health;
mod heartbeats;
mod import;
mod import_parity;
mod interop;
mod large_bodies;
mod limits;
mod metrics;
mod monitoring;
mod operations;
mod paced_drain;
mod plain;
mod plain_faults;
mod plain_streams;
mod proxy_protocol;
mod reasons;
mod rebalance;
mod reload;
mod routes;
mod service;
mod shutdown;
mod sim;
mod slow_reader;
mod smuggling;
mod source;
mod storm;
mod support;
mod tail;
mod threads;
mod tls;
mod torture;
mod tracing;
mod unix;
mod upgrade;
mod upstream_tls;
mod watch;
mod web_clients;
