//! Tidegate: a WebSocket-first layer-7 proxy and load balancer.
//!
//! Folders are layers and an import goes down only; `ARCHITECTURE.md` has the map and
//! `tests/it/architecture.rs` holds every edge against it.

pub mod app;
pub mod cli;
pub mod config;
pub mod control;
pub mod import;
pub mod load;
pub mod logic;
pub mod proxy;
pub mod runtime;
pub mod state;
pub mod telemetry;
pub mod tls;
