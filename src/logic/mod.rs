//! Pure decisions: no socket, clock, thread or source of randomness; those are arguments.

#![cfg_attr(not(test), warn(clippy::disallowed_methods, clippy::disallowed_types))]

pub mod answer;
pub mod auth;
pub mod balance;
pub mod check;
pub mod endpoint;
pub mod health;
pub mod limit;
pub mod pace;
pub mod parked;
pub mod proxy_header;
pub mod reason;
pub mod refusal;
pub mod request;
pub mod route;
pub mod trace;
pub mod websocket;
