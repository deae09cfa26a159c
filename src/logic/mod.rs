//! Pure decisions: no socket, clock, thread or source of randomness; those are arguments.

pub mod answer;
pub mod balance;
pub mod health;
pub mod limit;
pub mod reason;
pub mod refusal;
pub mod request;
pub mod route;
pub mod websocket;
