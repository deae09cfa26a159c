//! Reload: all or nothing, and no live connection notices (CONTRACT section 2, ATTACKS section K).

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use crate::support::process::Process;
use crate::support::proxy::Reload;
use crate::support::storm::Storm;
use crate::support::swarm::Swarm;
use crate::support::wait::wait_until;
use crate::support::{Backend, Connection, Echo, Request, Setup, Tidegate};

#[test]
fn a_new_upstream_serves_the_next_client_and_the_live_one_stays() {
    let [old, new] = Echo::start_many::<2>();
    let setup =
        |echo: &Echo| Setup::to(&[echo]).with("upstream.echo", "on_server_removed = \"keep\"");
    let proxy = Tidegate::start(&setup(&old));
    let mut live = proxy.websocket("/");
    proxy.reload_with(&setup(&new));
    assert_eq!(proxy.websocket("/").server(), new.to_string());
    live.echo("still with the old one");
    assert_eq!(live.server(), old.to_string());
}

#[test]
fn a_change_elsewhere_touches_no_tunnel() {
    let [echo, more] = Echo::start_many::<2>();
    let base = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&base);
    let mut live = proxy.websocket("/");
    for setup in [
        base.clone()
            .route_before("path = \"/other\"\nupstream = \"echo\""),
        Setup::to(&[&echo, &more]),
        base.clone().with(
            "upstream.echo",
            &format!("servers = [{{ address = \"{echo}\", weight = 7 }}]"),
        ),
        base.clone()
            .with("listener.second", "bind = \"127.0.0.1:0\""),
        base.clone().with("log", "level = \"info\""),
        base,
    ] {
        proxy.reload_with(&setup);
        live.echo("still here");
    }
    assert_eq!(echo.accepted(), 1);
}

#[test]
fn what_changed_is_logged_in_a_line_per_change() {
    let [echo, more] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&echo]));
    let mark = proxy.log().mark();
    let setup = Setup::to(&[&echo, &more]).with("listener.public", "max_headers = 50");
    proxy.reload_with(&setup);
    let lines = proxy
        .log()
        .lines_since(mark, |line| line.message() == "changed");
    let text: Vec<&str> = lines.iter().map(|line| line.text()).collect();
    assert_eq!(lines.len(), 3, "{text:#?}");
    for change in [
        "listener public: max_headers 100 -> 50".to_owned(),
        format!("upstream echo: servers +\\\"{more}\\\""),
        format!("server echo/{more}: added"),
    ] {
        let told = text.iter().any(|line| line.contains(&change));
        assert!(told, "{change}: {text:#?}");
    }
}

#[test]
fn a_bad_configuration_changes_nothing_and_every_error_is_logged() {
    let echo = Echo::start();
    let good = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&good);
    let mut live = proxy.websocket("/");
    let bad = [
        ("no TOML", "[listener".to_owned()),
        ("an empty file", String::new()),
        (
            "an unknown key",
            good.clone().with("server", "wrokers = 2").toml(),
        ),
        (
            "a wrong value",
            good.clone()
                .with("upstream.echo", "retries = \"many\"")
                .toml(),
        ),
        (
            "an unknown upstream",
            good.clone()
                .with("[route]", "upstream = \"nowhere\"")
                .toml(),
        ),
        ("not UTF-8", "\u{fffd}".to_owned() + &good.toml()),
    ];
    for (name, toml) in &bad {
        proxy.rewrite(toml);
        assert_eq!(proxy.reload(), Reload::Refused, "{name}");
        proxy.websocket("/").echo(name);
    }
    live.echo("still here");
    let metrics = proxy.metrics();
    assert!(metrics.sum("tidegate_last_reload_successful", &[]) < 0.5);
    assert!((metrics.sum("tidegate_reloads_total", &[("result", "failed")]) - 6.0).abs() < 0.5);

    let two = good
        .clone()
        .with("server", "wrokers = 2")
        .with("upstream.echo", "retrys = 1");
    proxy.rewrite(&two.toml());
    let mark = proxy.log().mark();
    assert_eq!(proxy.reload(), Reload::Refused);
    for key in ["wrokers", "retrys"] {
        assert_eq!(
            proxy
                .log()
                .lines_since(mark, |line| line.text().contains(key))
                .len(),
            1,
            "{key}"
        );
    }

    proxy.reload_with(&good);
    assert!(proxy.metrics().sum("tidegate_last_reload_successful", &[]) > 0.5);
}

