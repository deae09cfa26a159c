//! Any sequence of calls: no panic, every stream that goes out is frames and nothing behind a Close, one reason,
//! no deadline that stays, and an end in time.

#![no_main]

#[path = "../../tests/it/sim/wire.rs"]
#[allow(dead_code, reason = "the simulation uses the rest")]
mod wire;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arbitrary::{Arbitrary, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use tidegate::logic::limit::Rate;
use tidegate::logic::reason::EndReason;
use tidegate::logic::websocket::{Extensions, OnExcess, Output, Pair, Session, Settings, Side};
use wire::Wire;

fuzz_target!(|life: Life| {
    let mut world = World::new(&life);
    for event in &life.events {
        world.happen(event);
    }
    world.happen(&Event::Order(EndReason::Shutdown));
    world.happen(&Event::Wait(Duration::from_secs(31)));
    assert!(world.session.end().is_some(), "it never ends");
    assert_eq!(world.session.deadline(), None);
});

#[derive(Debug)]
struct Life {
    settings: Settings,
    rsv1: bool,
    seed: u64,
    events: Vec<Event>,
}

#[derive(Debug)]
enum Event {
    /// Bytes as they are.
    Raw(Side, Vec<u8>),
    /// A frame with a good length and mask.
    Frame(Side, u8, Vec<u8>),
    EndOfStream(Side),
    Broken(Side),
    Order(EndReason),
    /// A side takes so many bytes of what waits for it.
    Take(Side, usize),
    Wait(Duration),
}

struct World {
    session: Session,
    now: Instant,
    wires: Pair<Wire>,
    /// Sides that take everything at once.
    quick: Pair<bool>,
    reason: Option<EndReason>,
}

impl World {
    fn new(life: &Life) -> Self {
        let now = Instant::now();
        let extensions = Extensions { rsv1: life.rsv1 };
        Self {
            session: Session::new(Arc::new(life.settings.clone()), extensions, now, life.seed),
            now,
            wires: Pair::default(),
            quick: Pair {
                client: life.seed & 1 == 0,
                backend: life.seed & 2 == 0,
            },
            reason: None,
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Raw(from, bytes) => self.receive(*from, bytes),
            Event::Frame(from, first, payload) => {
                self.receive(*from, &frame(*from, *first, payload))
            }
            Event::EndOfStream(from) if self.session.reads(*from) => {
                self.session.end_of_stream(*from, self.now);
            }
            Event::EndOfStream(_) => {}
            Event::Broken(side) => self.session.broken(*side, self.now),
            Event::Order(reason) => self.session.order(*reason, self.now),
            Event::Take(side, most) => drop(self.wires[*side].take(*most)),
            Event::Wait(time) => self.wait(*time),
        }
        self.after();
    }

    fn receive(&mut self, from: Side, bytes: &[u8]) {
        while self.session.resumes(from) {
            self.pass(from, &[]);
        }
        if self.session.reads(from) {
            self.pass(
                from,
                &bytes[..bytes.len().min(self.session.read_limit(from))],
            );
        }
    }

    fn pass(&mut self, from: Side, bytes: &[u8]) {
        let held = self.session.held(from);
        assert!(held.len() <= Session::HEADROOM);
        let mut chunk = [held, bytes].concat();
        let passed = self.session.receive(from, &mut chunk, self.now);
        self.wires[from.other()].forward(&chunk[..passed]);
        self.after();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(deadline) = self
            .session
            .deadline()
            .filter(|&deadline| deadline <= until)
        {
            self.now = self.now.max(deadline);
            self.session.elapsed(self.now);
            assert!(
                self.session.deadline().is_none_or(|next| next > self.now),
                "a deadline that stays"
            );
            self.after();
        }
        self.now = until;
    }

