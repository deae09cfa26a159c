//! Clients that ask, send or stall in bad faith (ATTACKS A, F, G).

use std::time::Duration;

use super::{Calm, alone};
use crate::support::frame::{BINARY, Frame, PING, PONG};
use crate::support::wait::wait_until;
use crate::support::{Backend, Connection, Request, Setup};

/// More pings than all buffers between client and server hold.
const PING_FLOOD_BYTES: usize = 64 << 20;

#[test]
fn a_plain_request_where_only_websockets_are_spoken_hears_426() {
    let setup = alone().with("[route]", "accept = \"websocket\"");
    let (proxy, calm) = Calm::before(&setup);
    let answer = proxy.send(Request::get("/ws").bytes());
    assert_eq!(answer.status, 426, "{answer:?}");
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    calm.returns(&proxy);
}

#[test]
fn a_request_smuggled_behind_an_upgrade_meets_the_rules_of_its_own_path() {
    let backend = Backend::script(|mut visit| {
        visit.connection.read_head();
        (visit.connection).send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno");
        visit.hold();
    });
    let setup = Setup::to(&[&backend]).route_before(
        "name = \"secret\"\npath = \"/secret\"\nupstream = \"echo\"\naccess.deny = [\"0.0.0.0/0\"]",
    );
    let (proxy, calm) = Calm::before(&setup);
    let mut connection = proxy.connect();
    connection.send(
        [
            Request::upgrade().bytes(),
            Request::get("/secret/x").bytes(),
        ]
        .concat(),
    );
    assert_eq!(connection.answer().status, 200);
    // Read as a request and refused, or not read at all.
    let second = connection.read_answer().map(|answer| answer.status);
    assert!(second.is_none_or(|status| status == 403), "{second:?}");
    drop(connection);
    assert_eq!(backend.visits(), 1);
    assert!(!backend.received(0).contains("secret"));
    calm.returns(&proxy);
}

#[test]
fn a_flood_of_pings_whose_pongs_are_not_read_is_held_back_and_costs_nothing() {
    let backend = Backend::accepting(|mut visit| {
        while let Some(frame) = visit.connection.read_frame() {
            if frame.opcode == PING {
                let pong = Frame::server(PONG, &frame.payload);
                visit.connection.send_frame(&pong);
            }
        }
    });
    let (proxy, calm) = Calm::before(&Setup::to(&[&backend]));
    let mut client = proxy.tunnel();
    let timeout = Some(Duration::from_millis(500));
    client.tcp().set_write_timeout(timeout).unwrap();
    let pings = Frame::client(PING, [7; 125]).encode().repeat(500);
    let most = PING_FLOOD_BYTES / pings.len();
    let sent = (0..most).take_while(|_| client.try_send(&pings).is_ok());
    assert!(sent.count() < most, "64 MiB of pings were taken");
    client.reset();
    calm.returns(&proxy);
}

#[test]
fn pongs_that_nobody_asked_for_pass_and_change_nothing() {
    let (proxy, calm) = Calm::before(&alone());
    let mut socket = proxy.websocket("/calm");
    let pongs = Frame::client(PONG, "unasked").encode().repeat(1_000);
    for _ in 0..100 {
        socket.connection().send(&pongs);
    }
    socket.echo("still here");
    socket.close();
    calm.returns(&proxy);
}

#[test]
fn a_gigabyte_that_is_announced_and_never_sent_costs_no_memory_and_ends_idle() {
    let backend = Backend::accepting(|mut visit| {
        visit.connection.read_to_end();
    });
    let setup = Setup::to(&[&backend]).with(
        "route.websocket",
        "max_frame = \"1GiB\"\nmax_message = \"1GiB\"\nidle_timeout = \"500ms\"\n\
         ping_interval = \"off\"",
    );
    let (proxy, calm) = Calm::before(&setup);
    let before = proxy.process().memory_kib();
    let announced = [
        &[0x82, 0xff][..],
        &(1_u64 << 30).to_be_bytes(),
        &[0; 4],
        &[1; 10],
    ]
    .concat();
    let mut stalled: Vec<Connection> = (0..50).map(|_| proxy.tunnel()).collect();
    for client in &mut stalled {
        client.send(&announced);
    }
    let labels = [("reason", "idle_timeout"), ("upstream", "echo")];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 50.0);
    let grown = proxy.process().memory_kib().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for frames that never came");
    drop(stalled);
    calm.returns(&proxy);
}

#[test]
fn hundreds_that_say_nothing_are_gone_at_header_timeout_and_hinder_nobody() {
    let setup = alone().with("listener.public", "header_timeout = \"1s\"");
    let (proxy, calm) = Calm::before(&setup);
    let mut good = proxy.websocket("/calm");
    let mut silent: Vec<_> = (0..300).map(|_| proxy.connect()).collect();
    // A byte now and then buys no time.
    let mut slow: Vec<_> = (0..300).map(|_| proxy.connect()).collect();
    let mut head = b"GET /calm HTTP/1.1".iter().cycle();
    wait_until("the slow to be refused", || {
        good.echo("meanwhile");
        let byte = [*head.next().unwrap()];
        let alive = |client: &mut Connection| client.try_send(byte).is_ok();
        !slow.iter_mut().any(alive)
    });
    for client in silent.iter_mut().chain(&mut slow) {
        // 408, or nothing where not a byte had come.
        client.read_to_end();
    }
    good.close();
    drop((silent, slow));
    calm.returns(&proxy);
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_frame_is_gone_and_so_is_its_backend() {
    let (proxy, calm) = Calm::before(&alone());
    for _ in 0..100 {
        let mut socket = proxy.websocket("/calm");
        let frame = Frame::client(BINARY, vec![1; 70_000]).encode();
        socket.connection().send(&frame[..40_000]);
    }
    calm.returns(&proxy);
    wait_until("the server to be left", || calm.echo.open() == 0);
}
