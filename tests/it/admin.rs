//! The admin API and the commands on it (CONTRACT sections 1 and 5).

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::peers::Library;
use crate::support::proxy::{BINARY, Reload, tidegate};
use crate::support::wait::wait_until;
use crate::support::websocket::WebSocket;
use crate::support::{Answer, Backend, Connection, Echo, Setup, Tidegate};

/// Sends a request with a body to the admin listener.
fn call(proxy: &Tidegate, line: &str, fields: &str, body: &str) -> Answer {
    let mut connection = Connection::open(proxy.listener("admin"));
    connection.send(format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    connection.answer()
}

fn ids(listed: &Value) -> Vec<String> {
    let connections = listed["connections"].as_array().unwrap();
    let id = |live: &Value| live["id"].as_str().unwrap().to_owned();
    connections.iter().map(id).collect()
}

#[test]
fn upstreams_show_what_the_contract_promises() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]));
    let _held = [
        proxy.websocket("/"),
        proxy.websocket("/"),
        proxy.websocket("/"),
    ];
    proxy.wait_for_held(&[2, 1]);
    let upstreams = proxy.api("/api/v1/upstreams");
    let upstream = &upstreams["upstreams"][0];
    assert_eq!(upstream["name"], "echo");
    let server = &upstream["servers"][0];
    assert_eq!(server["address"], a.to_string());
    assert_eq!(server["state"], "ready");
    assert_eq!(server["up"], true);
    assert_eq!(server["weight"], 1);
    assert_eq!(server["websockets"], 2);
    assert_eq!(upstream["servers"][1]["websockets"], 1);
}

#[test]
fn routes_stand_in_file_order() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).route_before(
        "name = \"other\"\npath = \"=/other\"\nhost = \"*.example.com\"\nrespond = 404",
    );
    let proxy = Tidegate::start(&setup);
    let _held = proxy.websocket("/");
    proxy.wait_for_held(&[1]);
    let routes = proxy.api("/api/v1/routes");
    let (first, second) = (&routes["routes"][0], &routes["routes"][1]);
    assert_eq!(
        (&first["name"], &first["path"]),
        (&"other".into(), &"=/other".into())
    );
    assert_eq!(
        (&first["hosts"][0], &first["respond"]),
        (&"*.example.com".into(), &404.into())
    );
    assert_eq!(
        (&second["upstream"], &second["websockets"]),
        (&"echo".into(), &1.into())
    );
}

#[test]
fn status_is_a_table_for_people_and_json_for_scripts() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]));
    let _held = proxy.websocket("/");
    proxy.wait_for_held(&[1, 0]);
    let table = proxy.told(&["status"]);
    assert!(table.starts_with("tidegate "), "{table}");
    assert!(table.contains("1 WebSockets"), "{table}");
    let row = row_of(&table, &a);
    let address = a.to_string();
    assert_eq!(row, ["echo", &address, "ready", "unchecked", "1", "1"]);
    let status = proxy.told_json(&["status"]);
    assert_eq!(status["state"], "ready");
    assert_eq!(status["websockets"], 1);
    assert_eq!(status["last_reload"]["successful"], true);
    assert!(status["per_second"]["messages"].is_number());
}

#[test]
fn a_server_is_called_up_only_where_checks_look_at_it() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&setup);
    let health = || row_of(&proxy.told(&["status"]), &echo)[3].clone();
    let checked = || {
        let upstreams = proxy.api("/api/v1/upstreams");
        upstreams["upstreams"][0]["servers"][0]["checked"].clone()
    };
    assert_eq!((health().as_str(), checked()), ("unchecked", false.into()));
    proxy.reload_with(&setup.with("upstream.echo.health_check", "type = \"tcp\""));
    assert_eq!((health().as_str(), checked()), ("up", true.into()));
}

/// The cells of a server's row.
fn row_of(table: &str, server: &Echo) -> Vec<String> {
    let row = (table.lines()).find(|line| line.contains(&server.to_string()));
    let cells = row.expect("the server's row").split_whitespace();
    cells.map(str::to_owned).collect()
}

