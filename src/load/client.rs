//! One client: connects, shakes hands, exchanges messages, says goodbye.

use std::collections::VecDeque;

use super::clock::{Clock, Nanos};
use super::connection::{Connection, Extent};
use super::fault::Fault;
use super::frame_reader::{FrameReader, Received};
use super::handshake::Handshake;
use super::payload::Payload;
use super::plan::Target;
use super::poller::Readiness;
use super::tally::{Tally, record};
use crate::logic::websocket::frame::{ControlFrame, Opcode};

/// What the clients of one thread share.
pub(super) struct Context {
    pub(super) clock: Clock,
    pub(super) target: Target,
    pub(super) payload: Payload,
    pub(super) tally: Tally,
    pub(super) expects: Expects,
    /// When bytes came in last.
    pub(super) now: Nanos,
    /// Until when an echo is answered with the next message.
    pub(super) refill_until: Nanos,
    /// Messages sent whose echo has not come.
    pub(super) outstanding: u64,
    pub(super) read_buffer: Vec<u8>,
    pub(super) write_buffer: Vec<u8>,
}

/// What the server's messages are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expects {
    /// Our own, in their order.
    Echoes,
    /// Nothing: they are counted.
    Anything,
    /// Nothing, and open clients read only when they are told to.
    AnythingLater,
}

/// A client of the target's.
pub(super) struct Client {
    link: Connection,
    phase: Phase,
    /// When its opening was due.
    due: Nanos,
    frame_reader: FrameReader,
    exchange: Exchange,
}

/// How far a client has come.
#[derive(Debug)]
enum Phase {
    Connecting,
    Securing,
    Upgrading(Box<Handshake>),
    Open,
    /// Our Close is sent.
    Closing,
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing worth telling.
    None,
    /// Its handshake succeeded.
    Opened,
    /// Both sides have said goodbye.
    Closed,
}

/// Messages under way.
#[derive(Default)]
struct Exchange {
    /// Which of all clients this is.
    number: u64,
    sent: u64,
    received: u64,
    /// When each message under way was due.
    dues: VecDeque<Nanos>,
    /// Bytes of the message that is coming in.
    position: usize,
    spoilt: bool,
    pong: Option<Box<ControlFrame>>,
    closed: bool,
}

impl Client {
    pub(super) fn new(link: Connection, number: u64, due: Nanos) -> Self {
        let exchange = Exchange {
            number,
            ..Exchange::default()
        };
        Self {
            link,
            phase: Phase::Connecting,
            due,
            frame_reader: FrameReader::default(),
            exchange,
        }
    }

    pub(super) fn link(&self) -> &Connection {
        &self.link
    }

