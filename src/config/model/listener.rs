//! `[listener.NAME]`: where we accept, and how TLS is spoken there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::logic::endpoint::Endpoint;

/// `[listener.NAME]`: where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses; at least one. Port 0 lets the kernel choose.
    pub bind: Vec<Endpoint>,
    /// The permissions of its unix sockets.
    pub socket_mode: u32,
    /// Whether a PROXY header is read.
    pub proxy_protocol: ProxyProtocolIn,
    /// Peers whose PROXY header and X-Forwarded-For are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// From accept (or the end of TLS) to the end of the request head.
    pub header_timeout: Duration,
    /// Most bytes of a request head.
    pub max_header_bytes: usize,
    /// Most header fields of a request head.
    pub max_headers: usize,
    /// On a kept connection, until the next request's first byte.
    pub keepalive_timeout: Duration,
    /// `SO_RCVBUF` of client sockets; `None` leaves it to the kernel.
    pub receive_buffer_bytes: Option<usize>,
    /// TLS; `None` is plaintext.
    pub tls: Option<Tls>,
}

/// `listener.proxy_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum ProxyProtocolIn {
    Off,
    Accept,
    Require,
}

/// `[listener.NAME.tls]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificates, picked by SNI; the first is the default. At least one.
    pub certificates: Vec<Certificate>,
    /// Oldest version spoken.
    pub min_version: TlsVersion,
    /// From the first byte to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
    /// PEM file with the certificates that no longer count.
    pub client_crl: Option<PathBuf>,
}

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// `tls.min_version`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words say it")]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// `tls.client_auth` with its `client_ca`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate is asked for.
    Off,
    /// A certificate is asked for; one that is shown must be good.
    Optional {
        /// PEM file with the roots.
        ca: PathBuf,
    },
    /// Nobody comes in without a good certificate.
    Require {
        /// PEM file with the roots.
        ca: PathBuf,
    },
}
