//! Server names to addresses, through the system's resolver (`/etc/hosts`, nsswitch, DNS).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;
use tracing::warn;

use crate::config::model::{ServerAddress, ServerSpec, Upstream};
use crate::logic::endpoint::Endpoint;

/// Longest wait for one look-up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// Most addresses of one name that become servers.
const MAX_ADDRESSES: usize = 256;

/// A server as written, with the addresses it stands for now.
pub type Resolved = (ServerSpec, Vec<Endpoint>);

/// Looks every name among an upstream's servers up. A name that can't be looked up keeps the
/// addresses that `known` has for it.
pub async fn resolve(
    settings: &Upstream,
    known: impl Fn(&ServerAddress) -> Vec<Endpoint>,
) -> Vec<Resolved> {
    let look_ups = settings.servers.iter().map(async |spec| {
        let addresses = match &spec.address {
            ServerAddress::Fixed(endpoint) => vec![endpoint.clone()],
            ServerAddress::Name { host, port } => {
                let fresh = look_up(&settings.name, host, *port).await;
                fresh.unwrap_or_else(|| known(&spec.address))
            }
        };
        (spec.clone(), addresses)
    });
    join_all(look_ups).await
}

async fn look_up(upstream: &str, host: &Arc<str>, port: u16) -> Option<Vec<Endpoint>> {
    let error = match timeout(LOOKUP_TIMEOUT, lookup_host((host.as_ref(), port))).await {
        Ok(Ok(found)) => {
            let addresses = usable(found);
            if !addresses.is_empty() {
                return Some(addresses.into_iter().map(Endpoint::from).collect());
            }
            "no usable address".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "timed out".to_owned(),
    };
    warn!(upstream, name = %host, error, "server name not resolved, keeping what is known");
    None
}

/// The addresses that may be servers, each once, in an order that does not change from one answer
/// to the next.
fn usable(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<_> = found.filter(|found| !is_link_local(found.ip())).collect();
    // A resolver rotates its answers; our order must not change with them.
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

// A name that answers with a metadata service's address must not turn the proxy into its client.
fn is_link_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_that_can_not_be_looked_up_is_none() {
        assert_eq!(
            look_up("chat", &"no-such-host.invalid".into(), 80).await,
            None
        );
    }

    #[tokio::test]
    async fn a_name_that_can_not_be_looked_up_keeps_what_is_known() {
        let text = "[listener.a]\nbind = '127.0.0.1:0'\n\
                    [upstream.u]\nservers = ['no-such-host.invalid:80', '10.0.0.9:80']";
        let config = crate::config::parse(text, "test.toml").unwrap();
        let known: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let resolved = resolve(&config.upstreams[0], |_| vec![known.into()]).await;
        let addresses: Vec<_> = resolved.into_iter().map(|(_, found)| found).collect();
        let other: SocketAddr = "10.0.0.9:80".parse().unwrap();
        assert_eq!(addresses, [[known.into()], [other.into()]]);
    }

    #[test]
    fn a_thousand_records_are_as_many_servers_as_there_may_be_in_one_order() {
        let all = || (1..=1_000_u16).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
        let metadata: SocketAddr = "169.254.169.254:80".parse().unwrap();
        let found = usable(all().chain(all().rev()).chain([metadata]));
        assert_eq!(found, all().take(MAX_ADDRESSES).collect::<Vec<_>>());
        assert_eq!(usable(all().rev()), found);
        assert!(usable([metadata].into_iter()).is_empty());
    }

    #[test]
    fn a_metadata_service_is_no_server_in_either_spelling() {
        for address in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1"] {
            assert!(is_link_local(address.parse().unwrap()), "{address}");
        }
        assert!(!is_link_local("::ffff:10.0.0.1".parse().unwrap()));
    }

    #[tokio::test]
    async fn localhost_is_looked_up() {
        let addresses = look_up("chat", &"localhost".into(), 80).await.unwrap();
        let is_loopback = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Tcp(address) if address.ip().is_loopback());
        assert!(addresses.iter().all(is_loopback));
    }
}
