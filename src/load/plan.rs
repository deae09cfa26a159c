//! What a run is to do, complete and checked by whoever asks for it.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::client::danger::ServerCertVerifier;

/// One run of the generator over one or more targets.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is put under load; the first is what the others are compared with.
    pub targets: Vec<Target>,
    /// The kind of load.
    pub mode: Mode,
    /// Connections, over all threads.
    pub connections: u64,
    /// Connections that were asked for too, and that the descriptor limit leaves no room for.
    pub left_out: u64,
    /// Connections opened in a second; `None` is as fast as they open.
    pub connect_rate: Option<NonZeroU64>,
    /// Payload bytes of a message.
    pub message_bytes: usize,
    /// How long each target is under load, all rounds together.
    pub duration: Duration,
    /// Parts the duration is split into, the targets taking turns.
    pub rounds: u32,
    /// Threads of the generator.
    pub threads: u64,
    /// Addresses the connections come from; `None` leaves it to the kernel.
    pub sources: Option<IpNet>,
    /// How `wss://` is spoken.
    pub tls: TlsOptions,
}

/// The kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Messages that must come back as they went.
    Echo(Pace),
    /// Connections that stay open and silent.
    Idle,
    /// Connections opened and closed again, at most so many as there are connections at a time.
    Connect,
    /// Messages that the server sends of its own accord.
    Sink,
    /// All connections lost and opened again at the same instant, over and over.
    Storm,
    /// Clients that send as fast as they can and read so many bytes a second each.
    SlowReader(u32),
}

/// When an echo's message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Open loop: so many a second over all connections, whatever has come back.
    Rate(NonZeroU64),
    /// Closed loop: so many under way on each connection.
    InFlight(u32),
}

/// Where load goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As it was given.
    pub url: String,
    /// Whether it is `wss://`.
    pub secure: bool,
    /// The name or address of the host.
    pub host: String,
    /// Host and port as the `Host` field says them.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// Where the host is.
    pub address: SocketAddr,
    /// The process whose tree is accounted.
    pub pid: Option<u32>,
}

/// How `wss://` is spoken.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Who checks certificates; `None` holds them against the roots.
    pub verifier: Option<Arc<dyn ServerCertVerifier>>,
    /// PEM file with the roots; `None` is the system's.
    pub ca: Option<PathBuf>,
    /// Whether sessions are resumed.
    pub resume: bool,
}

impl Plan {
    /// The thread's part of all connections.
    pub(super) fn share(&self, thread: u64) -> u64 {
        self.connections / self.threads + u64::from(thread < self.connections % self.threads)
    }

    /// Echoes asked for in a second, in an open loop.
    pub(super) fn rate(&self) -> Option<u64> {
        match self.mode {
            Mode::Echo(Pace::Rate(per_second)) => Some(per_second.get()),
            _ => None,
        }
    }

    /// The address that the n-th connection comes from.
    pub(super) fn source(&self, number: u64) -> Option<IpAddr> {
        Some(match self.sources? {
            IpNet::V4(net) => {
                let hosts = u64::from(u32::MAX >> net.prefix_len().min(31))
                    .saturating_sub(1)
                    .max(1);
                let offset = u32::try_from(number % hosts).unwrap_or_default();
                IpAddr::V4((u32::from(net.network()) + offset + u32::from(hosts > 1)).into())
            }
            IpNet::V6(net) => {
                let hosts = u128::MAX
                    .checked_shr(u32::from(net.prefix_len()))
                    .unwrap_or_default();
                let offset = if hosts == 0 {
                    0
                } else {
                    1 + u128::from(number) % hosts
                };
                IpAddr::V6((u128::from(net.network()) + offset).into())
            }
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A small closed loop, for tests to adjust.
    pub(in crate::load) fn plan(targets: Vec<Target>) -> Plan {
        Plan {
            targets,
            mode: Mode::Echo(Pace::InFlight(1)),
            connections: 4,
            left_out: 0,
            connect_rate: None,
            message_bytes: 128,
            duration: Duration::from_millis(100),
            rounds: 1,
            threads: 2,
            sources: None,
            tls: TlsOptions::default(),
        }
    }

    #[test]
    fn shares_add_up() {
        for connections in [0, 1, 7, 8, 1000] {
            let plan = Plan {
                connections,
                threads: 3,
                ..plan(vec![])
            };
            assert_eq!(
                (0..3).map(|thread| plan.share(thread)).sum::<u64>(),
                connections
            );
        }
    }

    #[test]
    fn sources_walk_through_their_net_and_begin_again() {
        for (net, sources) in [
            ("127.0.0.0/8", ["127.0.0.1", "127.0.0.2", "127.0.1.45"]),
            ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2", "10.0.0.1"]),
            ("10.0.0.7/32", ["10.0.0.7"; 3]),
            ("fd00::/127", ["fd00::1", "fd00::1", "fd00::1"]),
            ("fd00::/64", ["fd00::1", "fd00::2", "fd00::12d"]),
        ] {
            let plan = Plan {
                sources: Some(net.parse().unwrap()),
                ..plan(vec![])
            };
            let found = [0, 1, 300].map(|number| plan.source(number).unwrap().to_string());
            assert_eq!(found, sources, "{net}");
        }
    }
}