#[test]
fn connections_are_listed_filtered_and_paged() {
    let echo = Echo::start();
    let setup =
        Setup::to(&[&echo]).route_before("name = \"live\"\npath = \"/live\"\nupstream = \"echo\"");
    let proxy = Tidegate::start(&setup);
    let mut held: Vec<WebSocket> = (0..5).map(|_| proxy.websocket("/")).collect();
    held.extend((0..2).map(|_| proxy.websocket("/live")));
    held[6].echo("counted");
    proxy.wait_for_held(&[7]);

    let all = proxy.told_json(&["connections"]);
    assert_eq!(ids(&all).len(), 7);
    let by =
        |filter: [&str; 2]| ids(&proxy.told_json(&["connections", filter[0], filter[1]])).len();
    assert_eq!(by(["--route", "live"]), 2);
    assert_eq!(by(["--server", &echo.to_string()]), 7);
    assert_eq!(by(["--server", &format!("echo/{echo}")]), 7);
    assert_eq!(by(["--server", "10.0.0.1:80"]), 0);
    assert_eq!(by(["--client", "127.0.0.1"]), 7);
    assert_eq!(by(["--client", "127.0.0.9"]), 0);
    assert_eq!(by(["--user", "nobody"]), 0);

    let mut paged = Vec::new();
    let mut next = String::new();
    loop {
        let page = proxy.api(&format!("/api/v1/connections?limit=3{next}"));
        paged.extend(ids(&page));
        match page["next"].as_str() {
            Some(id) => next = format!("&next={id}"),
            None => break,
        }
    }
    assert_eq!(paged, ids(&all));

    wait_until("the figures to be published", || {
        let live = proxy.api("/api/v1/connections?route=live");
        let live = live["connections"].as_array().unwrap().clone();
        live.iter().any(|live| {
            live["messages_to_backend"] == 1 && live["bytes_to_client"] == "counted".len()
        })
    });
    let live = proxy.api("/api/v1/connections?limit=1")["connections"][0].clone();
    for field in ["id", "route", "upstream", "server", "client", "user"] {
        assert!(live.get(field).is_some(), "{field} is missing in {live}");
    }
    let table = proxy.told(&["connections", "--route", "live"]);
    assert_eq!(table.lines().count(), 3, "{table}");
}

#[test]
fn a_killed_connection_hears_1008_and_the_others_nothing() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut first = proxy.websocket("/");
    proxy.wait_for_held(&[1]);
    let id = ids(&proxy.api("/api/v1/connections")).remove(0);
    let mut second = proxy.websocket("/");
    proxy.told(&["connections", "--kill", &id]);
    assert_eq!(first.close_code(), 1008);
    second.echo("undisturbed");
    proxy.wait_for_metric(
        "tidegate_websockets_closed_total",
        &[("reason", "killed")],
        1.0,
    );
    for gone in [id.as_str(), "18446744073709551615", "x"] {
        let output = proxy.command(&["connections", "--kill", gone]);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("no connection"));
    }
}

#[test]
fn a_change_at_run_time_survives_a_reload_that_does_not_concern_the_server() {
    let [a, b] = Echo::start_many::<2>();
    let setup = Setup::to(&[&a, &b]);
    let proxy = Tidegate::start(&setup);
    proxy.told(&["server", &format!("echo/{a}"), "weight", "5"]);
    proxy.told(&["server", &format!("echo/{b}"), "drain"]);
    let changed = |proxy: &Tidegate| proxy.api("/api/v1/status")["changed"].clone();
    assert_eq!(changed(&proxy).as_array().unwrap().len(), 2);

    proxy.reload_with(&setup.clone().with("upstream.echo", "retries = 1"));
    let servers = proxy.api("/api/v1/upstreams")["upstreams"][0]["servers"].clone();
    assert_eq!(
        (&servers[0]["weight"], &servers[1]["state"]),
        (&5.into(), &"drain".into())
    );
    assert_eq!(proxy.websocket("/").server(), a.to_string());
    let table = proxy.told(&["status"]);
    assert!(table.contains("5 (file: 1)"), "{table}");

    let file = format!("servers = [{{ address = \"{a}\", weight = 2 }}, \"{b}\"]");
    proxy.reload_with(&setup.with("upstream.echo", &file));
    let servers = proxy.api("/api/v1/upstreams")["upstreams"][0]["servers"].clone();
    assert_eq!(servers[0]["weight"], 2, "the file changed this one");
    assert_eq!(servers[1]["state"], "drain", "and not this one");
}