#[test]
fn a_file_that_is_none_changes_nothing() {
    let echo = Echo::start();
    let good = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&good);
    let path = proxy.directory().join("tidegate.toml");
    fs::remove_file(&path).unwrap();
    assert_eq!(proxy.reload(), Reload::Refused, "gone");
    fs::create_dir(&path).unwrap();
    assert_eq!(proxy.reload(), Reload::Refused, "a directory");
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    assert_eq!(proxy.reload(), Reload::Refused, "without end");
    fs::remove_file(&path).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(proxy.reload(), Reload::Refused, "a pipe nobody writes to");
    fs::remove_file(&path).unwrap();
    proxy.reload_with(&good);
    proxy.websocket("/").echo("as ever");
}

#[test]
fn a_file_in_the_making_is_refused_or_taken_whole() {
    let echo = Echo::start();
    let text = Setup::to(&[&echo]).toml();
    let proxy = Tidegate::start(&Setup::to(&[&echo]));
    let path = proxy.directory().join("tidegate.toml");
    for step in 0..=20 {
        fs::write(&path, &text[..text.len() * step / 20]).unwrap();
        let outcome = proxy.reload();
        assert!(step < 20 || outcome == Reload::Done);
        proxy.websocket("/").echo("served all the while");
    }
}

#[test]
fn listeners_come_and_go() {
    let echo = Echo::start();
    let base = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&base);
    let public = proxy.address();
    proxy.reload_with(
        &base
            .clone()
            .with("listener.second", "bind = \"127.0.0.1:0\""),
    );
    let second = proxy.listener("second");
    assert_eq!(proxy.address(), public, "the old one keeps its port");
    let mut live = crate::support::websocket::WebSocket::open(Connection::open(second), "/");
    live.echo("through the second");
    proxy.reload_with(&base);
    wait_until("the second to be closed", || {
        std::net::TcpStream::connect(second).is_err()
    });
    live.echo("its connections live on");
    proxy.websocket("/").echo("through the first");
}

#[test]
fn no_connection_is_lost_while_reloads_rename_its_listener_to_and_fro() {
    const RENAMES: usize = 100;
    let echo = Echo::start();
    // Nobody else comes from this address, so that the port stays free.
    let address = TcpListener::bind("127.77.0.1:0").unwrap().local_addr();
    let address = address.unwrap();
    let setup = |name: &str| {
        Setup::to(&[&echo])
            .with(
                &format!("listener.{name}"),
                &format!("bind = \"{address}\""),
            )
            .with("log", "level = \"info\"")
    };
    let proxy = Tidegate::start(&setup("one"));
    let storm = Storm::against(address, 8);
    for round in 0..RENAMES {
        storm.wait_for_more(2);
        proxy.reload_with(&setup(["two", "one"][round % 2]));
    }
    let tally = storm.finish();
    assert!(tally.attempts >= 2 * RENAMES, "{tally:?}");
    assert_eq!((tally.refused, tally.reset), (0, 0), "{tally:?}");
    assert!(tally.other.is_empty(), "{:?}", tally.other);
}

#[test]
fn who_is_kept_alive_is_served_on_where_a_listener_is_renamed_and_let_go_where_it_is_gone() {
    let echo = Echo::start();
    let address = "127.77.0.2:0";
    let free = TcpListener::bind(address).unwrap().local_addr().unwrap();
    let base = Setup::to(&[&echo]);
    let with = |name: &str, path: &str| {
        let bind = format!("bind = \"{free}\"");
        let route = format!("path = \"{path}\"\nlistener = \"{name}\"\nrespond = 204");
        (base.clone().with(&format!("listener.{name}"), &bind)).route_before(&route)
    };
    let proxy = Tidegate::start(&with("one", "/old"));
    let mut kept = Connection::open(free);
    let mut asked = |path: &str| {
        kept.send(Request::get(path).bytes());
        let answer = kept.answer();
        (answer.status, answer.closes())
    };
    assert_eq!(asked("/old"), (204, false));
    proxy.reload_with(&with("two", "/new"));
    assert_eq!(asked("/new"), (204, false), "by the routes of the new name");
    proxy.reload_with(&base);
    assert_eq!(asked("/new"), (404, true));
    kept.expect_end();
}

