//! Threads, sockets that accept, signals: what the process is made of.

pub mod acceptor;
pub mod descriptors;
pub mod handover;
pub mod inherit;
pub mod listen;
pub mod options;
pub mod sd_notify;
pub mod signals;
pub mod socket;
pub mod workers;
