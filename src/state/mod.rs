//! What both planes share in memory: the snapshot in force, and what outlives every snapshot.

pub mod admin_token;
pub mod backend_tls;
pub mod clients;
pub mod dispatcher;
pub mod overrides;
pub mod registry;
pub mod route;
pub mod server;
pub mod servers;
pub mod shared;
pub mod snapshot;
pub mod tap;
#[cfg(test)]
mod tests;
pub mod tls_handshakes;
pub mod upstream;

pub use shared::Shared;
pub use snapshot::Snapshot;
