//! A whole run: rounds over the targets in turn, threads under way, books read at the borders.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use super::clock::{Clock, nanos};
use super::driver::{Driver, Job, Shared};
use super::fault::Fault;
use super::plan::{Plan, Target};
use super::process::{ProcessTree, tcp_memory_bytes};
use super::tally::Tally;
use super::tls::{self, TlsError};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// TLS can't be spoken.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No such process.
    #[error("process {pid} can't be accounted")]
    Process {
        /// Which.
        pid: u32,
        /// Why.
        source: io::Error,
    },
    /// A thread or its poller could not be had.
    #[error("the system gives no threads or descriptors for the load")]
    System {
        /// Why.
        #[from]
        source: io::Error,
    },
}

/// What was seen of one target in one round.
#[derive(Clone, Debug)]
pub struct Round {
    /// What the clients saw.
    pub tally: Tally,
    /// Messages while under load.
    pub messages: u64,
    /// Handshakes while under load.
    pub handshakes: u64,
    /// The time under load; none where nothing was open.
    pub elapsed: Duration,
    /// What the target's process spent meanwhile, where it is accounted.
    pub cpu: Option<Duration>,
    /// Before the first connection.
    pub memory_before: Memory,
    /// With all connections open, before the load.
    pub memory_open: Memory,
    /// At the end of the load.
    pub memory_loaded: Memory,
    /// Figures four times a second.
    pub course: Vec<Sample>,
    /// Whether it was broken off.
    pub is_cut_short: bool,
}

/// What is held for connections at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// By the target's process (PSS), where it is accounted.
    pub process_bytes: Option<u64>,
    /// By the kernel for all TCP sockets of the machine.
    pub tcp_bytes: u64,
}

/// A moment's figures, counted from the start of the load.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub at: Duration,
    /// Messages so far.
    pub messages: u64,
    /// Handshakes so far.
    pub handshakes: u64,
    /// The target's CPU time so far.
    pub cpu: Option<Duration>,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Of how many.
    pub rounds: u32,
    /// The round, from 0.
    pub round: u32,
    /// The target, from 0.
    pub target: usize,
    /// Connections that are open.
    pub opened: u64,
    /// Messages that have come back.
    pub messages: u64,
    /// Faults so far.
    pub faults: u64,
    /// What is being done.
    pub stage: Stage,
}

/// A round's stages, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connections open.
    Opening,
    /// They have been under load for so long.
    Load(Duration),
    /// The last echoes and the answers to Closes are waited for.
    Ending,
}

