//! RFC 6455 as pure state machines: handshake, frame borders, the relayed session.

mod closing;
mod dice;
pub mod frame;
mod gate;
pub mod handshake;
mod heartbeat;
mod passage;
mod peer;
mod session;
mod settings;
mod side;
mod sieve;
mod speaker;
mod tally;
mod timing;
mod trail;
pub mod walker;

pub use closing::{CloseFrom, End, Output};
pub use session::Session;
pub use settings::{Extensions, OnExcess, Settings};
pub use side::{Pair, Side};
pub use speaker::{Reply, Speaker};
pub use tally::{Carried, Tally};
pub use trail::Trail;

#[cfg(test)]
mod tests;
