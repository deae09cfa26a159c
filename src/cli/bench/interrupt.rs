//! Ctrl-C: the first ends the load and lets the report follow, the second ends the process.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// Whether the work is to end, and by which signal.
#[derive(Debug, Default)]
pub(super) struct Interrupt(AtomicU8);

impl Interrupt {
    /// The exit code of who ends by that signal; `None` as long as there was none.
    pub(super) fn exit_code(&self) -> Option<ExitCode> {
        let code = self.0.load(Relaxed);
        (code != 0).then(|| code.into())
    }
}

/// Does the work on a thread of its own, and listens for `SIGINT` and `SIGTERM` meanwhile.
///
/// # Errors
/// When the system gives no thread or no handler.
pub(super) fn interruptible(
    work: impl FnOnce(&Interrupt) -> ExitCode + Send + 'static,
) -> io::Result<ExitCode> {
    /// What a shell shows of who was ended by the signal.
    const INTERRUPTED: u8 = 130;
    const TERMINATED: u8 = 143;
    /// timeout(1) and others send one twice, to the process and to its group.
    const SAME: Duration = Duration::from_millis(500);
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let heard = Arc::new(Interrupt::default());
        let (done, mut outcome) = oneshot::channel();
        let seen = Arc::clone(&heard);
        thread::Builder::new().spawn(move || done.send(work(&seen)))?;
        let mut first = None;
        loop {
            let code = tokio::select! {
                biased;
                outcome = &mut outcome => return Ok(outcome.unwrap_or(ExitCode::FAILURE)),
                _ = interrupt.recv() => INTERRUPTED,
                _ = terminate.recv() => TERMINATED,
            };
            if first.get_or_insert_with(Instant::now).elapsed() > SAME {
                return Ok(code.into());
            }
            heard.0.store(code, Relaxed);
        }
    })
}
