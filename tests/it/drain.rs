//! Drains: at the asked pace, visible, stopped and replaced by later orders (CONTRACT sections 1
//! and 2: `server`, `on_server_removed`, `on_server_down`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::fleet::assert_paced;
use crate::support::wait::wait_until;
use crate::support::{Backend, Echo, Fleet, Setup, Tidegate};

fn server(echo: &Echo) -> String {
    format!("echo/{echo}")
}

/// The drains under way, as `status` shows them.
fn draining(proxy: &Tidegate) -> Vec<serde_json::Value> {
    proxy.api("/api/v1/status")["draining"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn a_drained_server_gets_nobody_and_its_live_connections_move_away_with_1012() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]));
    let fleet = Fleet::returning(proxy.address(), 20);
    proxy.wait_for_held(&[10, 10]);
    let told = proxy.told(&["server", &server(&a), "drain", "--within", "500ms"]);
    assert!(told.contains("10 WebSockets"), "{told}");
    let closes = fleet.wait_for_closes(10);
    assert!(closes.iter().all(|close| close.code == 1012), "{closes:?}");
    proxy.wait_for_held(&[0, 20]);
    for _ in 0..4 {
        assert_eq!(proxy.websocket("/").server(), b.to_string());
    }
    let labels = [("reason", "server_drain")];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 10.0);
    assert_eq!(fleet.closes().len(), 10);

    proxy.told(&["server", &server(&a), "ready"]);
    let taken: Vec<_> = (0..4).map(|_| proxy.websocket("/")).collect();
    let back = taken
        .iter()
        .filter(|socket| socket.server() == a.to_string());
    assert_eq!(back.count(), 2);
}

#[test]
fn orders_never_come_faster_than_asked() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let fleet = Fleet::leaving(proxy.address(), 40);
    proxy.wait_for_held(&[40]);
    let start = Instant::now();
    proxy.told(&["server", &server(&echo), "drain", "--within", "2s"]);
    let closes = fleet.wait_for_closes(40);
    assert_paced(&closes, start, 40, Duration::from_secs(2));
}

#[test]
fn without_a_time_the_upstream_says_how_long() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("upstream.echo", "drain = \"40s\"");
    let proxy = Tidegate::start(&setup);
    let _fleet = Fleet::leaving(proxy.address(), 4);
    proxy.wait_for_held(&[4]);
    let told = proxy.told_json(&["server", &server(&echo), "drain"]);
    assert_eq!(
        (&told["drains"], &told["within_seconds"]),
        (&4.into(), &40.0.into())
    );
}

#[test]
fn the_progress_of_a_drain_shows_in_api_metric_and_log() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let _fleet = Fleet::leaving(proxy.address(), 10);
    proxy.wait_for_held(&[10]);
    let labels = [("upstream", "echo"), ("reason", "server_drain")];
    proxy.told(&["server", &server(&echo), "drain", "--within", "10m"]);
    let drains = draining(&proxy);
    assert_eq!(drains.len(), 1);
    assert_eq!(drains[0]["server"], echo.to_string());
    assert_eq!(drains[0]["reason"], "server_drain");
    let left = drains[0]["left"].as_u64().unwrap();
    assert!((9..=10).contains(&left), "{drains:?}");
    assert!(proxy.metrics().sum("tidegate_draining", &labels) >= 9.0);
    proxy
        .log()
        .wait_for(0, "the drain", |line| line.message() == "draining");
    let table = proxy.told(&["status"]);
    assert!(
        table.contains(&format!("draining echo/{echo} (server_drain)")),
        "{table}"
    );
}

#[test]
fn ready_stops_a_drain_under_way() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let fleet = Fleet::leaving(proxy.address(), 20);
    proxy.wait_for_held(&[20]);
    proxy.told(&["server", &server(&echo), "drain", "--within", "10s"]);
    fleet.wait_for_closes(1);
    proxy.told(&["server", &server(&echo), "ready"]);
    assert!(draining(&proxy).is_empty());
    proxy.wait_for_metric("tidegate_draining", &[("upstream", "echo")], 0.0);
    wait_until("those told before to be gone", || {
        proxy.held()[0] + u64::try_from(fleet.closes().len()).unwrap() == 20
    });
    assert!(proxy.held()[0] >= 1, "some were spared");
    proxy.websocket("/").echo("served again");
}