/// Does what the plan says; `watch` hears how it goes, many times a second, and breaks it off.
///
/// Returns the rounds of each target, as far as they came.
///
/// # Errors
/// When the machine or the plan does not allow it. What the targets do wrong is in the tallies.
pub fn run(
    plan: &Plan,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Vec<Vec<Round>>, RunError> {
    let accounted = plan
        .targets
        .iter()
        .map(accounted)
        .collect::<Result<Vec<_>, _>>()?;
    let mut rounds: Vec<Vec<Round>> = plan.targets.iter().map(|_| Vec::new()).collect();
    for round in 0..plan.rounds {
        for (index, (target, &accounted)) in plan.targets.iter().zip(&accounted).enumerate() {
            let mut is_over = false;
            let mut report = |progress| {
                let flow = watch(Progress {
                    round,
                    target: index,
                    ..progress
                });
                is_over |= flow.is_break();
                flow
            };
            rounds[index].push(run_round(plan, target, accounted, &mut report)?);
            if is_over {
                return Ok(rounds);
            }
        }
    }
    Ok(rounds)
}

/// The target's process, which must be there when the run begins.
fn accounted(target: &Target) -> Result<Option<ProcessTree>, RunError> {
    let tree = |pid| ProcessTree::of(pid).map_err(|source| RunError::Process { pid, source });
    target.pid.map(tree).transpose()
}

fn run_round(
    plan: &Plan,
    target: &Target,
    accounted: Option<ProcessTree>,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Round, RunError> {
    let shared = Shared::default();
    let clock = Clock::start();
    let span = plan.duration / plan.rounds;
    let jobs = (0..plan.threads)
        .map(|thread| {
            let clients = usize::try_from(plan.share(thread)).unwrap_or(usize::MAX);
            let tls_client = tls::client(target, &plan.tls, clients)?;
            Ok(Job {
                plan,
                target,
                tls_client,
                shared: &shared,
                clock,
                thread,
                span,
            })
        })
        .collect::<Result<Vec<_>, TlsError>>()?;

    let watcher = Watcher {
        plan,
        shared: &shared,
        clock,
        span,
        accounted,
    };
    thread::scope(|scope| {
        let memory_before = watcher.memory();
        let mut threads = Vec::new();
        for job in jobs {
            let thread = thread::Builder::new().name(format!("bench-{}", job.thread));
            let thread = thread.spawn_scoped(scope, || Driver::run(job));
            threads.push(thread.inspect_err(|_| shared.call_off())?);
        }
        let seen = watcher.watch(&threads, watch);
        let mut tally = Tally::default();
        for thread in threads {
            match thread.join() {
                Ok(seen) => tally.add(&seen?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        tally.faults(Fault::OutOfDescriptors, plan.left_out);
        if watcher.has_lost_its_process() {
            tally.fault(Fault::ProcessEnded);
        }
        Ok(seen.round(tally, memory_before))
    })
}

/// Watches the threads of a round from outside.
struct Watcher<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    clock: Clock,
    span: Duration,
    accounted: Option<ProcessTree>,
}

/// What the watcher saw.
struct Seen {
    memory_open: Memory,
    memory_loaded: Memory,
    course: Vec<Sample>,
    is_cut_short: bool,
}

type Thread<'scope> = ScopedJoinHandle<'scope, io::Result<Tally>>;

impl Watcher<'_> {
    /// Gives the start sign when all is open, and reads the books until the end of the load.
    fn watch(
        &self,
        threads: &[Thread<'_>],
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Seen {
        const STEP: Duration = Duration::from_millis(20);
        const SAMPLE_STEP: Duration = Duration::from_millis(250);
        let cut = &self.shared.cut;
        let mut is_broken_off = |stage| watch(self.progress(stage)).is_break();
        let mut is_cut_short = false;
        let has_one_ended = || threads.iter().any(ScopedJoinHandle::is_finished);
        while self.shared.prepared.load(Acquire) < self.plan.threads && !has_one_ended() {
            is_cut_short |= is_broken_off(Stage::Opening);
            cut.store(is_cut_short, Relaxed);
            thread::sleep(STEP);
        }
        let has_nothing_open = self.shared.opened.load(Relaxed) == 0;
        if self.plan.mode.opens_first() && has_nothing_open {
            cut.store(true, Relaxed);
        }
        let memory_open = self.memory();
        let start = self.clock.now() + nanos(STEP);
        self.shared.start.store(start, Relaxed);
        thread::sleep(Duration::from_nanos(start.saturating_sub(self.clock.now())));

        let mut course = vec![self.sample(start)];
        while let Some(at) = course
            .last()
            .map(|last| last.at)
            .filter(|&at| at < self.span && !cut.load(Relaxed))
        {
            if is_broken_off(Stage::Load(at)) {
                is_cut_short = true;
                cut.store(true, Relaxed);
                break;
            }
            let next = (at + SAMPLE_STEP).min(self.span);
            let wake = (start + nanos(next)).saturating_sub(self.clock.now());
            thread::sleep(Duration::from_nanos(wake));
            course.push(self.sample(start));
        }
        let seen = Seen {
            memory_open,
            memory_loaded: self.memory(),
            course,
            is_cut_short,
        };
        self.shared.booked.store(true, Relaxed);
        while !threads.iter().all(ScopedJoinHandle::is_finished) {
            // What breaks off now ends the rounds that are left.
            let _ = is_broken_off(Stage::Ending);
            thread::sleep(STEP);
        }
        seen
    }

    fn sample(&self, start: u64) -> Sample {
        Sample {
            at: Duration::from_nanos(self.clock.now().saturating_sub(start)),
            messages: self.shared.messages.load(Relaxed),
            handshakes: self.shared.opened.load(Relaxed),
            cpu: self.accounted.and_then(ProcessTree::cpu_time),
        }
    }

    fn memory(&self) -> Memory {
        Memory {
            process_bytes: self.accounted.and_then(ProcessTree::memory_bytes),
            tcp_bytes: tcp_memory_bytes(),
        }
    }

    fn has_lost_its_process(&self) -> bool {
        self.accounted.is_some_and(|tree| tree.cpu_time().is_none())
    }

    fn progress(&self, stage: Stage) -> Progress {
        Progress {
            rounds: self.plan.rounds,
            round: 0,
            target: 0,
            opened: self.shared.opened.load(Relaxed),
            messages: self.shared.messages.load(Relaxed),
            faults: self.shared.faults.load(Relaxed),
            stage,
        }
    }
}

impl Seen {
    fn round(self, tally: Tally, memory_before: Memory) -> Round {
        let (first, last) = (self.course[0], self.course[self.course.len() - 1]);
        Round {
            tally,
            messages: last.messages - first.messages,
            handshakes: last.handshakes - first.handshakes,
            elapsed: last.at - first.at,
            cpu: last
                .cpu
                .zip(first.cpu)
                .map(|(after, before)| after.saturating_sub(before)),
            memory_before,
            memory_open: self.memory_open,
            memory_loaded: self.memory_loaded,
            course: self.course,
            is_cut_short: self.is_cut_short,
        }
    }
}
