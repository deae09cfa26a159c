//! Peers that do not read: each holds a bounded piece of memory, stalls who sends to it and nobody else, and
//! gets every byte once it reads again (ARCHITECTURE, invariant 4; ATTACKS G05).

use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::support::connection::Connection;
use crate::support::flow::{Flow, Sending};
use crate::support::frame::{BINARY, Frame, TEXT};
use crate::support::wait::stays_true;
use crate::support::{Rest, Stage};

const SESSIONS: u32 = 6;
const PARK_BUFFER: f64 = 64.0 * 1024.0;
/// The longest header of a frame.
const HEADER: f64 = 14.0;
/// More than all the kernel's buffers on the way take.
const BLOCKS: u64 = 24;
/// What the process may grow by beyond what is parked.
const GROWTH_KIB: usize = 4 << 10;

/// Who does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deaf {
    Client,
    Backend,
}

/// A session with a flood in one direction.
struct Flooded {
    deaf: Connection,
    loud: Connection,
    flow: Flow,
    sending: Sending,
}

impl Flooded {
    fn begin(stage: &Stage, who: Deaf) -> Self {
        let (client, backend) = stage.tunnel();
        let (deaf, loud, flow) = match who {
            Deaf::Client => (client, backend, Flow::of_server(BLOCKS)),
            Deaf::Backend => (backend, client, Flow::of_client(BLOCKS)),
        };
        // The kernel's own buffers on this machine are not what is tested.
        let buffer = 64 << 10;
        SockRef::from(deaf.tcp())
            .set_recv_buffer_size(buffer)
            .unwrap();
        SockRef::from(loud.tcp())
            .set_send_buffer_size(buffer)
            .unwrap();
        let sending = flow.send_over(&loud);
        Self {
            deaf,
            loud,
            flow,
            sending,
        }
    }

    /// Reads all of it at last.
    fn end(self) {
        let received = self.flow.receive_over(&self.deaf).sum();
        assert_eq!(received, self.sending.sum(), "not the bytes that were sent");
        drop((self.deaf, self.loud));
    }
}

fn parked(stage: &Stage) -> f64 {
    stage.proxy.metrics().sum("tidegate_parked_bytes", &[])
}

fn does_not_read(who: Deaf) {
    let stage = Stage::with("ping_interval = \"off\"");
    let (mut client, mut backend) = stage.tunnel();
    let memory = stage.proxy.process().memory_kib();
    let floods: Vec<Flooded> = (0..SESSIONS).map(|_| Flooded::begin(&stage, who)).collect();
    for flood in &floods {
        flood.sending.wait_for_stall();
        let taken = flood.sending.sent();
        assert!(taken < flood.flow.len(), "all {taken} bytes were taken");
    }
    let most = f64::from(SESSIONS) * (PARK_BUFFER + HEADER);
    let taken: Vec<u64> = floods.iter().map(|flood| flood.sending.sent()).collect();
    stays_true(Duration::from_millis(300), "bounded and stalled", || {
        let now = floods.iter().map(|flood| flood.sending.sent());
        (1.0..=most).contains(&parked(&stage)) && now.eq(taken.iter().copied())
    });
    let grown = stage.proxy.process().memory_kib().saturating_sub(memory);
    assert!(grown < GROWTH_KIB, "{grown} KiB for {SESSIONS} sessions");
    others_talk(&mut client, &mut backend);
    eprintln!(
        "{who:?} does not read: parked {:.0} of at most {most:.0} bytes, process grown by {grown} KiB, \
         taken of each flood: {taken:?}",
        parked(&stage)
    );
    floods.into_iter().for_each(Flooded::end);
    drop((client, backend));
    stage
        .proxy
        .wait_for_metric("tidegate_parked_bytes", &[], 0.0);
}

/// A session beside them is as quick as ever.
fn others_talk(client: &mut Connection, backend: &mut Connection) {
    let begun = Instant::now();
    for _ in 0..100 {
        client.send_frame(&Frame::client(TEXT, "hello"));
        assert_eq!(backend.frame().text(), "hello");
        backend.send_frame(&Frame::server(TEXT, "yes?"));
        assert_eq!(client.frame().text(), "yes?");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "100 round trips in {took:?}");
}

#[test]
fn clients_that_do_not_read_stall_their_backends_and_nobody_else() {
    does_not_read(Deaf::Client);
}

#[test]
fn backends_that_do_not_read_stall_their_clients_and_nobody_else() {
    does_not_read(Deaf::Backend);
}

#[test]
fn a_reset_behind_bytes_that_are_not_taken_ends_the_session_all_the_same() {
    let stage = Stage::with("ping_interval = \"off\"");
    let rest = Rest::of(&stage.proxy);
    for (who, reason) in [
        (Deaf::Client, "backend_gone"),
        (Deaf::Backend, "client_gone"),
    ] {
        let (client, backend) = stage.tunnel();
        let (deaf, mut loud, frame) = match who {
            Deaf::Client => (client, backend, Frame::server(BINARY, vec![7; 60_000])),
            Deaf::Backend => (backend, client, Frame::client(BINARY, vec![7; 60_000])),
        };
        let stalled = Some(Duration::from_millis(300));
        loud.tcp().set_write_timeout(stalled).unwrap();
        while loud.try_send(frame.encode()).is_ok() {}
        loud.reset();
        let labels = [("reason", reason)];
        (stage.proxy).wait_for_metric("tidegate_websockets_closed_total", &labels, 1.0);
        drop(deaf);
        rest.is_back(&stage.proxy);
    }
}

#[test]
fn a_stalled_peer_that_leaves_gives_everything_back() {
    let stage = Stage::with("ping_interval = \"off\"");
    let rest = Rest::of(&stage.proxy);
    for (who, vanish) in [
        (Deaf::Client, drop as fn(Connection)),
        (Deaf::Client, Connection::reset),
        (Deaf::Backend, drop),
        (Deaf::Backend, Connection::reset),
    ] {
        let flood = Flooded::begin(&stage, who);
        flood.sending.wait_for_stall();
        vanish(flood.deaf);
        drop(flood.loud);
        flood.sending.sum();
        rest.is_back(&stage.proxy);
    }
}
