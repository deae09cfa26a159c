//! The data plane: a connection passes one file per step, on one worker, from accept to end.

pub mod account;
pub mod attempt;
pub mod connection;
pub mod dial;
pub mod exchange;
pub mod inbox;
pub mod passing;
pub mod relay;
pub mod scratch;
pub mod secure;
pub mod stream;
pub mod upgrade;
pub mod visit;
