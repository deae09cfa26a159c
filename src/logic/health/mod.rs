//! When a server counts as up.