#[test]
fn a_second_order_replaces_the_first() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let fleet = Fleet::leaving(proxy.address(), 20);
    proxy.wait_for_held(&[20]);
    proxy.told(&["server", &server(&echo), "drain", "--within", "1h"]);
    proxy.told(&["server", &server(&echo), "drain", "--within", "200ms"]);
    assert_eq!(fleet.wait_for_closes(20).len(), 20);
    wait_until("the drain to be over", || draining(&proxy).is_empty());
}

#[test]
fn a_removed_server_that_comes_back_keeps_who_is_left() {
    let [a, b] = Echo::start_many::<2>();
    let setup = |servers: &[&Echo]| Setup::to(servers).with("upstream.echo", "drain = \"10m\"");
    let proxy = Tidegate::start(&setup(&[&a, &b]));
    let mut held: Vec<_> = (0..4).map(|_| proxy.websocket("/")).collect();
    proxy.wait_for_held(&[2, 2]);
    proxy.reload_with(&setup(&[&b]));
    assert_eq!(draining(&proxy).len(), 1);
    proxy.reload_with(&setup(&[&a, &b]));
    assert!(draining(&proxy).is_empty());
    held.iter_mut().for_each(|socket| socket.echo("spared"));
}

/// A server whose health can be switched; WebSockets it takes either way.
fn checked(healthy: &Arc<AtomicBool>) -> Backend {
    let healthy = Arc::clone(healthy);
    Backend::script(move |mut visit| {
        let Some(head) = visit.connection.read_head() else {
            return;
        };
        if head.contains("GET /health") {
            let status = if healthy.load(Ordering::Acquire) {
                "200 OK"
            } else {
                "500 No"
            };
            visit
                .connection
                .send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
            return;
        }
        let answer = crate::support::backend::switching_protocols(&head, "");
        visit.connection.send(answer);
        visit.hold();
    })
}

#[test]
fn a_server_that_fails_its_checks_is_left_with_1012_and_no_further_once_it_is_back() {
    let healthy = Arc::new(AtomicBool::new(true));
    let backend = checked(&healthy);
    let setup = Setup::to(&[&backend])
        .with("upstream.echo", "on_server_down = \"close\"\ndrain = \"10s\"")
        .with(
            "upstream.echo.health_check",
            "type = \"http\"\npath = \"/health\"\ninterval = \"100ms\"\ntimeout = \"1s\"\nrise = 1\nfall = 1",
        );
    let proxy = Tidegate::start(&setup);
    proxy.wait_for_metric("tidegate_health_checks_total", &[("result", "ok")], 1.0);
    let fleet = Fleet::leaving(proxy.address(), 20);
    proxy.wait_for_held(&[20]);
    healthy.store(false, Ordering::Release);
    let closes = fleet.wait_for_closes(1);
    assert_eq!(closes[0].code, 1012);
    healthy.store(true, Ordering::Release);
    wait_until("the drain to stop", || draining(&proxy).is_empty());
    assert!(
        fleet.closes().len() < 20,
        "the rest stay with a server that works"
    );
    let labels = [("reason", "server_down")];
    wait_until("the metric to say why", || {
        let closed = proxy.metrics();
        closed.sum("tidegate_websockets_closed_total", &labels) >= 1.0
    });
}

#[test]
fn a_server_freed_of_its_checks_while_it_is_down_keeps_whoever_comes() {
    let backend = checked(&Arc::new(AtomicBool::new(false)));
    let closing = Setup::to(&[&backend]).with("upstream.echo", "on_server_down = \"close\"");
    let checking = closing.clone().with(
        "upstream.echo.health_check",
        "type = \"http\"\npath = \"/health\"\ninterval = \"100ms\"\ntimeout = \"1s\"",
    );
    let proxy = Tidegate::start(&checking);
    proxy.wait_for_metric("tidegate_server_up", &[("upstream", "echo")], 0.0);
    proxy.reload_with(&closing);
    let mut tunnel = proxy.tunnel();
    assert!(tunnel.is_silent_for(Duration::from_millis(300)));
}
