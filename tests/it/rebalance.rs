//! Rebalance: the excess of overloaded servers moves, nothing else (CONTRACT section 1).

use std::time::{Duration, Instant};

use crate::support::fleet::assert_paced;
use crate::support::{Connection, Echo, Fleet, Setup, Tidegate};

fn balanced(balance: &str, servers: &[&Echo]) -> Setup {
    Setup::to(servers).with("upstream.echo", &format!("balance = \"{balance}\""))
}

#[test]
fn after_a_server_is_added_clients_that_come_back_land_evenly() {
    for balance in ["round_robin", "least_conn"] {
        let [a, b, c] = Echo::start_many::<3>();
        let proxy = Tidegate::start(&balanced(balance, &[&a, &b]));
        let fleet = Fleet::returning(proxy.address(), 30);
        proxy.wait_for_held(&[15, 15]);
        proxy.reload_with(&balanced(balance, &[&a, &b, &c]));
        proxy.wait_for_held(&[15, 15, 0]);

        let told = proxy.told(&["rebalance", "echo", "--within", "500ms"]);
        assert_eq!(told, "echo: 10 WebSockets moved\n", "{balance}");
        proxy.wait_for_held(&[10, 10, 10]);
        let closes = fleet.closes();
        assert_eq!(closes.len(), 10, "{balance}: only the excess");
        assert!(closes.iter().all(|close| close.code == 1012), "{closes:?}");
        let labels = [("reason", "rebalance")];
        proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 10.0);

        let again = proxy.told_json(&["rebalance", "echo", "--within", "500ms"]);
        assert_eq!(again["moved"], 0, "what is even stays");
    }
}

#[test]
fn shares_follow_the_weights_also_those_of_the_operator() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]));
    let _fleet = Fleet::returning(proxy.address(), 16);
    proxy.wait_for_held(&[8, 8]);
    proxy.told(&["server", &format!("echo/{a}"), "weight", "3"]);
    proxy.told(&["rebalance", "echo", "--within", "200ms"]);
    proxy.wait_for_held(&[12, 4]);
}

#[test]
fn no_more_move_than_the_cap_allows() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a]));
    let fleet = Fleet::returning(proxy.address(), 40);
    proxy.wait_for_held(&[40]);
    proxy.reload_with(&Setup::to(&[&a, &b]));
    let capped = [
        "rebalance",
        "echo",
        "--within",
        "200ms",
        "--max-move",
        "10%",
    ];
    assert_eq!(proxy.told_json(&capped)["moved"], 4);
    assert_eq!(fleet.closes().len(), 4);
    proxy.wait_for_held(&[36, 4]);
}

#[test]
fn the_moves_are_never_faster_than_asked() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a]));
    let fleet = Fleet::returning(proxy.address(), 60);
    proxy.wait_for_held(&[60]);
    proxy.reload_with(&Setup::to(&[&a, &b]));
    let start = Instant::now();
    let told = proxy.told_json(&["rebalance", "echo", "--within", "2s"]);
    let took = start.elapsed();
    assert_eq!(told["moved"], 30);
    let closes = fleet.closes();
    assert_eq!(closes.len(), 30, "the command returns after the last close");
    assert_paced(&closes, start, 30, Duration::from_secs(2));
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn clients_that_left_by_themselves_are_not_replaced_by_others() {
    let [a, b] = Echo::start_many::<2>();
    let setup = |echoes: &[&Echo]| balanced("least_conn", echoes);
    let proxy = Tidegate::start(&setup(&[&a]));
    let mut staying: Vec<_> = (0..10).map(|_| proxy.websocket("/")).collect();
    let leaving: Vec<_> = (0..10).map(|_| proxy.websocket("/")).collect();
    proxy.reload_with(&setup(&[&a, &b]));
    let newcomers: Vec<_> = (0..10).map(|_| proxy.websocket("/")).collect();
    proxy.wait_for_held(&[20, 10]);
    // Five would have to move, but everybody that was too much leaves before the first moment.
    for socket in leaving {
        socket.close();
    }
    proxy.wait_for_held(&[10, 10]);
    let told = proxy.told_json(&["rebalance", "echo", "--within", "200ms"]);
    assert_eq!(told["moved"], 0);
    staying
        .iter_mut()
        .for_each(|socket| socket.echo("undisturbed"));
    drop(newcomers);
}

#[test]
fn with_ip_hash_those_move_that_belong_elsewhere() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&balanced("ip_hash", &[&a]));
    let fleet = Fleet::returning(proxy.address(), 6);
    proxy.wait_for_held(&[6]);
    proxy.reload_with(&balanced("ip_hash", &[&a, &b]));
    // All come from one address: all belong to one server, old or new.
    let home = proxy.websocket("/").server().to_owned();
    let expected = if home == b.to_string() { 6 } else { 0 };
    let told = proxy.told_json(&["rebalance", "echo", "--within", "200ms"]);
    assert_eq!(told["moved"], expected);
    assert_eq!(fleet.closes().len(), expected);
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let unknown = proxy.command(&["rebalance", "nowhere"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no upstream nowhere"));
    for wrong in [["--max-move", "110%"], ["--within", "soon"]] {
        let output = proxy.command(&[&["rebalance", "echo"][..], &wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let mut connection = Connection::open(proxy.listener("admin"));
    connection.send(
        "POST /api/v1/upstreams/echo/rebalance HTTP/1.1\r\nHost: localhost\r\n\
         Content-Length: 16\r\n\r\n{\"max_mov\":\"1%\"}",
    );
    let answer = connection.answer();
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("max_mov"), "{}", answer.body);
}
