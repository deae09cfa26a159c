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
    /// `SIGUSR2`: start the binary anew and give it the place.
    Upgrade,
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
        self.heard(true).await
    }

    /// The next order that is no reload; those wait.
    pub async fn next_but_reload(&mut self) -> Order {
        self.heard(false).await
    }

    async fn heard(&mut self, reloads: bool) -> Order {
        tokio::select! {
            _ = self.hangup.recv(), if reloads => Order::Reload,
            _ = self.terminate.recv() => Order::Stop,
            _ = self.quit.recv() => Order::Stop,
            _ = self.interrupt.recv() => Order::StopNow,
            _ = self.user1.recv() => Order::ReopenLogs,
            _ = self.user2.recv() => Order::Upgrade,
        }
    }
}
