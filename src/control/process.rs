//! The life of a process that serves: it carries out orders until one of them, or its successor,
//! ends it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::{info, warn};

use crate::logic::reason::EndReason;
use crate::runtime::acceptor::Capacity;
use crate::runtime::sd_notify::ServiceManager;
use crate::runtime::signals::{Order, Signals};
use crate::runtime::workers::Workers;
use crate::state::Shared;
use crate::telemetry::access::WriterThread;

use super::drain::{Order as DrainOrder, Target};
use super::otlp::Exporter;
use super::overrides;
use super::reload::{ReloadRequest, Reloader, reopen_logs};
use super::upgrade::{Offer, Program, UpgradeRequest, Upgrades, replace};

/// What a closing handshake needs at the end of `shutdown_grace`: the peer's Close and the end of TCP.
const CLOSING_TIME: Duration = Duration::from_secs(6);
/// What the admin address may need for the answers it owes when another process has taken over.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// What the access log may need for the lines that wait when the process ends.
const ACCESS_LOG_TIME: Duration = Duration::from_secs(2);
/// What the collector may need for the spans that wait when the process ends.
const SPANS_TIME: Duration = Duration::from_secs(2);

/// Everything of a process that outlives its start.
#[derive(Debug)]
pub struct Process {
    /// What both planes share.
    pub shared: Arc<Shared>,
    /// The worker threads.
    pub workers: Arc<Workers>,
    /// The open connections.
    pub capacity: Capacity,
    /// Whoever started the process and looks after it.
    pub manager: ServiceManager,
    /// What a reload acts on.
    pub reloader: Reloader,
    /// Where reloads are asked for.
    pub reload_requests: mpsc::Receiver<ReloadRequest>,
    /// How the process was started, where it can be started so again.
    pub program: Option<Program>,
    /// Where upgrades are asked for by signal.
    pub upgrades: Upgrades,
    /// Where those and the others come out.
    pub upgrade_requests: mpsc::Receiver<UpgradeRequest>,
    /// The admin address, where there is one.
    pub admin: Option<AdminAddress>,
    /// What writes the access log.
    pub access_thread: WriterThread,
    /// What sends spans to their collector, where one is named.
    pub exporter: Option<Exporter>,
}

/// The admin address in force.
#[derive(Debug)]
pub struct AdminAddress {
    /// Its socket.
    pub offer: Offer,
    /// The task that serves it; when the process leaves, it ends with the last answer.
    pub task: JoinHandle<()>,
}

/// What is to be done next.
enum Wish {
    Reload(Option<ReloadRequest>),
    ReopenLogs,
    Upgrade(UpgradeRequest),
    End(Order),
}

/// Why the process serves no longer.
enum End {
    Ordered(Order),
    Replaced,
}

impl Process {
    /// Serves until it is told to end, or another process has taken its place.
    pub async fn serve(mut self, mut signals: Signals) {
        let end = loop {
            let outcome = match self.next(&mut signals).await {
                Wish::Reload(request) => self.reload(request, &mut signals).await,
                Wish::Upgrade(request) => self.upgrade(request, &mut signals).await,
                Wish::End(order) => Err(End::Ordered(order)),
                Wish::ReopenLogs => {
                    reopen_logs(&self.shared);
                    Ok(())
                }
            };
            if let Err(end) = outcome {
                break end;
            }
        };
        let order = match end {
            End::Ordered(order) => order,
            End::Replaced => self.leave(&mut signals).await,
        };
        if order == Order::Stop {
            self.drain(&mut signals).await;
        }
        self.workers.stop();
        self.access_thread.finish(ACCESS_LOG_TIME);
        if let Some(exporter) = self.exporter {
            exporter.finish(SPANS_TIME).await;
        }
        info!("stopped");
    }

    async fn next(&mut self, signals: &mut Signals) -> Wish {
        loop {
            tokio::select! {
                Some(request) = self.reload_requests.recv() => return Wish::Reload(Some(request)),
                Some(request) = self.upgrade_requests.recv() => return Wish::Upgrade(request),
                order = signals.next() => match order {
                    Order::Reload => return Wish::Reload(None),
                    Order::ReopenLogs => return Wish::ReopenLogs,
                    Order::Upgrade => self.upgrades.ask_by_signal(),
                    Order::Stop | Order::StopNow => return Wish::End(order),
                },
            }
        }
    }

    async fn reload(
        &mut self,
        request: Option<ReloadRequest>,
        signals: &mut Signals,
    ) -> Result<(), End> {
        let dry_run = request.as_ref().is_some_and(|request| request.dry_run);
        if !dry_run {
            self.manager.reloading();
        }
        let reload = self.reloader.carry_out(dry_run);
        // Nothing is in force before a reload's end, so a stop may break in.
        let outcome = hearing(signals, &self.shared, &self.upgrades, reload).await?;
        if !dry_run {
            self.manager.reloaded(outcome.is_ok());
        }
        if let Some(request) = request {
            // Who asked may have gone meanwhile; the log has the outcome too.
            let _ = (request.answer).send(outcome.map_err(|refused| refused.to_string()));
        }
        Ok(())
    }

