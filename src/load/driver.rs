//! One thread's clients and the loop that keeps them going.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::client::{Client, Context, News};
use super::clock::{Clock, Nanos, nanos};
use super::connection::{Connection, TlsClient};
use super::fault::Fault;
use super::payload::Payload;
use super::plan::{Mode, Plan, Target};
use super::poller::{Poller, Readiness};
use super::process::thread_wait;
use super::schedule::Schedule;
use super::tally::Tally;

/// How long a connection may take to open.
pub const OPEN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last echoes and the answers to Closes may take.
pub const END_TIMEOUT: Duration = Duration::from_secs(5);
const READ_BUFFER_BYTES: usize = 256 * 1024;

/// What the threads of a round tell the one that watches them, and it them.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// When the load begins; 0 while connections are opened.
    pub(super) start: AtomicU64,
    /// Threads that are done with opening.
    pub(super) prepared: AtomicU64,
    /// Whether it ends before its time.
    pub(super) cut: AtomicBool,
    /// Whether the books have been read, and connections may go.
    pub(super) booked: AtomicBool,
    /// How often threads have brought their connections back, all together.
    pub(super) recoveries: AtomicU64,
    pub(super) opened: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) faults: AtomicU64,
}

impl Shared {
    /// Lets threads that wait for others end.
    pub(super) fn call_off(&self) {
        self.cut.store(true, Relaxed);
        self.start.store(1, Relaxed);
        self.booked.store(true, Relaxed);
    }
}

/// What one thread is to do.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) target: &'a Target,
    pub(super) tls_client: Option<TlsClient>,
    pub(super) shared: &'a Shared,
    pub(super) clock: Clock,
    pub(super) thread: u64,
    pub(super) span: Duration,
}

/// The time under load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) start: Nanos,
    pub(super) end: Nanos,
}

/// One thread's clients.
pub(super) struct Driver<'a> {
    job: Job<'a>,
    poller: Poller,
    clients: Vec<Option<Client>>,
    live: usize,
    free_slots: Vec<usize>,
    next_number: u64,
    /// Clients that are opening, in the order of their deadlines.
    opening: VecDeque<(Nanos, usize, u64)>,
    context: Context,
    news: Vec<(usize, News)>,
    told: Told,
    cursor: usize,
}

/// What [`Shared`] has been told already.
#[derive(Default)]
struct Told {
    opened: u64,
    messages: u64,
    faults: u64,
}

impl<'a> Driver<'a> {
    /// Opens connections, puts them under load, closes them, and returns what was seen.
    pub(super) fn run(job: Job<'a>) -> io::Result<Tally> {
        let mut driver = Self::new(job)?;
        if driver.job.plan.mode.opens_first() {
            let openings = driver.openings(driver.now());
            driver.open_share(openings)?;
        }
        driver.job.shared.prepared.fetch_add(1, Release);
        let span = driver.await_start()?;
        if !driver.is_cut() {
            let before = Needs::now(&driver.context.tally);
            driver.job.plan.mode.run(&mut driver, span)?;
            driver.note_needs(before, span);
        }
        driver.await_echoes()?;
        driver.await_books()?;
        match driver.job.plan.mode {
            Mode::SlowReader(_) => driver.drop_all(),
            _ => driver.close_all()?,
        }
        Ok(driver.context.tally)
    }

    fn new(job: Job<'a>) -> io::Result<Self> {
        let context = Context {
            clock: job.clock,
            target: job.target.clone(),
            payload: Payload::new(job.plan.message_bytes, job.thread),
            tally: Tally::default(),
            expects: job.plan.mode.expects(),
            now: 0,
            refill_until: 0,
            outstanding: 0,
            read_buffer: vec![0; READ_BUFFER_BYTES],
            write_buffer: Vec::new(),
        };
        Ok(Self {
            next_number: job.thread,
            job,
            poller: Poller::new()?,
            clients: Vec::new(),
            live: 0,
            free_slots: Vec::new(),
            opening: VecDeque::new(),
            context,
            news: Vec::new(),
            told: Told::default(),
            cursor: 0,
        })
    }

    pub(super) fn now(&self) -> Nanos {
        self.context.clock.now()
    }

