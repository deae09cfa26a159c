//! What the operator says by signal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// An operator's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `SIGHUP`: read the configuration again.
    Reload,
    /// `SIGTERM`, `SIGQUIT`: drain and stop; now if already draining.
    Stop,
    /// `SIGINT`: stop now.
    StopNow,
    /// `SIGUSR1`: open the access log's file anew, the old one was renamed.
    ReopenLogs,
}

/// The signals of the process; while it lives none of them ends it.
#[derive(Debug)]
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    quit: Signal,
    interrupt: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    /// Takes the signals over from the default handlers.
    ///
    /// # Errors
    /// When the kernel refuses a handler.
    pub fn take() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            interrupt: signal(SignalKind::interrupt())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next order.
    pub async fn next(&mut self) -> Order {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return Order::Reload,
                _ = self.terminate.recv() => return Order::Stop,
                _ = self.quit.recv() => return Order::Stop,
                _ = self.interrupt.recv() => return Order::StopNow,
                _ = self.user1.recv() => return Order::ReopenLogs,
                // The upgrade in place is not in this version; dying of it would be worse.
                _ = self.user2.recv() => {
                    tracing::warn!("SIGUSR2: the upgrade in place is not available in this version");
                }
            }
        }
    }
}