#[test]
fn status_names_what_was_ordered_at_run_time() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]));
    let orders = || {
        let page = proxy.told(&["status"]);
        let orders = page.lines().filter(|line| line.starts_with("ordered"));
        orders.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(orders(), [""; 0]);
    proxy.told(&["server", &format!("echo/{a}"), "weight", "5"]);
    proxy.told(&["server", &format!("echo/{b}"), "drain"]);
    let expected = [
        format!("ordered at run time: echo/{a}: ready, weight 5"),
        format!("ordered at run time: echo/{b}: drain"),
    ];
    assert_eq!(orders(), expected);
}

#[test]
fn watching_shows_what_has_changed_meanwhile() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let admin = format!("http://{}", proxy.listener("admin"));
    let mut watch = Command::new(BINARY)
        .args(["status", "--watch", "--json", "--admin", &admin])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pages = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut websockets = || {
        let page: Value = serde_json::from_str(&pages.next().unwrap().unwrap()).unwrap();
        page["websockets"].as_u64().unwrap()
    };
    assert_eq!(websockets(), 0);
    let _held = proxy.websocket("/");
    wait_until("the watch to see it", || websockets() == 1);
    drop(pages);
    watch.wait().unwrap();
}

#[test]
fn a_dry_run_says_what_would_change_for_how_many_and_changes_nothing() {
    let [a, b] = Echo::start_many::<2>();
    let setup = Setup::to(&[&a, &b]);
    let proxy = Tidegate::start(&setup);
    let mut held: Vec<_> = (0..6).map(|_| proxy.websocket("/")).collect();
    proxy.wait_for_held(&[3, 3]);
    assert_eq!(
        proxy.told(&["reload", "--dry-run"]),
        "nothing would change\n"
    );

    let next = Setup::to(&[&b]).with("listener.second", "bind = \"127.0.0.1:0\"");
    proxy.rewrite(&next.toml());
    let plan = proxy.told_json(&["reload", "--dry-run"]);
    assert_eq!(plan["dry_run"], true);
    let changes = plan["changes"].as_array().unwrap();
    let upstream = changes
        .iter()
        .find(|change| change["subject"] == "upstream echo")
        .unwrap();
    assert_eq!(
        (&upstream["connections"], &upstream["drains"]),
        (&6.into(), &3.into())
    );
    assert!(
        changes
            .iter()
            .any(|change| change["subject"] == "listener second")
    );
    let removed = changes
        .iter()
        .find(|change| change["subject"] == format!("server echo/{a}"))
        .unwrap();
    assert_eq!(
        (&removed["what"], &removed["drains"]),
        (&"removed".into(), &3.into())
    );
    let same = serde_json::json!({
        "listeners": ["public"], "routes": ["main"], "upstreams": [], "servers": [format!("echo/{b}")],
    });
    assert_eq!(plan["same"], same);
    let told = proxy.told(&["reload", "--dry-run"]);
    let lines = [
        format!("server echo/{a}: removed, 3 live, 3 drained"),
        "same: 1 listeners, 1 routes, 0 upstreams, 1 servers".to_owned(),
    ];
    for line in lines {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    proxy.wait_for_held(&[3, 3]);
    held.iter_mut()
        .for_each(|socket| socket.echo("undisturbed"));

    proxy.rewrite("[listener");
    for arguments in [&["reload", "--dry-run"][..], &["reload"]] {
        let refused = proxy.command(arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&refused.stderr).contains("tidegate.toml:1:"));
    }
    assert_eq!(proxy.websocket("/").server(), a.to_string());
}

