//! Ten thousand random lives of a session a run: two scripted peers, a relay, a clock that jumps.
//! `TIDEGATE_SEED` replays one; a failure prints its seed.

mod oracle;
mod peer;
mod plan;
mod wire;

use std::env;
use std::time::{Duration, Instant};

use tidegate::logic::websocket::{Output, Pair, Session, Side};

use oracle::Oracle;
use peer::Peer;
use plan::Plan;
use wire::Wire;

const SCHEDULES: u64 = 10_000;
/// Most that the relay reads at a time, as its scratch buffer does.
const MOST_READ: usize = 4096;
/// What a side that takes nothing can be left with: a chunk with what was withheld before it, and frames of ours.
const PARK_LIMIT: usize = MOST_READ + Session::HEADROOM + 300;

#[test]
fn every_schedule_keeps_every_promise() {
    if let Ok(seed) = env::var("TIDEGATE_SEED") {
        return World::new(seed.parse().unwrap()).live();
    }
    let base = fastrand::u64(..);
    for schedule in 0..SCHEDULES {
        World::new(base.wrapping_add(schedule)).live();
    }
}

/// One session between two peers, and who watches it.
struct World {
    seed: u64,
    dice: fastrand::Rng,
    now: Instant,
    session: Session,
    peers: Pair<Peer>,
    /// What is on its way to each side.
    wires: Pair<Wire>,
    oracle: Oracle,
    plan: Plan,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let now = Instant::now();
        let plan = Plan::new(&mut dice);
        let session = Session::new(plan.settings.clone(), plan.extensions, now, seed);
        Self {
            seed,
            now,
            session,
            peers: Pair {
                client: Peer::new(Side::Client, &plan, &mut dice),
                backend: Peer::new(Side::Backend, &plan, &mut dice),
            },
            wires: Pair::default(),
            oracle: Oracle::new(now),
            plan,
            dice,
        }
    }

    /// Lives a while, is told to end if nothing ended it, and must then end in time.
    fn live(mut self) {
        for _ in 0..self.plan.events {
            self.event();
        }
        self.order(self.plan.order);
        for _ in 0..100_000 {
            if self.is_over() {
                return self.oracle.ended(&self.session, &self.wires, self.now);
            }
            self.event();
            self.pass_time(Duration::from_millis(50));
        }
        panic!("a session that never ends");
    }

    fn event(&mut self) {
        let side = if self.dice.bool() {
            Side::Client
        } else {
            Side::Backend
        };
        match self.dice.u32(0..100) {
            0..30 => self.peers[side].write(&mut self.dice),
            30..70 => self.read(side),
            70..85 => self.peers[side].take_more(&mut self.dice),
            85..88 => self.hang_up(side),
            88..89 if self.dice.u32(0..20) == 0 => self.order(self.plan.order),
            89..94 => self.pass_some_time(200),
            94..97 => self.pass_some_time(20_000),
            _ => self.wake(),
        }
        self.deliver();
    }

    /// The relay reads what there is, or a part of it.
    fn read(&mut self, from: Side) {
        if self.session.resumes(from) {
            return self.receive(from, 0);
        }
        if !self.session.reads(from) || self.wires[from].is_cut() {
            return;
        }
        let peer = &mut self.peers[from];
        let most = peer
            .unread()
            .len()
            .min(self.session.read_limit(from))
            .min(MOST_READ);
        if most > 0 {
            let count = if self.dice.u32(0..3) == 0 {
                1
            } else {
                self.dice.usize(1..=most)
            };
            self.receive(from, count);
        } else if peer.was_reset() {
            self.break_off(from);
        } else if peer.has_finished() {
            self.oracle.ended_stream(from);
            self.session.end_of_stream(from, self.now);
            self.after();
        }
    }

    fn receive(&mut self, from: Side, count: usize) {
        let held = self.session.held(from).to_vec();
        assert!(held.len() <= Session::HEADROOM);
        let mut chunk = [&held[..], &self.peers[from].unread()[..count]].concat();
        self.peers[from].read(count);
        self.oracle.heard(from, count, self.now);
        let passed = self.session.receive(from, &mut chunk, self.now);
        self.wires[from.other()].forward(&chunk[..passed]);
        self.oracle.forwarded(
            from,
            &chunk[..passed],
            &self.peers[from],
            &self.session,
            self.now,
        );
        self.after();
    }

    fn hang_up(&mut self, side: Side) {
        self.peers[side].hang_up(&mut self.dice);
    }

    fn break_off(&mut self, side: Side) {
        self.oracle.broke(side);
        self.session.broken(side, self.now);
        self.wires[side].cut();
        self.after();
    }

    fn order(&mut self, reason: tidegate::logic::reason::EndReason) {
        self.session.order(reason, self.now);
        self.after();
    }

    fn wake(&mut self) {
        if let Some(deadline) = self.session.deadline() {
            let late = Duration::from_micros(self.dice.u64(0..3_000));
            self.pass_time(deadline.saturating_duration_since(self.now) + late);
        }
    }

    fn pass_some_time(&mut self, most_millis: u64) {
        let time = Duration::from_millis(self.dice.u64(0..most_millis));
        self.pass_time(time);
    }

    /// Time goes by; the session is woken at its deadlines, as a timer does.
    fn pass_time(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self
            .session
            .deadline()
            .filter(|&deadline| deadline <= until)
        {
            self.now = self.now.max(deadline);
            self.session.elapsed(self.now);
            let next = self.session.deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a deadline that stays"
            );
            self.after();
        }
        self.now = until;
    }

    /// What the relay does after every call: injects, shuts down, cuts.
    fn after(&mut self) {
        self.watch();
        for to in Side::BOTH {
            while let Some(frame) = self.session.inject(to) {
                let source = &self.peers[to.other()];
                self.oracle
                    .injects(to, &frame, &self.wires[to], source, &self.plan, self.now);
                self.wires[to].inject(&frame);
                self.peers[to].expect_ping(self.wires[to].scanner.offset);
            }
            if self.session.output(to) == Output::Cut {
                self.wires[to].cut();
            }
        }
        self.deliver();
        self.watch();
    }

    fn watch(&mut self) {
        let Self {
            session,
            peers,
            wires,
            plan,
            oracle,
            now,
            ..
        } = self;
        oracle.decided(session, peers, wires, plan, *now);
        oracle.paces(session, peers.client.read, plan, *now);
    }

    /// Peers take what they are ready to take, and answer it.
    fn deliver(&mut self) {
        for to in Side::BOTH {
            if self.peers[to].was_reset() && self.wires[to].parked() > 0 {
                self.break_off(to);
            }
            let taken = self.wires[to].take(self.peers[to].window());
            self.peers[to].receive(&taken, &mut self.dice);
            let parked = self.wires[to].parked();
            assert!(parked <= PARK_LIMIT, "{parked} bytes parked");
            let before = std::mem::replace(&mut self.wires[to].told, parked);
            if parked != before {
                if parked < before {
                    self.oracle.took(to, self.now);
                }
                self.session.parked(to, parked, self.now);
            }
            if parked == 0 && self.session.output(to) != Output::Open {
                self.peers[to].stream_ended();
            }
        }
    }

    fn is_over(&self) -> bool {
        let flushed = |side: Side| self.wires[side].is_cut() || self.wires[side].parked() == 0;
        self.session.end().is_some() && Side::BOTH.into_iter().all(flushed)
    }
}

impl Drop for World {
    #[expect(clippy::print_stderr, reason = "a failure tells how to replay it")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with TIDEGATE_SEED={}", self.seed);
        }
    }
}
