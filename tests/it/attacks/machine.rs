//! A machine that runs out, and signals at bad moments (ATTACKS I, K16).

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use super::{Calm, PROMPT, alone};
use crate::support::proxy::{BINARY, Reload, Tidegate};
use crate::support::wait::wait_within;
use crate::support::{Connection, Echo, Request, Setup};

/// How long a process is watched for being busy with nothing.
const WATCH: Duration = Duration::from_secs(1);
/// Most processor time it may use meanwhile.
const IDLE: Duration = Duration::from_millis(200);

/// Nothing happens on this connection for a while; the process must not be busy meanwhile.
#[track_caller]
fn rests(proxy: &Tidegate, quiet: &mut Connection) {
    let before = proxy.process().busy();
    assert!(quiet.is_silent_for(WATCH));
    let busy = proxy.process().busy().saturating_sub(before);
    assert!(busy < IDLE, "{busy:?} of processor time for nothing");
}

#[test]
fn with_few_descriptors_a_crowd_is_turned_away_and_everything_else_goes_on() {
    let echo = Echo::start();
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 256; exec \"$0\" \"$@\"", BINARY])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    let proxy = Tidegate::start_by(&Setup::to(&[&echo]), command);
    let mut live = proxy.websocket("/");
    let crowd: Vec<_> = (0..1_000).map(|_| proxy.connect()).collect();
    let full = |line: &crate::support::log::Line| line.message().starts_with("all connections");
    proxy.log().wait_for(0, "all connections in use", full);
    live.echo("in the crowd");
    rests(&proxy, live.connection());
    assert_eq!(proxy.admin("GET /readyz").status, 200);
    assert_eq!(proxy.reload(), Reload::Done);
    assert!(proxy.process().descriptors() < 256);
    drop(crowd);
    wait_within(PROMPT, "a place for a new client", || {
        let mut connection = proxy.connect();
        connection.send(Request::upgrade().bytes());
        let answer = connection.read_answer()?;
        (answer.status == 101).then_some(())
    });
    live.echo("after the crowd");
}

#[test]
fn out_of_descriptors_accepting_rests_and_goes_on_when_there_are_some() {
    let (proxy, calm) = Calm::before(&alone());
    let mut live = proxy.websocket("/calm");
    live.echo("before");
    let used = u64::try_from(proxy.process().descriptors()).unwrap();
    let mark = proxy.log().mark();
    let limit = proxy.process().limit_descriptors(used);
    let mut waiting: Vec<_> = (0..5).map(|_| proxy.connect()).collect();
    let rests_now = |line: &crate::support::log::Line| line.message().starts_with("accept failed");
    proxy.log().wait_for(mark, "accepting to rest", rests_now);
    live.echo("meanwhile");
    rests(&proxy, live.connection());
    proxy.process().limit_descriptors(limit);
    for client in &mut waiting {
        client.send(Request::upgrade().target("/calm").bytes());
        assert_eq!(client.answer().status, 101);
    }
    drop(waiting);
    live.close();
    calm.returns(&proxy);
}

#[test]
fn signals_without_a_meaning_harm_nobody() {
    let (proxy, calm) = Calm::before(&alone());
    let mut live = proxy.websocket("/calm");
    for signal in [
        Signal::PIPE,
        Signal::WINCH,
        Signal::URG,
        Signal::CONT,
        Signal::USR2,
    ] {
        proxy.signal(signal);
        live.echo("still here");
    }
    for _ in 0..1_000 {
        proxy.signal(Signal::USR1);
    }
    live.echo("still here");
    live.close();
    calm.returns(&proxy);
}

#[test]
fn a_reload_asked_for_while_stopping_harms_nobody() {
    let (mut proxy, _calm) = Calm::before(&alone().with("server", "shutdown_grace = \"10s\""));
    let mut live = proxy.websocket("/calm");
    proxy.signal(Signal::TERM);
    for signal in [Signal::HUP, Signal::USR1, Signal::HUP, Signal::PIPE] {
        proxy.signal(signal);
    }
    assert_eq!(live.close_code(), 1001);
    drop(live);
    assert!(proxy.wait_for_exit().success());
}

#[test]
fn after_a_kill_the_next_process_binds_and_serves_at_once() {
    let echo = Echo::start();
    let mut proxy = Tidegate::in_front_of(&[&echo]);
    let address = proxy.address();
    let live: Vec<_> = (0..10).map(|_| proxy.websocket("/")).collect();
    proxy.signal(Signal::KILL);
    proxy.wait_for_exit();
    let setup = Setup::to(&[&echo]).with("listener.public", &format!("bind = \"{address}\""));
    let again = Tidegate::start(&setup);
    again.websocket("/").echo("at once");
    drop(live);
}