    fn after(&mut self) {
        for to in Side::BOTH {
            while let Some(frame) = self.session.inject(to) {
                assert!(self.wires[to].scanner.on_border(), "inside a frame");
                self.wires[to].inject(&frame);
            }
            if self.session.output(to) == Output::Cut {
                self.wires[to].cut();
            }
            if self.quick[to] {
                self.wires[to].take(usize::MAX);
            }
            let parked = self.wires[to].parked();
            if std::mem::replace(&mut self.wires[to].told, parked) != parked {
                self.session.parked(to, parked, self.now);
            }
        }
        let reason = self.session.reason().map(|end| end.reason);
        assert!(
            self.reason.is_none() || self.reason == reason,
            "a second reason"
        );
        self.reason = reason;
    }
}

/// A frame as that side sends it; its key is zero.
fn frame(from: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let mask_bit = if from == Side::Client { 0x80 } else { 0 };
    let mut bytes = match u8::try_from(payload.len()) {
        Ok(len @ ..126) => vec![first, mask_bit | len],
        _ => {
            let [high, low] = u16::try_from(payload.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            vec![first, mask_bit | 126, high, low]
        }
    };
    if from == Side::Client {
        bytes.extend([0; 4]);
    }
    bytes.extend(payload);
    bytes
}

impl<'a> Arbitrary<'a> for Life {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let settings = settings(u)?;
        let (rsv1, seed) = (u.arbitrary()?, u.arbitrary()?);
        let mut events = Vec::new();
        while !u.is_empty() {
            events.push(event(u)?);
        }
        Ok(Self {
            settings,
            rsv1,
            seed,
            events,
        })
    }
}

fn event(u: &mut Unstructured<'_>) -> Result<Event> {
    let side = if u.arbitrary()? {
        Side::Client
    } else {
        Side::Backend
    };
    Ok(match u.int_in_range(0..=11)? {
        0..=1 => Event::Raw(side, bytes(u)?),
        2..=6 => Event::Frame(side, first(u)?, bytes(u)?),
        7 => Event::EndOfStream(side),
        8 => Event::Broken(side),
        9 => Event::Order(*u.choose(&[
            EndReason::Killed,
            EndReason::Shutdown,
            EndReason::Overloaded,
        ])?),
        10 => Event::Take(side, u.int_in_range(0..=1000)?),
        _ => Event::Wait(Duration::from_millis(u.int_in_range(0..=60_000)?)),
    })
}

fn first(u: &mut Unstructured<'_>) -> Result<u8> {
    if u.ratio(1, 8)? {
        return u.arbitrary();
    }
    Ok(*u.choose(&[0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8a, 0xc1])?)
}

fn bytes(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let len = u.int_in_range(0..=300)?.min(u.len());
    Ok(u.bytes(len)?.to_vec())
}

fn settings(u: &mut Unstructured<'_>) -> Result<Settings> {
    Ok(Settings {
        idle_timeout: duration(u)?,
        max_lifetime: duration(u)?,
        ping_interval: duration(u)?,
        ping_timeout: Duration::from_millis(u.int_in_range(1..=20_000)?),
        ping_backend: u.arbitrary()?,
        max_frame_bytes: u.int_in_range(0..=400)?,
        max_message_bytes: u.int_in_range(0..=800)?,
        client_messages: rate(u)?,
        client_bytes: rate(u)?,
        on_excess: if u.arbitrary()? {
            OnExcess::Close
        } else {
            OnExcess::Throttle
        },
    })
}

fn duration(u: &mut Unstructured<'_>) -> Result<Option<Duration>> {
    let set: bool = u.arbitrary()?;
    let millis = u.int_in_range(1..=60_000)?;
    Ok(set.then(|| Duration::from_millis(millis)))
}

fn rate(u: &mut Unstructured<'_>) -> Result<Option<Rate>> {
    let set: bool = u.arbitrary()?;
    let (per_second, burst) = (u.int_in_range(1..=2000)?, u.int_in_range(1..=2000)?);
    Ok(set
        .then_some(NonZeroU64::new(per_second).zip(NonZeroU64::new(burst)))
        .flatten()
        .map(|(per_second, burst)| Rate { per_second, burst }))
}