#[test]
fn reload_waits_for_the_outcome_and_says_it() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a]));
    proxy.rewrite(&Setup::to(&[&a, &b]).toml());
    let told = proxy.told(&["reload"]);
    assert!(
        told.contains(&b.to_string()) && told.ends_with("reloaded\n"),
        "{told}"
    );
    proxy.wait_for_held(&[0, 0]);
}

#[test]
fn the_configuration_in_force_shows_no_secret() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("route.headers", "set = { X-Key = \"hush\" }");
    let proxy = Tidegate::start(&setup);
    let config = proxy.api("/api/v1/config");
    assert_eq!(config["config"]["upstream"]["echo"]["retries"], 2);
    let toml = call(
        &proxy,
        "GET /api/v1/config",
        "Accept: application/toml\r\n",
        "",
    );
    assert!(
        toml.body.contains("connect_timeout = \"3s\""),
        "{}",
        toml.body
    );
    for text in [config.to_string(), toml.body] {
        assert!(!text.contains("hush"), "{text}");
    }
}

#[test]
fn every_route_answers_as_the_api_describes_it() {
    let [a, b] = Echo::start_many::<2>();
    let setup = Setup::to(&[&a, &b]).route_before("path = \"/secure\"\nredirect = \"https\"");
    let proxy = Tidegate::start(&setup);
    let _held: Vec<WebSocket> = (0..4).map(|_| proxy.websocket("/")).collect();
    proxy.wait_for_held(&[2, 2]);
    let admin = format!("http://{}", proxy.listener("admin"));
    Library::Python.runs("openapi_client", &[&admin]);
}

#[test]
fn the_busiest_connections_come_first() {
    let echo = Echo::start();
    // On one worker ids rise in the order of opening.
    let proxy = Tidegate::start(&Setup::to(&[&echo]).with("server", "workers = 1"));
    let mut held: Vec<WebSocket> = (0..4).map(|_| proxy.websocket("/")).collect();
    proxy.wait_for_held(&[4]);
    let by_id = ids(&proxy.told_json(&["connections"]));
    held[2].echo("a long message");
    (0..2).for_each(|_| held[1].echo("short"));
    let first = |sort: &str, limit: &str| {
        ids(&proxy.told_json(&["connections", "--sort", sort, "--limit", limit]))
    };
    wait_until("the figures to be published", || {
        first("bytes", "1") == [by_id[2].clone()] && first("messages", "1") == [by_id[1].clone()]
    });
    assert_eq!(first("age", "3").len(), 3);
    let oldest = proxy.api("/api/v1/connections?sort=age&limit=2");
    assert_eq!(oldest["next"], Value::Null);
}

#[test]
fn with_a_token_set_only_who_shows_it_may_change_anything() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin.token");
    fs::write(&file, "open sesame\n").unwrap();
    let file = file.to_str().unwrap();
    let setup = Setup::to(&[&echo]).with("admin", &format!("token_file = \"{file}\""));
    let proxy = Tidegate::start(&setup);
    let name = format!("echo/{echo}");
    let without = proxy.command(&["server", &name, "weight", "2"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&without.stderr).contains("token"));
    proxy.told(&["server", &name, "weight", "2", "--token-file", file]);
    proxy.told(&["status"]);
    let delete = call(&proxy, "DELETE /api/v1/connections/1", "", "");
    assert_eq!(delete.status, 401);
}