    pub(super) fn number(&self) -> u64 {
        self.exchange.number
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    pub(super) fn is_opening(&self) -> bool {
        !matches!(self.phase, Phase::Open | Phase::Closing)
    }

    /// Whether the server has answered our Close.
    pub(super) fn is_closed(&self) -> bool {
        self.exchange.closed
    }

    /// Messages that would be lost with it.
    pub(super) fn outstanding(&self) -> u64 {
        self.exchange.dues.len() as u64
    }

    /// Does what can be done now.
    pub(super) fn proceed(
        &mut self,
        ready: Readiness,
        context: &mut Context,
    ) -> Result<News, Fault> {
        if matches!(self.phase, Phase::Connecting) {
            if !ready.writable {
                return Ok(News::None);
            }
            self.link.check_connected()?;
            self.phase = Phase::Securing;
            self.greet(&context.target)?;
        }
        if ready.writable {
            self.link.flush()?;
        }
        let later = self.is_open() && context.expects == Expects::AnythingLater;
        if !ready.readable || later {
            return Ok(News::None);
        }
        let extent = if ready.hangup {
            Extent::UntilEnd
        } else {
            Extent::UntilEmpty
        };
        self.read(usize::MAX, extent, context)
    }

    /// Reads so many bytes at most, though more may be there.
    pub(super) fn sip(&mut self, bytes: usize, context: &mut Context) -> Result<News, Fault> {
        self.read(bytes, Extent::Once, context)
    }

    /// Whether the peer takes what it is sent.
    pub(super) fn has_room(&self) -> bool {
        self.is_open() && self.link.backlog() == 0
    }

    /// Sends so many messages, due at one moment.
    pub(super) fn send(
        &mut self,
        count: u32,
        due: Nanos,
        context: &mut Context,
    ) -> Result<(), Fault> {
        const MOST_BACKLOG_BYTES: usize = 16 * 1024 * 1024;
        const MOST_AT_ONCE_BYTES: usize = 256 * 1024 * 1024;
        if self.link.backlog() > MOST_BACKLOG_BYTES {
            context.tally.faults(Fault::Unsent, u64::from(count));
            return Ok(());
        }
        context.write_buffer.clear();
        for sent in 0..count {
            if context.write_buffer.len() > MOST_AT_ONCE_BYTES {
                context.tally.faults(Fault::Unsent, u64::from(count - sent));
                break;
            }
            self.exchange.append_message(due, context);
        }
        self.link.send(&context.write_buffer)
    }

    /// Says goodbye.
    pub(super) fn close(&mut self) -> Result<(), Fault> {
        const NORMAL: u16 = 1000;
        self.phase = Phase::Closing;
        self.link
            .send(&masked(Opcode::Close, &NORMAL.to_be_bytes()))
    }

    /// Starts TLS, or asks for the upgrade as soon as that stands.
    fn greet(&mut self, target: &Target) -> Result<(), Fault> {
        if self.link.is_securing() {
            return self.link.flush();
        }
        let handshake = Box::new(Handshake::new());
        let mut request = Vec::new();
        handshake.append_request(&target.authority, &target.path, &mut request);
        self.phase = Phase::Upgrading(handshake);
        self.link.send(&request)
    }

    fn read(
        &mut self,
        most_bytes: usize,
        extent: Extent,
        context: &mut Context,
    ) -> Result<News, Fault> {
        let Self {
            link,
            phase,
            frame_reader,
            exchange,
            due,
        } = self;
        let mut read_buffer = std::mem::take(&mut context.read_buffer);
        let mut opened = false;
        let before = exchange.received;
        let room = most_bytes.min(read_buffer.len());
        let ended = link.read(&mut read_buffer[..room], extent, |bytes| {
            let Phase::Upgrading(handshake) = phase else {
                return exchange.receive(bytes, frame_reader, context);
            };
            let Some(rest) = handshake.receive(bytes)? else {
                return Ok(());
            };
            record(&mut context.tally.opening, *due, context.clock.now());
            opened = true;
            *phase = Phase::Open;
            exchange.receive(&rest, frame_reader, context)
        });
        context.read_buffer = read_buffer;
        let ended = ended?;
        if opened {
            context.tally.opened += 1;
            context.tally.resumed += u64::from(self.link.is_resumed());
        }
        if matches!(self.phase, Phase::Securing) && !self.link.is_securing() {
            self.greet(&context.target)?;
        }
        self.answer()?;
        match (ended, self.is_closed()) {
            (true, false) if self.is_opening() => Err(Fault::Unanswered),
            (true, false) => Err(Fault::EndedEarly),
            (true, true) => Ok(News::Closed),
            _ if opened => Ok(News::Opened),
            _ => self.refill(before, context).map(|()| News::None),
        }
    }

    /// In a closed loop, sends a message for every echo.
    fn refill(&mut self, received_before: u64, context: &mut Context) -> Result<(), Fault> {
        let echoes = self.exchange.received - received_before;
        if echoes == 0 || context.now >= context.refill_until {
            return Ok(());
        }
        self.send(
            u32::try_from(echoes).unwrap_or(u32::MAX),
            context.now,
            context,
        )
    }

    /// Answers the server's ping; its Close must be an answer itself.
    fn answer(&mut self) -> Result<(), Fault> {
        if let Some(pong) = self.exchange.pong.take() {
            self.link.send(&pong)?;
        }
        if self.exchange.closed && !matches!(self.phase, Phase::Closing) {
            return Err(Fault::ClosedEarly);
        }
        Ok(())
    }
}

impl Exchange {
    fn append_message(&mut self, due: Nanos, context: &mut Context) {
        let slice = Payload::slice(self.number, self.sent);
        context
            .payload
            .append_frame(slice, &mut context.write_buffer);
        self.sent += 1;
        if context.expects == Expects::Echoes {
            context.outstanding += 1;
            self.dues.push_back(due);
        }
    }

    fn receive(
        &mut self,
        bytes: &[u8],
        frame_reader: &mut FrameReader,
        context: &mut Context,
    ) -> Result<(), Fault> {
        context.now = context.clock.now();
        frame_reader.read(bytes, |received| match received {
            Received::Data(part) => self.check(part, context),
            Received::MessageEnd => self.end_message(context),
            Received::Ping(payload) => self.pong = Some(Box::new(masked(Opcode::Pong, payload))),
            Received::Pong => {}
            Received::Close(code) => {
                self.closed = true;
                *context.tally.close_codes.entry(code).or_default() += 1;
            }
        })?;
        Ok(())
    }

    fn check(&mut self, part: &[u8], context: &mut Context) {
        if context.expects == Expects::Echoes {
            let slice = Payload::slice(self.number, self.received);
            self.spoilt |= !context.payload.matches(slice, self.position, part);
        }
        self.position += part.len();
        context.tally.bytes += part.len() as u64;
    }

    fn end_message(&mut self, context: &mut Context) {
        let whole = self.position == context.payload.message_bytes() && !self.spoilt;
        self.position = 0;
        self.spoilt = false;
        if context.expects != Expects::Echoes {
            context.tally.messages += 1;
            return;
        }
        let Some(due) = self.dues.pop_front() else {
            context.tally.fault(Fault::Unasked);
            return;
        };
        context.outstanding -= 1;
        context.tally.messages += 1;
        self.received += 1;
        record(&mut context.tally.round_trip, due, context.now);
        if !whole {
            context.tally.fault(Fault::WrongEcho);
        }
    }
}

/// A control frame as clients send it.
fn masked(opcode: Opcode, payload: &[u8]) -> ControlFrame {
    ControlFrame::new(opcode, payload, Some(fastrand::u32(..).to_ne_bytes()))
}
