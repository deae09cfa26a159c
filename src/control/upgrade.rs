//! The upgrade in place: starts the program anew, hands it the listening sockets, and lets it
//! begin when it is ready. Until then nothing has changed; whatever goes wrong, nothing does.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::runtime::handover::{Channel, Override, VARIABLE, Word};
use crate::runtime::listen::ListenSocket;

/// How long the new process may take until it serves: certificates, names, sockets.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a process whose end of the channel closed may take to be gone.
const LAST_BREATH: Duration = Duration::from_secs(1);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Variables that speak of this process and not of its successor.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "WATCHDOG_PID"];

/// How this process was started.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// A listening socket to hand over.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The listener's name.
    pub name: Arc<str>,
    /// Its address as the configuration has it.
    pub bind: String,
    /// The socket.
    pub socket: ListenSocket,
}

/// The process that has taken over.
#[derive(Clone, Debug)]
pub struct Successor {
    /// Its id.
    pub pid: u32,
    /// Its version.
    pub version: String,
}

/// Why this process goes on as if nothing had been.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Failed {
    #[error("an upgrade is under way")]
    Underway,
    #[error("this process can't be upgraded: it was not started by `tidegate run`")]
    NoProgram,
    #[error("process 1 can't be upgraded: with it the container would end; start a new one")]
    First,
    #[error("{} can't be started: {source}", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("the new process: {0}")]
    Refused(String),
    #[error("the new process ended ({0}) before it served, its log says why")]
    Ended(ExitStatus),
    #[error("the new process did not serve within {} s", DEADLINE.as_secs())]
    Silent,
    #[error("the new process can't be talked to: {0}")]
    Channel(#[from] io::Error),
}

/// Somebody asks for an upgrade.
#[derive(Debug)]
pub struct UpgradeRequest {
    /// Where the outcome goes.
    pub answer: oneshot::Sender<Result<Successor, Failed>>,
    _turn: OwnedSemaphorePermit,
}

/// Where upgrades are asked for: one at a time, others are refused.
#[derive(Clone, Debug)]
pub struct Upgrades {
    turns: Arc<Semaphore>,
    requests: mpsc::Sender<UpgradeRequest>,
}

impl Upgrades {
    /// The asking end, and where the requests come out.
    pub fn new() -> (Self, mpsc::Receiver<UpgradeRequest>) {
        let (requests, receiver) = mpsc::channel(1);
        let turns = Arc::new(Semaphore::new(1));
        (Self { turns, requests }, receiver)
    }

    /// Asks for an upgrade; the receiver gets its outcome.
    ///
    /// # Errors
    /// When one is under way, or the process stops.
    pub fn ask(&self) -> Result<oneshot::Receiver<Result<Successor, Failed>>, Failed> {
        let turn = Arc::clone(&self.turns).try_acquire_owned();
        let turn = turn.map_err(|_| Failed::Underway)?;
        let (answer, outcome) = oneshot::channel();
        let request = UpgradeRequest {
            answer,
            _turn: turn,
        };
        // Who has the turn is alone: the only place in the queue is free unless the process stops.
        self.requests
            .try_send(request)
            .map_err(|_| Failed::Underway)?;
        Ok(outcome)
    }

    /// Asks for an upgrade whose outcome the log alone tells.
    pub fn ask_by_signal(&self) {
        if let Err(failed) = self.ask() {
            warn!(error = %failed, "SIGUSR2 refused");
        }
    }
}

/// Starts the program anew with these sockets and waits until it serves; `overrides` is asked when it
/// is ready for them. Dropped before, it calls the new process off.
///
/// # Errors
/// Why it does not serve; then it is gone again.
pub async fn replace(
    program: Option<Program>,
    sockets: Vec<Offer>,
    overrides: impl FnOnce() -> Vec<Override> + Send + 'static,
) -> Result<Successor, Failed> {
    let program = program.ok_or(Failed::NoProgram)?;
    if std::process::id() == 1 {
        return Err(Failed::First);
    }
    info!(program = %program.path.display(), "upgrading");
    let (ours, theirs) = Channel::pair()?;
    let channel = Arc::new(ours);
    let line = Line(Arc::clone(&channel));
    let start = move || program.start(&channel, theirs, &sockets, overrides);
    let outcome = spawn_blocking(start).await;
    drop(line);
    outcome.map_err(io::Error::from)?
}

/// Hangs up when dropped.
struct Line(Arc<Channel>);

impl Drop for Line {
    fn drop(&mut self) {
        self.0.hang_up();
    }
}

