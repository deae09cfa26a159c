//! From TOML to a configuration that can't be wrong.

pub mod model;