    /// Whether the load goes on: until then, unless it is cut short.
    pub(super) fn goes_on(&self, until: Nanos) -> bool {
        !self.is_cut() && self.now() < until
    }

    pub(super) fn is_cut(&self) -> bool {
        self.job.shared.cut.load(Relaxed)
    }

    /// This thread's moments, so many a second over all threads.
    pub(super) fn schedule(&self, start: Nanos, per_second: NonZeroU64) -> Schedule {
        Schedule::new(start, per_second, self.job.thread, self.job.plan.threads)
    }

    /// Starts a connection that was due then; says whether the machine allowed it.
    pub(super) fn open(&mut self, due: Nanos) -> io::Result<bool> {
        let number = self.next_number;
        self.next_number += self.job.plan.threads;
        let from = self.job.plan.source(number);
        let receive_buffer_bytes = self.job.plan.mode.receive_buffer_bytes();
        let tls_client = self.job.tls_client.as_ref();
        match Connection::open(
            self.job.target.address,
            from,
            receive_buffer_bytes,
            tls_client,
        ) {
            Ok(link) => self.admit(Client::new(link, number, due)).map(|()| true),
            Err(fault) => {
                self.context.tally.fault(fault);
                Ok(false)
            }
        }
    }

    /// Lets clients do what they can until the moment given, or until some have done something.
    pub(super) fn turn(&mut self, until: Nanos) -> io::Result<Vec<(usize, News)>> {
        /// How long a thread may not look at its clock.
        const MOST: Duration = Duration::from_millis(10);
        let left = Duration::from_nanos(until.saturating_sub(self.now()));
        self.poller.wait(left.min(MOST))?;
        let mut found = 0;
        while let Some(ready) = self.poller.ready(found) {
            found += 1;
            self.proceed(ready);
        }
        self.give_up_on_the_slow();
        self.tell();
        Ok(std::mem::take(&mut self.news))
    }

    /// Gives the vector of [`Self::turn`] back, so that it is not allocated anew.
    pub(super) fn recycle(&mut self, mut news: Vec<(usize, News)>) {
        news.clear();
        self.news = news;
    }

    /// The slots of all open clients.
    pub(super) fn open_slots(&self) -> Vec<usize> {
        let is_open = |slot: &usize| self.clients[*slot].as_ref().is_some_and(Client::is_open);
        (0..self.clients.len()).filter(is_open).collect()
    }

    /// Keeps so many messages under way on each open connection until then.
    pub(super) fn keep_in_flight(&mut self, count: u32, until: Nanos) -> io::Result<()> {
        self.context.refill_until = until;
        for slot in self.open_slots() {
            self.send(slot, count, self.now());
        }
        while self.goes_on(until) {
            let news = self.turn(until)?;
            self.recycle(news);
        }
        self.context.refill_until = 0;
        Ok(())
    }

    /// Sends so many messages to the client in this slot.
    fn send(&mut self, slot: usize, count: u32, due: Nanos) {
        let Some(Some(client)) = self.clients.get_mut(slot) else {
            return;
        };
        if !client.is_open() {
            return;
        }
        if let Err(fault) = client.send(count, due, &mut self.context) {
            self.fail(slot, fault);
        }
    }

    /// Sends a message to the next open client in turn.
    pub(super) fn send_to_next(&mut self, due: Nanos) {
        let slots = self.clients.len();
        for _ in 0..slots {
            self.cursor = (self.cursor + 1) % slots;
            let client = self.clients[self.cursor].as_ref();
            if client.is_some_and(Client::is_open) {
                let late = self.now().saturating_sub(due);
                self.context.tally.lateness.saturating_record(late.max(1));
                return self.send(self.cursor, 1, due);
            }
        }
        self.context.tally.fault(Fault::Unsent);
    }

    /// This thread's part of all connections.
    pub(super) fn share(&self) -> u64 {
        self.job.plan.share(self.job.thread)
    }

    /// This thread's moments to open connections from then on, as fast as the plan allows.
    pub(super) fn openings(&self, start: Nanos) -> Schedule {
        match self.job.plan.connect_rate {
            Some(per_second) => self.schedule(start, per_second),
            None => Schedule::at_once(start),
        }
    }

    /// Connections that are there, open or not.
    pub(super) fn live(&self) -> u64 {
        self.live as u64
    }