impl Program {
    /// The program and the arguments of this process.
    pub fn current() -> Option<Self> {
        let mut arguments = env::args_os();
        let name = PathBuf::from(arguments.next()?);
        // A name with a path may be a link that leads to the new version; one without is looked up
        // where this process came from, as the kernel told it at the start.
        let path = if name.components().count() > 1 {
            std::path::absolute(name).ok()?
        } else {
            env::current_exe().ok()?
        };
        let arguments = arguments.collect();
        Some(Self { path, arguments })
    }

    fn start(
        &self,
        channel: &Channel,
        theirs: Channel,
        sockets: &[Offer],
        overrides: impl FnOnce() -> Vec<Override>,
    ) -> Result<Successor, Failed> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(VARIABLE, "stdin")
            .stdin(theirs.into_stdio());
        for variable in OWN_VARIABLES {
            command.env_remove(variable);
        }
        let mut child = command.spawn().map_err(|source| Failed::Start {
            path: self.path.clone(),
            source,
        })?;
        // With it goes our copy of the other end: the channel ends when the process does.
        drop(command);
        let pid = child.id();
        introduce(channel, sockets, overrides, Instant::now() + DEADLINE)
            .map(|version| Successor { pid, version })
            .map_err(|failed| end(&mut child, failed))
    }
}

/// Hands sockets and overrides over and lets the successor begin; its version.
fn introduce(
    channel: &Channel,
    sockets: &[Offer],
    overrides: impl FnOnce() -> Vec<Override>,
    deadline: Instant,
) -> Result<String, Failed> {
    for Offer { name, bind, socket } in sockets {
        let word = Word::Socket {
            name: name.to_string(),
            bind: bind.clone(),
            file: socket.has_file(),
        };
        channel.say(&word, Some(socket.as_fd()), deadline)?;
    }
    channel.say(&Word::NoMore, None, deadline)?;
    let version = match hear(channel, deadline)? {
        Word::Prepared { version } => version,
        word => return Err(refusal(word)),
    };
    for it in overrides() {
        channel.say(&Word::Override(it), None, deadline)?;
    }
    channel.say(&Word::Begin, None, deadline)?;
    match hear(channel, deadline)? {
        Word::Serving => {}
        word => return Err(refusal(word)),
    }
    for offer in sockets {
        offer.socket.own_file(false);
    }
    Ok(version)
}

fn hear(channel: &Channel, deadline: Instant) -> Result<Word, Failed> {
    match channel.hear(deadline) {
        Ok((word, _)) => Ok(word),
        Err(error) if is_over(&error) => Err(Failed::Silent),
        Err(error) => Err(error.into()),
    }
}

fn is_over(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn refusal(word: Word) -> Failed {
    match word {
        Word::Failed { error } => Failed::Refused(error),
        word => Failed::Refused(format!("unexpected word {word:?}")),
    }
}

/// Sees to it that the process is gone; what it died of says more than that it fell silent.
fn end(child: &mut Child, failed: Failed) -> Failed {
    let ended = matches!(failed, Failed::Channel(_)).then(|| last_breath(child));
    // One that is gone already can't be killed, and waiting can't fail for a child of ours.
    let _ = child.kill();
    let _ = child.wait();
    ended.flatten().map_or(failed, Failed::Ended)
}

fn last_breath(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + LAST_BREATH;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => thread::sleep(LOOK_EVERY),
            outcome => return outcome.ok().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[test]
    fn a_new_process_that_stays_silent_is_given_up() {
        let (ours, _theirs) = Channel::pair().unwrap();
        let outcome = introduce(
            &ours,
            &[],
            Vec::new,
            Instant::now() + Duration::from_millis(20),
        );
        assert!(matches!(outcome, Err(Failed::Silent)), "{outcome:?}");
    }

    #[test]
    fn a_new_process_may_begin_only_when_it_is_prepared() {
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.say(&Word::Serving, None, soon()).unwrap();
        let outcome = introduce(&ours, &[], Vec::new, soon());
        assert!(matches!(outcome, Err(Failed::Refused(_))), "{outcome:?}");
    }

    #[test]
    fn one_upgrade_at_a_time() {
        let (upgrades, mut requests) = Upgrades::new();
        let _outcome = upgrades.ask().unwrap();
        assert!(matches!(upgrades.ask(), Err(Failed::Underway)));
        drop(requests.try_recv().unwrap());
        assert!(upgrades.ask().is_ok(), "the turn is free again");
    }
}
