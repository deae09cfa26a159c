//! Which requests go where.

use std::sync::Arc;

/// `route.host`: exact, or `*.` and a suffix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host, in lower case.
    Exact(Arc<str>),
    /// Any host that ends in this suffix, kept with its leading dot.
    Suffix(Arc<str>),
}

/// `route.path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathPattern {
    /// The path and everything below it, on a segment border.
    Prefix(Arc<str>),
    /// The path alone.
    Exact(Arc<str>),
}

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
