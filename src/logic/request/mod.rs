//! What a request is, before anything is done with it: heads read into types that cannot be wrong.
//!
//! Bytes become a [`RequestHead`] (grammar), the head a [`Request`] (meaning); only a `Request`
//! is routed, checked and written to a backend.

pub mod access;
pub mod body;
pub mod client;
pub mod fields;
pub mod framing;
pub mod head;
pub mod hop;
pub mod host;
pub mod list;
pub mod malformed;
pub mod origin;
pub mod path;
pub mod percent;
pub mod syntax;
#[cfg(test)]
pub(crate) mod testing;
pub mod to_backend;
pub mod to_client;
pub mod trailers;
pub mod wire;

pub use client::{Certificate, Client, ClientKey, Proof};
pub use fields::Fields;
pub use framing::Framing;
pub use head::{RequestHead, ResponseHead};
pub use host::Host;
pub use malformed::Malformed;
pub use origin::OriginRule;
pub use syntax::Request;
pub use to_backend::Outbound;

/// How the client reached the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Its spelling in a URI.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URI without one means.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}
