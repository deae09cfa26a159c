//! RFC 6455 as pure state machines: handshake, frame borders, the relayed session.

pub mod handshake;
