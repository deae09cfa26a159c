//! Worker threads, each with a runtime of its own: a connection lives and dies on one of them.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use prometheus::IntGauge;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle as Task;
use tokio::time::sleep;
use tracing::error;

use crate::logic::endpoint::Ends;

use super::acceptor::{OpenGauge, Slot};
use super::socket::Accepted;

/// Commands that may wait for a worker's attention, connections mostly; beyond it the kernel's backlog holds them.
const HAND_OVER_QUEUE: usize = 1024;
/// How often a worker wakes for nothing. A timer that is set to be due before all others costs the
/// runtime a system call and a turn, so this one is due before most that connections set.
const VANGUARD: Duration = Duration::from_secs(4);

/// A client connection on its way to its worker, or in its hands.
#[derive(Debug)]
pub struct Connection {
    /// The socket; non-blocking.
    pub socket: Accepted,
    /// Its ends.
    pub ends: Ends,
    /// The listener's name.
    pub listener: Arc<str>,
    /// Held as long as the connection is open.
    pub guard: ConnectionGuard,
}

/// Counts a connection, for the process, its listener and its worker, until dropped.
#[derive(Debug)]
pub struct ConnectionGuard {
    _slot: Slot,
    _listener: OpenGauge,
    worker: Option<OpenGauge>,
}

impl Connection {
    pub(super) const fn new(
        socket: Accepted,
        ends: Ends,
        listener: Arc<str>,
        slot: Slot,
        open: OpenGauge,
    ) -> Self {
        let guard = ConnectionGuard {
            _slot: slot,
            _listener: open,
            worker: None,
        };
        Self {
            socket,
            ends,
            listener,
            guard,
        }
    }
}

/// The worker threads.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

/// A worker's room for one connection. Taken before the connection is: one that was accepted
/// never waits, so that the end of the accepting can't lose it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    room: mpsc::Permit<'a, Command>,
    live: &'a IntGauge,
}

impl Place<'_> {
    /// Gives the connection to the worker.
    pub(super) fn hand_over(self, mut connection: Connection) {
        connection.guard.worker = Some(OpenGauge::new(self.live));
        self.room.send(Command::Serve(connection));
    }
}

/// What a worker is asked for, one after the other.
#[derive(Debug)]
enum Command {
    Serve(Connection),
    Answer(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    commands: mpsc::Sender<Command>,
    live: IntGauge,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Workers {
    /// Starts one thread per gauge of `live` connections; `serve` runs on the worker and is given
    /// the worker's index and each connection. What it does before its future is there, it has done
    /// by the next [`Workers::answer`].
    ///
    /// # Errors
    /// When a thread or its runtime can't be made.
    pub fn start<S, F>(live: Vec<IntGauge>, serve: S) -> io::Result<Self>
    where
        S: Fn(usize, Connection) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let start = |(index, live)| Worker::start(index, live, serve.clone());
        let workers = live
            .into_iter()
            .enumerate()
            .map(start)
            .collect::<io::Result<_>>()?;
        Ok(Self { workers })
    }

    /// Runs what accepts connections, all of it on the first worker: a connection that stays there
    /// wakes no other thread, and what is counted before an accept is still true after it.
    ///
    /// # Panics
    /// When there are no workers.
    pub fn spawn_acceptor(&self, acceptor: impl Future<Output = ()> + Send + 'static) -> Task<()> {
        self.workers[0].runtime.spawn(acceptor)
    }

    /// Waits for room at the worker with the fewest live connections; `None` when it is gone.
    pub(super) async fn place(&self) -> Option<Place<'_>> {
        let worker = (self.workers.iter()).min_by_key(|worker| worker.live.get())?;
        let room = worker.commands.reserve().await.ok()?;
        let live = &worker.live;
        Some(Place { room, live })
    }

