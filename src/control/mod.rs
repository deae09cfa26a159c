//! The control plane: what happens beside the connections, never in their way.

pub mod checker;
pub mod probe;