#[test]
fn who_is_kept_alive_stays_with_the_address_where_listeners_exchange_their_names() {
    let [one, two] = ["127.77.0.3:0", "127.77.0.4:0"]
        .map(|address| TcpListener::bind(address).unwrap().local_addr().unwrap());
    let base = Setup::to(&["127.0.0.1:1"]);
    let named = |one_is: &str, two_is: &str| {
        let inner = "path = \"/inner\"\nlistener = \"inner\"\nrespond = 204";
        (base
            .clone()
            .with(&format!("listener.{one_is}"), &format!("bind = \"{one}\"")))
        .with(&format!("listener.{two_is}"), &format!("bind = \"{two}\""))
        .route_before(&format!("{inner}\n[[route]]\nrespond = 403"))
    };
    let proxy = Tidegate::start(&named("inner", "outer"));
    let mut kept = [one, two].map(Connection::open);
    let mut asked = || {
        kept.each_mut().map(|it| {
            it.send(Request::get("/inner").bytes());
            it.answer().status
        })
    };
    assert_eq!(asked(), [204, 403]);
    proxy.reload_with(&named("outer", "inner"));
    assert_eq!(asked(), [403, 204]);
}

#[test]
fn an_address_that_is_taken_refuses_the_whole_reload() {
    let [echo, other] = Echo::start_many::<2>();
    let taken = Backend::silent();
    let proxy = Tidegate::start(&Setup::to(&[&echo]));
    let setup = Setup::to(&[&other]).with("listener.second", &format!("bind = \"{taken}\""));
    proxy.rewrite(&setup.toml());
    assert_eq!(proxy.reload(), Reload::Refused);
    assert_eq!(proxy.websocket("/").server(), echo.to_string());
}

#[test]
fn counts_and_turns_of_a_server_that_stays_survive() {
    let [a, b] = Echo::start_many::<2>();
    let setup = Setup::to(&[&a, &b]).with("upstream.echo", "balance = \"least_conn\"");
    let proxy = Tidegate::start(&setup);
    let held: Vec<_> = (0..6).map(|_| proxy.websocket("/")).collect();
    let messages = |proxy: &Tidegate| proxy.metrics().sum("tidegate_handshakes_total", &[]);
    let before = messages(&proxy);
    proxy.reload_with(&setup.with("upstream.echo", "retries = 1"));
    for server in [&a, &b] {
        let labels = [("server", server.to_string())];
        let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (*n, v.as_str())).collect();
        let count = proxy.metrics().sum("tidegate_server_connections", &labels);
        assert!((count - 3.0).abs() < 0.5, "{server} counts {count}");
    }
    assert!(messages(&proxy) >= before, "a counter went back");
    drop(held);
    proxy.wait_for_metric("tidegate_server_connections", &[("upstream", "echo")], 0.0);
}

#[test]
fn the_health_of_a_server_that_stays_survives() {
    let echo = Echo::start();
    let gone = Backend::refusing();
    let check = "type = \"tcp\"\ninterval = \"200ms\"\ntimeout = \"200ms\"\nfall = 2";
    let setup =
        Setup::to(&[echo.address(), gone.address()]).with("upstream.echo.health_check", check);
    let proxy = Tidegate::start(&setup);
    let address = gone.to_string();
    proxy.wait_for_metric("tidegate_server_up", &[("server", &address)], 0.0);
    for retries in [1, 2, 3] {
        proxy.reload_with(
            &setup
                .clone()
                .with("upstream.echo", &format!("retries = {retries}")),
        );
        let up = proxy
            .metrics()
            .sum("tidegate_server_up", &[("server", &address)]);
        assert!(up < 0.5, "a reload took a dead server for a live one");
    }
}

