//! The control plane: what happens beside the connections, never in their way.

pub mod admin;
pub mod drain;
pub mod history;
pub mod impact;
pub mod keys;
pub mod listeners;
pub mod otlp;
pub mod overrides;
pub mod prepare;
pub mod probe;
pub mod process;
pub mod rebalance;
pub mod reload;
pub mod reload_log;
pub mod resolve;
pub mod supervise;
pub mod talkers;
pub mod upgrade;
pub mod watch;