#[test]
fn a_reload_takes_another_token_up_and_does_not_do_without() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin.token");
    fs::write(&file, "old").unwrap();
    let line = format!("token_file = \"{}\"", file.display());
    let setup = Setup::to(&[&echo]).with("admin", &line);
    let proxy = Tidegate::start(&setup);
    let shown = |token: &str| {
        let header = format!("Authorization: Bearer {token}\r\n");
        call(&proxy, "DELETE /api/v1/connections/1", &header, "").status
    };
    assert_eq!((shown("old"), shown("new")), (404, 401));
    fs::write(&file, "new").unwrap();
    let told = proxy.command(&["reload", "--token-file", file.to_str().unwrap()]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("SIGHUP takes up"), "{told}");
    assert_eq!(proxy.reload(), Reload::Done);
    assert_eq!((shown("old"), shown("new")), (401, 404));
    fs::write(&file, "").unwrap();
    assert_eq!(proxy.reload(), Reload::Refused, "an empty file");
    fs::remove_file(&file).unwrap();
    let pipe = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(pipe.success());
    assert_eq!(proxy.reload(), Reload::Refused, "a pipe nobody writes to");
    // The address is the one of the start, whatever the file says.
    proxy.reload_with(&Setup::to(&[&echo]));
    assert_eq!((shown("old"), shown("new")), (401, 404));
}

#[test]
fn no_instance_is_said_in_words_with_exit_code_1() {
    let nobody = Backend::refusing();
    let admin = format!("http://{nobody}");
    for command in [
        &["status"][..],
        &["reload"],
        &["server", "echo/10.0.0.1:80", "ready"],
        &["rebalance", "echo"],
        &["connections"],
    ] {
        let output = tidegate(&[command, &["--admin", &admin]].concat());
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("no instance answers"), "{errors}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_file_says_where_the_instance_answers() {
    let echo = Echo::start();
    let port = Backend::refusing().address().port();
    let setup = Setup::to(&[&echo]).with("admin", &format!("bind = \"127.0.0.1:{port}\""));
    let proxy = Tidegate::start(&setup);
    let file = proxy.directory().join("tidegate.toml");
    let file = file.to_str().unwrap();
    let status = || {
        let output = tidegate(&["status", "--json", "-c", file]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
    };
    status();
    proxy.rewrite(&setup.with("server", "wrokers = 2").toml());
    status();
    let refused = tidegate(&["reload", "-c", file]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("wrokers"));
    proxy.wait_for_metric("tidegate_reloads_total", &[("result", "failed")], 1.0);
    proxy.rewrite("[listener");
    let unreadable = tidegate(&["status", "-c", file]);
    assert_eq!(unreadable.status.code(), Some(1));
}

#[test]
fn wrong_calls_are_answered_with_what_is_wrong() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let server = format!("POST /api/v1/upstreams/echo/servers/{echo}");
    for (line, body, status, word) in [
        (server.as_str(), "{}", 400, "neither"),
        (&server, "{\"state\":\"dead\"}", 400, "dead"),
        (&server, "{\"weight\":0}", 400, "body"),
        (&server, "{\"weight\":1,\"within\":\"1s\"}", 400, "drain"),
        (
            &server,
            "{\"state\":\"drain\",\"within\":\"9999999h\"}",
            400,
            "within",
        ),
        (&server, "not JSON", 400, "body"),
        (
            "POST /api/v1/upstreams/x/servers/y",
            "{\"weight\":1}",
            404,
            "upstream x",
        ),
        (
            "POST /api/v1/upstreams/echo/servers/y",
            "{\"weight\":1}",
            404,
            "server echo/y",
        ),
        ("GET /api/v1/connections?limit=0", "", 400, "limit"),
        ("GET /api/v1/connections?client=me", "", 400, "client"),
        ("POST /api/v1/reload?dry_run=perhaps", "", 400, "dry_run"),
        ("DELETE /api/v1/connections/1", "", 404, "connection 1"),
    ] {
        let answer = call(&proxy, line, "", body);
        assert_eq!(answer.status, status, "{line} {body}: {}", answer.body);
        let error: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(error["error"].as_str().unwrap().contains(word), "{error}");
    }
    let wrong_method = call(&proxy, "PUT /api/v1/status", "", "");
    assert_eq!(wrong_method.status, 405);
    assert_eq!(wrong_method.header("allow"), Some("GET"));
}
