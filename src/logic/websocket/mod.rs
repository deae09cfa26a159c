//! RFC 6455 as pure state machines: handshake, frame borders, the relayed session.

mod closing;
mod compaction;
mod forwarding;
pub mod frame;
mod frame_observer;
pub mod handshake;
mod heartbeat;
mod peer;
mod rate_limit;
mod rng;
mod send_only;
mod session;
mod settings;
mod side;
mod tally;
mod timing;
pub mod walker;

pub use closing::{CloseFrom, End, Output};
pub use frame_observer::FrameObserver;
pub use send_only::{Reply, SendOnly};
pub use session::Session;
pub use settings::{Extensions, OnExcess, Settings};
pub use side::{Pair, Side};
pub use tally::{Carried, Tally};

#[cfg(test)]
mod tests;