#[test]
fn the_live_connections_of_a_removed_server_are_drained_with_1012() {
    let [leaving, staying] = Echo::start_many::<2>();
    let setup = |servers: &[&Echo]| {
        Setup::to(servers).with(
            "upstream.echo",
            "on_server_removed = \"drain\"\ndrain = \"500ms\"",
        )
    };
    let proxy = Tidegate::start(&setup(&[&leaving, &staying]));
    let mut sockets = [proxy.websocket("/"), proxy.websocket("/")];
    sockets.sort_by_key(|socket| socket.server() == staying.to_string());
    let [mut moved, mut kept] = sockets;
    proxy.reload_with(&setup(&[&staying]));
    assert_eq!(moved.close_code(), 1012);
    kept.echo("not concerned");
}

#[test]
fn a_request_under_way_finishes_under_the_configuration_it_began_with() {
    let slow = Backend::script(|mut visit| {
        let head = visit.connection.read_head().unwrap();
        visit.connection.is_silent_for(Duration::from_millis(500));
        let answer = crate::support::backend::switching_protocols(&head, "X-Old: yes\r\n");
        visit.connection.send(answer);
        visit.hold();
    });
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&slow]);
    let mut connection = proxy.connect();
    connection.send(Request::upgrade().bytes());
    wait_until("the request to be under way", || slow.visits() == 1);
    proxy.reload_with(&Setup::to(&[&echo]).with("upstream.echo", "on_server_removed = \"keep\""));
    let answer = connection.answer();
    assert_eq!((answer.status, answer.header("x-old")), (101, Some("yes")));
}

/// What must not be more after any number of reloads.
fn footprint(process: Process) -> (usize, usize) {
    (process.threads(), process.descriptors())
}

#[test]
fn a_hundred_reloads_lose_nothing_of_2000_talking_connections_under_load() {
    let servers = Echo::start_many::<2>();
    let base = Setup::to(&servers.each_ref()).with("log", "level = \"info\"");
    let proxy = Tidegate::start(&base);
    let swarm = Swarm::open(proxy.address(), 2_000, Some(Duration::from_millis(1_000)));
    swarm.wait_for_rounds(1);
    let before = footprint(proxy.process());
    let memory = proxy.process().memory_kib();
    for round in 0..100 {
        let setup = base
            .clone()
            .with("upstream.echo", &format!("retries = {}", round % 5));
        proxy.reload_with(&setup);
    }
    swarm.wait_for_rounds(1);
    wait_until("no more threads and descriptors than before", || {
        // Fewer will do: the thread that read the file at the start may still have been there before.
        let (threads, descriptors) = footprint(proxy.process());
        threads <= before.0 && descriptors <= before.1
    });
    let grown = proxy.process().memory_kib().saturating_sub(memory);
    assert!(grown < 4 * 1024, "{grown} KiB more after 100 reloads");
    let live = proxy.metrics().sum("tidegate_websockets", &[]);
    assert!((live - 2_000.0).abs() < 0.5, "{live} live WebSockets");
    let outcome = swarm.finish();
    outcome.assert_flawless();
    assert!(outcome.echoed >= 4_000, "{}", outcome.echoed);
    let labels = [("reason", "client_close")];
    proxy.wait_for_metric("tidegate_websockets_closed_total", &labels, 2_000.0);
}

#[test]
fn tunnels_opened_between_reloads_are_never_refused_under_load() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("log", "level = \"info\""));
    let mut live = Vec::new();
    for round in 0..100 {
        let setup = Setup::to(&[&echo])
            .with("log", "level = \"info\"")
            .with("upstream.echo", &format!("retries = {}", round % 5));
        proxy.rewrite(&setup.toml());
        let mark = proxy.log().mark();
        proxy.signal(rustix::process::Signal::HUP);
        for _ in 0..3 {
            live.push(proxy.websocket("/"));
        }
        assert_eq!(proxy.reloaded_since(mark), Reload::Done);
    }
    for socket in &mut live {
        socket.echo("all of them");
    }
}