    /// Gives the place to a new process, if that one can take it.
    async fn upgrade(&mut self, request: UpgradeRequest, signals: &mut Signals) -> Result<(), End> {
        let mut offers = self.reloader.listeners.offers();
        offers.extend(self.admin.as_ref().map(|admin| admin.offer.clone()));
        let shared = Arc::clone(&self.shared);
        let overrides = move || overrides::given(&shared.snapshot());
        let upgrade = replace(self.program.clone(), offers, overrides);
        let outcome = hearing(signals, &self.shared, &self.upgrades, upgrade).await?;
        let end = match &outcome {
            Ok(successor) => {
                info!(pid = successor.pid, version = successor.version, "upgraded");
                self.manager.hand_over(successor.pid);
                Err(End::Replaced)
            }
            Err(failed) => {
                warn!(error = %failed, "upgrade failed, nothing has changed");
                Ok(())
            }
        };
        // Who asked may have gone meanwhile.
        let _ = request.answer.send(outcome);
        end
    }

    /// Ends the sessions at their pace while another process takes the new ones; what to do with
    /// those that are left.
    async fn leave(&mut self, signals: &mut Signals) -> Order {
        self.shared.start_leaving();
        self.reload_requests.close();
        self.upgrade_requests.close();
        self.reloader.watching.abort_all();
        self.reloader.listeners.close().await;
        let within = self.shared.snapshot().config.server.upgrade_drain;
        let sessions = self.shared.registry.len();
        info!(
            sessions,
            seconds = within.map(|time| time.as_secs_f64()),
            "leaving"
        );
        if let Some(within) = within {
            self.send_away(within);
        }
        let over = async {
            match within {
                Some(within) => sleep_until(Instant::now() + within).await,
                None => std::future::pending().await,
            }
        };
        let gone = async {
            if let Some(admin) = self.admin.take() {
                // What is not answered by then has nobody who reads.
                let _ = timeout(LAST_ANSWERS, admin.task).await;
            }
            self.capacity.idle().await;
        };
        tokio::select! {
            () = gone => Order::StopNow,
            () = over => Order::Stop,
            order = stop_order(signals, &self.shared) => order,
        }
    }

    /// Ends every session within `shutdown_grace`, or less when told twice.
    async fn drain(&mut self, signals: &mut Signals) {
        let grace = self.shared.snapshot().config.server.shutdown_grace;
        let deadline = Instant::now() + grace;
        info!(
            seconds = grace.as_secs_f64(),
            sessions = self.shared.registry.len(),
            "stopping"
        );
        self.manager.stopping(grace);
        self.shared.start_draining();
        self.reload_requests.close();
        self.reloader.listeners.close().await;
        // From here on nothing else sends sessions away.
        self.reloader.tending.abort_all();
        self.reloader.drains.stop_all();
        self.send_away(grace.saturating_sub(CLOSING_TIME).max(grace / 2));
        tokio::select! {
            outcome = timeout_at(deadline, self.capacity.idle()) => {
                if outcome.is_err() {
                    warn!(connections = self.capacity.open(), "grace is over, cutting the rest");
                }
            }
            order = stop_order(signals, &self.shared) => {
                info!(?order, "stopping now");
            }
        }
    }

    fn send_away(&self, within: Duration) {
        self.reloader.drains.start(DrainOrder {
            target: Target::Process,
            reason: EndReason::Shutdown,
            within,
            sessions: self.shared.registry.select(|_| true),
        });
    }
}

/// Does what takes a while, and hears signals meanwhile. A reload waits for its turn.
async fn hearing<T>(
    signals: &mut Signals,
    shared: &Shared,
    upgrades: &Upgrades,
    work: impl Future<Output = T>,
) -> Result<T, End> {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            outcome = &mut work => return Ok(outcome),
            order = signals.next_but_reload() => match order {
                Order::ReopenLogs => reopen_logs(shared),
                Order::Upgrade => upgrades.ask_by_signal(),
                order => return Err(End::Ordered(order)),
            },
        }
    }
}

/// The next order that ends the process, now or gently; nothing else has a meaning any more but
/// the access log.
async fn stop_order(signals: &mut Signals, shared: &Shared) -> Order {
    loop {
        match signals.next().await {
            Order::ReopenLogs => reopen_logs(shared),
            order @ (Order::Stop | Order::StopNow) => return order,
            order => warn!(?order, "on the way out, not carried out"),
        }
    }
}