    /// Opens this thread's part of all connections, and waits until each is open or has failed;
    /// gives up those that are opening when the load is cut short.
    pub(super) fn open_share(&mut self, mut openings: Schedule) -> io::Result<()> {
        /// Opened between two looks at what has come in.
        const BATCH: usize = 64;
        let share = self.share();
        let mut started = 0;
        while started < share || !self.opening.is_empty() {
            if self.is_cut() {
                self.forget_opening();
                return Ok(());
            }
            for _ in 0..BATCH {
                if started < share
                    && let Some(due) = openings.take(self.now())
                {
                    self.open(due)?;
                    started += 1;
                }
            }
            let next = if started < share {
                openings.next_due()
            } else {
                Nanos::MAX
            };
            let news = self.turn(next)?;
            self.recycle(news);
        }
        Ok(())
    }

    /// Whether this thread's part of all connections is open, none missing.
    pub(super) fn are_all_open(&self) -> bool {
        self.open_slots().len() as u64 == self.share()
    }

    /// Says goodbye to the client in this slot.
    pub(super) fn close(&mut self, slot: usize) {
        if let Some(Some(client)) = self.clients.get_mut(slot)
            && let Err(fault) = client.close()
        {
            self.fail(slot, fault);
        }
    }

    /// Lets go of connections that are not open yet.
    pub(super) fn forget_opening(&mut self) {
        for (_, slot, number) in std::mem::take(&mut self.opening) {
            if self.is_opening(slot, number) {
                self.dismiss(slot);
            }
        }
    }

    /// Lets go of all connections without a word.
    pub(super) fn drop_all(&mut self) {
        for slot in 0..self.clients.len() {
            self.dismiss(slot);
        }
    }

    /// Lets the client in this slot read so many bytes, and send as long as the server takes it.
    pub(super) fn sip_and_flood(&mut self, slot: usize, sip_bytes: usize) {
        /// Messages at a time, so that all get their turn.
        const BATCH: usize = 16;
        let Some(Some(client)) = self.clients.get_mut(slot) else {
            return;
        };
        let mut done = match sip_bytes {
            0 => Ok(()),
            _ => client.sip(sip_bytes, &mut self.context).map(drop),
        };
        for _ in 0..BATCH {
            if done.is_ok() && client.has_room() {
                done = client.send(1, 0, &mut self.context);
            }
        }
        if let Err(fault) = done {
            self.fail(slot, fault);
        }
    }

    /// Waits until every thread has called this as often, or until then.
    pub(super) fn await_other_threads(&mut self, until: Nanos) -> io::Result<()> {
        const STEP: Duration = Duration::from_millis(1);
        let (shared, threads) = (self.job.shared, self.job.plan.threads);
        let mine = shared.recoveries.fetch_add(1, Relaxed);
        let all = (mine / threads + 1) * threads;
        while shared.recoveries.load(Relaxed) < all && self.goes_on(until) {
            let news = self.turn(self.now() + nanos(STEP))?;
            self.recycle(news);
        }
        Ok(())
    }

