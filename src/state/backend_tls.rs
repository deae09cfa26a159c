//! TLS towards the servers of an upstream: what it is spoken with, and the sessions that each
//! server gave to resume. Outlives every snapshot that leaves it as it is.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;

use crate::config::model::{ServerAddress, UpstreamTls};
use crate::logic::endpoint::Endpoint;

/// Most sessions kept of one server.
const MAX_SESSIONS: usize = 8;

/// What an upstream's servers are spoken to with.
pub struct BackendTls {
    config: ClientConfig,
    fingerprint: [u8; 20],
    servers: Mutex<HashMap<(Endpoint, ServerName<'static>), Weak<ServerTls>>>,
}

/// The same for one server, whose sessions are no other's: servers rarely share their tickets' keys.
#[derive(Debug)]
pub struct ServerTls {
    /// What it is spoken to with.
    pub config: Arc<ClientConfig>,
    /// Whom its certificate must be for.
    pub name: ServerName<'static>,
    fails: AtomicBool,
}

impl BackendTls {
    /// From a configuration, and the fingerprint of what that was built from.
    pub fn new(config: ClientConfig, fingerprint: [u8; 20]) -> Self {
        Self {
            config,
            fingerprint,
            servers: Mutex::default(),
        }
    }

    /// Whether it was built from the same.
    pub fn is_of(&self, fingerprint: [u8; 20]) -> bool {
        self.fingerprint == fingerprint
    }

    /// The one of this server: the living one, so that its sessions can be resumed, or a new one.
    pub fn of(&self, address: Endpoint, name: ServerName<'static>) -> Arc<ServerTls> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (address, name);
        if let Some(living) = servers.get(&key).and_then(Weak::upgrade) {
            return living;
        }
        servers.retain(|_, server| server.strong_count() > 0);
        let mut config = self.config.clone();
        config.resumption = Resumption::in_memory_sessions(MAX_SESSIONS);
        let server = Arc::new(ServerTls {
            config: Arc::new(config),
            name: key.1.clone(),
            fails: AtomicBool::new(false),
        });
        servers.insert(key, Arc::downgrade(&server));
        server
    }
}

impl ServerTls {
    /// A handshake went well or not; whether that is news.
    pub fn went(&self, well: bool) -> bool {
        self.fails.swap(!well, Relaxed) == well
    }
}

/// Whom a server's certificate must be for: the configured name, else its own, else its address.
pub fn name_of(
    tls: &UpstreamTls,
    server: &ServerAddress,
    address: &Endpoint,
) -> ServerName<'static> {
    let host = match server {
        ServerAddress::Name { host, .. } => Some(host),
        ServerAddress::Fixed(_) => None,
    };
    tls.server_name
        .as_ref()
        .or(host)
        .and_then(|name| ServerName::try_from(name.to_string()).ok())
        // Names were checked with the configuration; at worst a certificate is refused.
        .unwrap_or_else(|| own_address(address).into())
}

fn own_address(endpoint: &Endpoint) -> IpAddr {
    match endpoint {
        Endpoint::Tcp(address) => address.ip(),
        Endpoint::Unix(_) => Ipv4Addr::LOCALHOST.into(),
    }
}

impl fmt::Debug for BackendTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendTls").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn tls() -> BackendTls {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        BackendTls::new(config, [0; 20])
    }

    fn address(port: u16) -> Endpoint {
        Endpoint::Tcp(([127, 0, 0, 1], port).into())
    }

    fn named(name: &'static str) -> ServerName<'static> {
        ServerName::try_from(name).unwrap()
    }

    #[test]
    fn a_server_keeps_its_sessions_for_as_long_as_anybody_holds_it() {
        let tls = tls();
        let first = tls.of(address(1), named("a.example"));
        assert!(Arc::ptr_eq(&first, &tls.of(address(1), named("a.example"))));
        for other in [(address(2), "a.example"), (address(1), "b.example")] {
            assert!(!Arc::ptr_eq(&first, &tls.of(other.0, named(other.1))));
        }
        drop(first);
        let _next = tls.of(address(3), named("a.example"));
        assert_eq!(tls.servers.lock().unwrap().len(), 1);
    }

    #[test]
    fn trouble_is_news_once_and_so_is_its_end() {
        let server = tls().of(address(1), named("a.example"));
        let news = [true, false, false, true, true, false].map(|well| server.went(well));
        assert_eq!(news, [false, true, false, true, false, true]);
    }

    #[test]
    fn a_server_is_verified_by_the_name_that_is_nearest() {
        for (lines, server, name) in [
            ("", "10.0.0.1:443", "10.0.0.1"),
            ("", "[2001:db8::1]:443", "2001:db8::1"),
            ("", "app.internal:443", "app.internal"),
            ("server_name = 'chat'", "app.internal:443", "chat"),
            ("server_name = 'chat'", "10.0.0.1:443", "chat"),
        ] {
            let text = format!(
                "[listener.a]\nbind = '127.0.0.1:0'\n\
                 [upstream.u]\nservers = ['{server}']\n[upstream.u.tls]\n{lines}\n"
            );
            let config = config::parse(&text, "test.toml").unwrap();
            let upstream = &config.upstreams[0];
            let address = match &upstream.servers[0].address {
                ServerAddress::Fixed(endpoint) => endpoint.clone(),
                _ => address(443),
            };
            let tls = upstream.tls.as_ref().unwrap();
            let found = name_of(tls, &upstream.servers[0].address, &address);
            assert_eq!(found.to_str(), name, "{lines} {server}");
        }
    }
}
