//! The data plane: a connection passes one file per step, on one worker, from accept to end.

pub mod account;
pub mod ask;
pub mod attempt;
pub mod connection;
pub mod dial;
pub mod errand;
pub mod exchange;
pub mod feed;
pub mod inbox;
pub mod intake;
pub mod introduction;
pub mod knock;
pub mod link;
pub mod outlet;
pub mod passing;
pub mod plain;
pub mod pool;
pub mod relay;
pub mod scratch;
pub mod secure;
pub mod stream;
pub mod tail;
pub mod trace;
pub mod upgrade;
pub mod visit;
pub mod wording;
