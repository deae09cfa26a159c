//! The opening handshake of RFC 6455 section 4, proven on both sides: the client's request is an
//! [`Offer`], the backend's 101 must be an answer to it.
//!
//! The client's own key goes to the backend, so one `Sec-WebSocket-Accept` proves the handshake on
//! both legs and the 101 passes as it came. Frames never flow before it has been verified.

pub mod accept;
pub mod extensions;
pub mod request;
pub mod response;
#[cfg(test)]
pub(crate) mod testing;

pub use accept::accept_for;
pub use extensions::Extension;
pub use request::Offer;
pub use response::{Agreed, HandshakeFault, Strictness, verify};
