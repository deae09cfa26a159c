//! Who gets the connection (CONTRACT section 2: `balance`).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::support::websocket::WebSocket;
use crate::support::{Backend, Connection, Echo, Request, Setup, Tidegate};

fn balanced(balance: &str, servers: &[String]) -> Setup {
    Setup::to(&["unused"])
        .with("upstream.echo", &format!("balance = \"{balance}\""))
        .with(
            "upstream.echo",
            &format!("servers = [{}]", servers.join(", ")),
        )
}

fn weighted(echo: &Echo, weight: u16) -> String {
    format!("{{ address = \"{echo}\", weight = {weight} }}")
}

/// Opens `count` WebSockets and says which server took each, by its place in `servers`.
fn takers(proxy: &Tidegate, servers: &[Echo], count: usize) -> (Vec<usize>, Vec<WebSocket>) {
    let sockets: Vec<WebSocket> = (0..count).map(|_| proxy.websocket("/")).collect();
    (
        sockets
            .iter()
            .map(|socket| place(socket, servers))
            .collect(),
        sockets,
    )
}

fn place(socket: &WebSocket, servers: &[Echo]) -> usize {
    servers
        .iter()
        .position(|server| server.to_string() == socket.server())
        .unwrap()
}

/// A connection from another loopback address: another client.
fn connect_from(proxy: &Tidegate, client: [u8; 4]) -> Connection {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from((IpAddr::from(client), 0)).into())
        .unwrap();
    socket.connect(&proxy.address().into()).unwrap();
    Connection::over(socket.into())
}