    /// Resolves when every worker has got round to an answer, and so has begun with each connection
    /// that it was given before; never when one hangs or is gone.
    pub async fn answer(&self) {
        for worker in &self.workers {
            let (answer, answered) = oneshot::channel();
            let asked = worker.commands.send(Command::Answer(answer)).await.is_ok();
            if !asked || answered.await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Ends every worker now, with whatever is still open on it.
    pub fn stop(&self) {
        let take = |worker: &Worker| {
            worker
                .running
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take()
        };
        let stopping: Vec<_> = self.workers.iter().filter_map(take).collect();
        let threads = stopping.into_iter().map(|(stop, thread)| {
            drop(stop);
            thread
        });
        for thread in threads.collect::<Vec<_>>() {
            if thread.join().is_err() {
                error!("a worker panicked");
            }
        }
    }
}

impl Worker {
    fn start<S, F>(index: usize, live: IntGauge, serve: S) -> io::Result<Self>
    where
        S: Fn(usize, Connection) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (commands, mut queue) = mpsc::channel(HAND_OVER_QUEUE);
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = runtime.handle().clone();
        let work = async move {
            while let Some(command) = queue.recv().await {
                match command {
                    // The runtime moves a task's future about; a connection's is large.
                    Command::Serve(connection) => {
                        drop(tokio::spawn(Box::pin(serve(index, connection))));
                    }
                    // Who asked may have stopped waiting.
                    Command::Answer(answer) => drop(answer.send(())),
                }
            }
        };
        // A task of its own: what wakes it from this thread wakes no thread.
        runtime.spawn(work);
        runtime.spawn(async {
            loop {
                sleep(VANGUARD).await;
            }
        });
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || runtime.block_on(async { drop(stopped.await) }))?;
        Ok(Self {
            runtime: handle,
            commands,
            live,
            running: Mutex::new(Some((stop, thread))),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use tokio::time::timeout;

    use super::super::acceptor::{Capacity, Room};
    use super::*;

    /// Two workers that hang at a connection, having said so, until the other end goes.
    fn hanging(said: Sender<()>, until: Receiver<()>) -> Workers {
        let gauges = (0..2).map(|_| IntGauge::new("live", "live").unwrap());
        let until = Arc::new(Mutex::new(until));
        let serve = move |_, _| {
            let (said, until) = (said.clone(), Arc::clone(&until));
            async move {
                said.send(()).unwrap();
                let _ = until.lock().unwrap().recv();
            }
        };
        Workers::start(gauges.collect(), serve).unwrap()
    }

    fn connection() -> Connection {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let open = OpenGauge::new(&IntGauge::new("open", "open").unwrap());
        let room = Room {
            max: 1,
            refuses: false,
        };
        let slot = Capacity::new(room).take();
        Connection::new(
            Accepted::Tcp(socket.into()),
            Ends::ON_THIS_MACHINE,
            "public".into(),
            slot,
            open,
        )
    }

    #[tokio::test]
    async fn what_accepts_runs_on_the_first_worker() {
        let ((_hang, until), (said, _hangs)) = (channel(), channel());
        let workers = hanging(said, until);
        let (tell, name) = oneshot::channel();
        let name_of = || std::thread::current().name().map(str::to_owned);
        let acceptor = async move { tell.send(name_of()).unwrap() };
        workers.spawn_acceptor(acceptor).await.unwrap();
        assert_eq!(name.await.unwrap().as_deref(), Some("worker-0"));
        workers.stop();
    }

    #[tokio::test]
    async fn workers_answer_unless_one_hangs() {
        let ((hang, until), (said, hangs)) = (channel(), channel());
        let workers = hanging(said, until);
        workers.answer().await;
        workers.place().await.unwrap().hand_over(connection());
        hangs.recv().unwrap();
        let answer = timeout(Duration::from_millis(200), workers.answer()).await;
        assert!(answer.is_err(), "one of two hangs");
        drop(hang);
        workers.answer().await;
        workers.stop();
    }
}
