//! What the process holds while nobody is connected, and whether it is back there afterwards
//! (ATTACKS, oracle 4).

use super::proxy::Tidegate;
use super::wait::wait_until;

/// The gauges that stand at zero while nobody is connected.
const GAUGES: [&str; 5] = [
    "tidegate_connections",
    "tidegate_websockets",
    "tidegate_server_connections",
    "tidegate_worker_connections",
    "tidegate_parked_bytes",
];

/// A process at rest.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    descriptors: usize,
    threads: usize,
}

impl Rest {
    /// The process as it is now, with nobody connected.
    #[track_caller]
    pub fn of(proxy: &Tidegate) -> Self {
        wait_for_gauges(proxy);
        Self {
            descriptors: proxy.process().descriptors(),
            threads: proxy.process().threads(),
        }
    }

    /// Waits until the process holds no more than it did.
    #[track_caller]
    pub fn is_back(self, proxy: &Tidegate) {
        wait_for_gauges(proxy);
        wait_until(&format!("descriptors and threads back to {self:?}"), || {
            let process = proxy.process();
            process.descriptors() <= self.descriptors && process.threads() <= self.threads
        });
    }
}

#[track_caller]
fn wait_for_gauges(proxy: &Tidegate) {
    for gauge in GAUGES {
        proxy.wait_for_metric(gauge, &[], 0.0);
    }
}