#[test]
fn round_robin_is_smooth_and_weighted_over_all_workers() {
    let servers = Echo::start_many::<3>();
    let list = [
        weighted(&servers[0], 5),
        weighted(&servers[1], 1),
        weighted(&servers[2], 1),
    ];
    let proxy = Tidegate::start(&balanced("round_robin", &list));
    let (taken, _sockets) = takers(&proxy, &servers, 14);
    assert_eq!(taken, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn least_conn_fills_the_emptiest_over_weight() {
    let servers = Echo::start_many::<2>();
    let list = [weighted(&servers[0], 3), weighted(&servers[1], 1)];
    let proxy = Tidegate::start(&balanced("least_conn", &list));
    let (taken, mut sockets) = takers(&proxy, &servers, 40);
    assert_eq!(taken.iter().filter(|&&server| server == 0).count(), 30);

    // Those of one server leave: it gets the next ones.
    let (stay, leave): (Vec<_>, Vec<_>) = sockets
        .drain(..)
        .partition(|socket| place(socket, &servers) == 0);
    leave.into_iter().for_each(WebSocket::close);
    let address = servers[1].to_string();
    proxy.wait_for_metric("tidegate_server_connections", &[("server", &address)], 0.0);
    let (taken, _more) = takers(&proxy, &servers, 10);
    assert_eq!(taken, [1; 10]);
    drop(stay);
}

#[test]
fn ip_hash_keeps_a_client_on_its_server_and_moves_only_those_of_one_that_goes() {
    let servers = Echo::start_many::<3>();
    let list: Vec<String> = servers.iter().map(|server| weighted(server, 1)).collect();
    let proxy = Tidegate::start(&balanced("ip_hash", &list));
    let clients = || (1..=60).map(|n| [127, 0, n, n]);
    let homes = |proxy: &Tidegate| -> BTreeMap<[u8; 4], usize> {
        clients()
            .map(|client| {
                let socket = WebSocket::open(connect_from(proxy, client), "/");
                (client, place(&socket, &servers))
            })
            .collect()
    };
    let before = homes(&proxy);
    for server in 0..3 {
        let share = before.values().filter(|&&home| home == server).count();
        assert!(
            (8..=35).contains(&share),
            "server {server} got {share} of 60"
        );
    }
    assert_eq!(homes(&proxy), before, "clients stay where they are");

    proxy.reload_with(&balanced("ip_hash", &list[..2]));
    let during = homes(&proxy);
    for (client, home) in &before {
        assert!(
            *home == 2 || during[client] == *home,
            "{client:?} moved without need"
        );
    }
    proxy.reload_with(&balanced("ip_hash", &list));
    assert_eq!(homes(&proxy), before, "they return when it does");
}

#[test]
fn ip_hash_takes_the_client_from_a_trusted_chain() {
    let servers = Echo::start_many::<3>();
    let list: Vec<String> = servers.iter().map(|server| weighted(server, 1)).collect();
    let setup =
        balanced("ip_hash", &list).with("listener.public", "trusted_proxies = [\"127.0.0.0/8\"]");
    let proxy = Tidegate::start(&setup);
    let taker = |client: &str| {
        let request = Request::upgrade().with(format!("X-Forwarded-For: {client}"));
        let answer = proxy.send(request.bytes());
        answer
            .header(crate::support::echo::SERVED_BY)
            .unwrap()
            .to_owned()
    };
    let homes: Vec<String> = (0..30).map(|n| taker(&format!("203.0.113.{n}"))).collect();
    assert!(
        homes.iter().any(|home| *home != homes[0]),
        "one server got all"
    );
    assert_eq!(taker("203.0.113.7"), homes[7]);
    assert_eq!(
        taker("6.6.6.6, 203.0.113.7"),
        homes[7],
        "the right-most counts"
    );
    assert_eq!(
        taker("::ffff:203.0.113.7"),
        homes[7],
        "one client in both spellings"
    );
    assert_eq!(
        taker("2001:db8::1"),
        taker("2001:db8::ffff"),
        "a /64 is one client"
    );
}

#[test]
fn a_backup_serves_only_while_no_other_can() {
    let main = Echo::start();
    let backup = Echo::start();
    let list = [
        weighted(&main, 1),
        format!("{{ address = \"{backup}\", backup = true }}"),
    ];
    let proxy = Tidegate::start(&balanced("round_robin", &list));
    let servers = [main, backup];
    assert_eq!(takers(&proxy, &servers, 4).0, [0; 4]);
    let [main, backup] = servers;
    let address = main.kill();
    for _ in 0..4 {
        assert_eq!(proxy.websocket("/").server(), backup.to_string());
    }
    let main = Echo::at(address);
    crate::support::wait::wait_until("the first server to be used again", || {
        proxy.websocket("/").server() == main.to_string()
    });
}

#[test]
fn a_server_takes_no_more_than_its_max_connections() {
    let servers = Echo::start_many::<2>();
    let capped = format!("{{ address = \"{}\", max_connections = 2 }}", servers[0]);
    let list = [capped, weighted(&servers[1], 1)];
    let proxy = Tidegate::start(&balanced("round_robin", &list));
    let (taken, sockets) = takers(&proxy, &servers, 8);
    assert_eq!(taken.iter().filter(|&&server| server == 0).count(), 2);
    drop(sockets);
    proxy.wait_for_metric("tidegate_websockets", &[], 0.0);
    let (taken, _sockets) = takers(&proxy, &servers, 4);
    assert_eq!(taken.iter().filter(|&&server| server == 0).count(), 2);
}

#[test]
fn no_server_at_all_is_a_503_with_retry_after_at_once() {
    let full = Echo::start();
    let list = [format!("{{ address = \"{full}\", max_connections = 1 }}")];
    let setup = balanced("round_robin", &list).with("upstream.echo", "queue_length = 0");
    let proxy = Tidegate::start(&setup);
    let _only = proxy.websocket("/");
    let answer = proxy.send(Request::upgrade().bytes());
    assert_eq!(answer.status, 503);
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

#[test]
fn a_refused_connection_is_tried_on_another_server() {
    let gone = Backend::refusing();
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[gone.address(), echo.address()]);
    for _ in 0..6 {
        assert_eq!(proxy.websocket("/").server(), echo.to_string());
    }
    assert!(
        proxy
            .metrics()
            .sum("tidegate_retries_total", &[("upstream", "echo")])
            >= 1.0
    );
}

#[test]
fn a_server_that_fails_three_times_in_a_row_is_left_out_for_a_while() {
    let bad = Backend::hanging_up();
    let echo = Echo::start();
    let setup = Setup::to(&[bad.address(), echo.address()])
        .with("upstream.echo.passive", "failures = 3\neject = \"60s\"");
    let proxy = Tidegate::start(&setup);
    for _ in 0..20 {
        assert_eq!(proxy.websocket("/").server(), echo.to_string());
    }
    assert_eq!(bad.visits(), 3);
}

#[test]
fn an_ejected_server_comes_back_when_its_time_is_up() {
    let [away, here] = Echo::start_many::<2>();
    let setup =
        Setup::to(&[&away, &here]).with("upstream.echo.passive", "failures = 1\neject = \"500ms\"");
    let proxy = Tidegate::start(&setup);
    let address = away.kill();
    for _ in 0..4 {
        assert_eq!(proxy.websocket("/").server(), here.to_string());
    }
    let back = Echo::at(address);
    crate::support::wait::wait_until("the ejected server to be tried again", || {
        proxy.websocket("/").server() == back.to_string()
    });
}

#[test]
fn the_last_server_is_never_ejected() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("upstream.echo.passive", "failures = 1\neject = \"60s\"");
    let proxy = Tidegate::start(&setup);
    let address = echo.kill();
    for _ in 0..5 {
        assert_eq!(proxy.send(Request::upgrade().bytes()).status, 502);
    }
    let _back = Echo::at(address);
    proxy.websocket("/").echo("at once");
}
