//! Threads, sockets that accept, signals: what the process is made of.

pub mod acceptor;
pub mod descriptors;
pub mod handover;
pub mod inherit;
pub mod listen;
pub mod manager;
pub mod options;
pub mod signals;
pub mod socket;
pub mod workers;
