//! When a server counts as up: active checks with hysteresis, passive ejection, and when to check next.

mod checks;
mod ejection;
mod jitter;

pub use checks::{Health, Transition};
pub use ejection::Ejection;
pub use jitter::jittered;
