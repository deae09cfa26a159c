//! Which requests go where.

use super::refusal::Refusal;

pub mod pattern;
pub mod table;
pub mod terms;

pub use pattern::{HostPattern, PathPattern, PatternError};
pub use table::Table;
pub use terms::Terms;

/// `route.accept`: the kinds of request a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Upgrades; a plain request gets 426.
    WebSocket,
    /// Plain requests; an upgrade gets 403.
    Http,
    /// Both.
    Both,
}

impl Accept {
    /// Whether the route takes a request of that kind.
    ///
    /// # Errors
    /// The refusal that the other kind gets.
    pub const fn admits(self, websocket: bool) -> Result<(), Refusal> {
        match (self, websocket) {
            (Self::WebSocket, false) => Err(Refusal::UpgradeRequired),
            (Self::Http, true) => Err(Refusal::UpgradeRefused),
            _ => Ok(()),
        }
    }
}