    /// The figures so far.
    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.context.tally
    }

    fn proceed(&mut self, ready: Readiness) {
        let Some(Some(client)) = self.clients.get_mut(ready.slot) else {
            return;
        };
        match client.proceed(ready, &mut self.context) {
            Ok(News::None) => {}
            Ok(news) => {
                if news == News::Closed {
                    self.dismiss(ready.slot);
                }
                self.news.push((ready.slot, news));
            }
            Err(fault) => self.fail(ready.slot, fault),
        }
    }

    fn await_start(&mut self) -> io::Result<Span> {
        loop {
            let start = self.job.shared.start.load(Relaxed);
            if start != 0 && start <= self.now() {
                return Ok(Span {
                    start,
                    end: start + nanos(self.job.span),
                });
            }
            let news = self.turn(if start == 0 { Nanos::MAX } else { start })?;
            self.recycle(news);
        }
    }

    fn await_echoes(&mut self) -> io::Result<()> {
        let deadline = self.now() + nanos(END_TIMEOUT);
        while self.context.outstanding > 0 && self.now() < deadline {
            let news = self.turn(deadline)?;
            self.recycle(news);
        }
        self.context
            .tally
            .faults(Fault::Lost, self.context.outstanding);
        self.tell();
        Ok(())
    }

    fn await_books(&mut self) -> io::Result<()> {
        while !self.job.shared.booked.load(Relaxed) {
            let news = self.turn(Nanos::MAX)?;
            self.recycle(news);
        }
        Ok(())
    }

    fn close_all(&mut self) -> io::Result<()> {
        for slot in self.open_slots() {
            self.close(slot);
        }
        let deadline = self.now() + nanos(END_TIMEOUT);
        while self.live > 0 && self.now() < deadline {
            let news = self.turn(deadline)?;
            self.recycle(news);
        }
        for client in self.clients.iter().flatten() {
            if client.is_opening() {
                self.context.tally.fault(Fault::OpenTimeout);
            } else if !client.is_closed() {
                self.context.tally.fault(Fault::CloseTimeout);
            }
        }
        self.tell();
        Ok(())
    }

    fn admit(&mut self, client: Client) -> io::Result<()> {
        let slot = self.free_slots.pop().unwrap_or(self.clients.len());
        self.poller.add(client.link(), slot)?;
        let deadline = self.now() + nanos(OPEN_TIMEOUT);
        self.opening.push_back((deadline, slot, client.number()));
        if slot == self.clients.len() {
            self.clients.push(Some(client));
        } else {
            self.clients[slot] = Some(client);
        }
        self.live += 1;
        Ok(())
    }

    fn dismiss(&mut self, slot: usize) {
        if let Some(client) = self.clients[slot].take() {
            self.context.outstanding -= client.outstanding();
            self.context.tally.faults(Fault::Lost, client.outstanding());
            self.free_slots.push(slot);
            self.live -= 1;
        }
    }

    fn fail(&mut self, slot: usize, fault: Fault) {
        self.context.tally.fault(fault);
        self.dismiss(slot);
        self.news.push((slot, News::Closed));
    }

    /// Forgets those that have opened, fails those that have not in time.
    fn give_up_on_the_slow(&mut self) {
        while let Some(&(deadline, slot, number)) = self.opening.front() {
            let still_opening = self.is_opening(slot, number);
            if still_opening && self.now() < deadline {
                return;
            }
            self.opening.pop_front();
            if still_opening {
                self.fail(slot, Fault::OpenTimeout);
            }
        }
    }

    fn is_opening(&self, slot: usize, number: u64) -> bool {
        let client = self.clients[slot].as_ref();
        client.is_some_and(|client| client.number() == number && client.is_opening())
    }

    fn tell(&mut self) {
        let tally = &self.context.tally;
        let faults = tally.fault_count();
        for (shared, told, now) in [
            (&self.job.shared.opened, &mut self.told.opened, tally.opened),
            (
                &self.job.shared.messages,
                &mut self.told.messages,
                tally.messages,
            ),
            (&self.job.shared.faults, &mut self.told.faults, faults),
        ] {
            if *told != now {
                shared.fetch_add(now - *told, Relaxed);
                *told = now;
            }
        }
    }

    fn note_needs(&mut self, before: Needs, span: Span) {
        let needs = Needs::now(&self.context.tally);
        let spent = needs.cpu.saturating_sub(before.cpu);
        let waited = needs.wait.saturating_sub(before.wait);
        let elapsed = Duration::from_nanos(self.now().saturating_sub(span.start));
        let part = |time: Duration| time.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
        let tally = &mut self.context.tally;
        (tally.cpu, tally.busiest, tally.starved) = (spent, part(spent), part(waited));
        tally.covered = elapsed;
        tally.covered_messages = needs.messages - before.messages;
        tally.covered_handshakes = needs.handshakes - before.handshakes;
    }
}

/// What this thread has needed of the machine so far.
struct Needs {
    cpu: Duration,
    /// Ready, and no core to run on.
    wait: Duration,
    /// What it was needed for.
    messages: u64,
    handshakes: u64,
}

impl Needs {
    fn now(tally: &Tally) -> Self {
        let cpu = Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
        Self {
            cpu: cpu.unwrap_or_default(),
            wait: thread_wait(),
            messages: tally.messages,
            handshakes: tally.opened,
        }
    }
}
