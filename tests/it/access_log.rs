//! The access log (CONTRACT section 5, docs/access-log.md).

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::telemetry::access::FIELDS;

use crate::support::ends::post;
use crate::support::frame::{CLOSE, Frame, PING, PONG, TEXT};
use crate::support::proxy::{Reload, tidegate};
use crate::support::wait::{stays_true, wait_for, wait_until};
use crate::support::websocket::WebSocket;
use crate::support::{Backend, Echo, Request, Setup, Site, Tidegate};

/// A proxy whose access log is a file, and what is in it.
struct Logged {
    proxy: Tidegate,
    log: PathBuf,
    _directory: TempDir,
}

impl Logged {
    fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.log");
        Self {
            proxy: Tidegate::start(&to(setup, &log)),
            log,
            _directory: directory,
        }
    }

    fn in_front_of(echo: &Echo) -> Self {
        Self::start(Setup::to(&[echo]))
    }

    /// Waits for the first line of an event.
    #[track_caller]
    fn wait_for(&self, event: &str) -> Value {
        wait_for(&format!("a line {event}"), || {
            lines(&self.log)
                .into_iter()
                .find(|line| line["event"] == event)
        })
    }

    /// Sends a request and gives its line.
    #[track_caller]
    fn line_of(&self, request: impl AsRef<[u8]>, status: u16) -> Value {
        assert_eq!(self.proxy.send(request).status, status);
        wait_for("a line", || lines(&self.log).pop())
    }
}

fn to(setup: Setup, log: &Path) -> Setup {
    setup.with("log", &format!("access = \"{}\"", log.display()))
}

/// Every whole line so far.
///
/// # Panics
/// When one is no JSON object with all fields.
#[track_caller]
fn lines(log: &Path) -> Vec<Value> {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(parse)
        .collect()
}

#[track_caller]
fn parse(line: &str) -> Value {
    assert!(
        line.trim_end()
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~')),
        "{line:?}"
    );
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let object = value.as_object().unwrap();
    assert!(
        object.len() == FIELDS.len() && FIELDS.iter().all(|field| object.contains_key(field.name)),
        "{line}"
    );
    value
}

/// A pipe whose reader takes nothing until it is asked.
fn named_pipe(directory: &Path) -> PathBuf {
    let path = directory.join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    path
}

#[test]
fn a_session_has_a_line_at_its_open_and_one_at_its_close() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let mut socket = WebSocket::open(logged.proxy.connect(), "/ws/room?token=secret");
    let open = logged.wait_for("open");
    let expected = json!({
        "event": "open", "listener": "public", "route": "main", "upstream": "echo",
        "server": echo.to_string(), "client": "127.0.0.1", "user": null,
        "client_subject": null, "client_san": null, "method": "GET",
        "host": "example.test", "path": "/ws/room", "status": 101, "retries": 0,
        "duration_ms": null, "messages_to_backend": null, "messages_to_client": null,
        "bytes_to_backend": null, "bytes_to_client": null, "close_code": null,
        "close_from": null, "reason": null, "ping_rtt_ms": null,
        "ts": open["ts"], "id": open["id"], "handshake_ms": open["handshake_ms"],
    });
    assert_eq!(open, expected);
    assert!(
        open["id"].is_string() && open["handshake_ms"].as_f64() > Some(0.0),
        "{open}"
    );

    socket.echo("hello");
    socket.echo("again!");
    socket.close();
    let close = logged.wait_for("close");
    for (name, value) in open.as_object().unwrap() {
        assert!(
            value.is_null() || ["ts", "event"].contains(&name.as_str()) || close[name] == *value
        );
    }
    let carried = |name: &str| close[name].as_u64();
    assert_eq!(carried("messages_to_backend"), Some(2));
    assert_eq!(carried("messages_to_client"), Some(2));
    assert_eq!(carried("bytes_to_backend"), Some(11));
    assert_eq!(carried("bytes_to_client"), Some(11));
    assert_eq!(carried("close_code"), Some(1000));
    assert_eq!(close["close_from"], "client");
    assert_eq!(close["reason"], "client_close");
    assert!(close["duration_ms"].as_f64() > Some(0.0));
    assert!(close["ts"].as_str() >= open["ts"].as_str());
    assert_eq!(lines(&logged.log).len(), 2);
}

#[test]
fn a_close_line_says_who_closed_and_the_round_trip_of_the_last_ping() {
    let backend = Backend::accepting(|mut visit| {
        visit.connection.frame();
        visit
            .connection
            .send_frame(&Frame::server(CLOSE, Frame::close_payload(4321, "")));
        visit.hold();
    });
    let setup = Setup::to(&[&backend]).with("route.websocket", "ping_interval = \"50ms\"");
    let logged = Logged::start(setup);
    let mut tunnel = logged.proxy.tunnel();
    let ping = tunnel.frame();
    assert_eq!(ping.opcode, PING);
    tunnel.send_frame(&Frame::client(PONG, ping.payload));
    tunnel.send_frame(&Frame::client(TEXT, "close"));
    while tunnel.frame().close_code() != Some(4321) {}
    tunnel.send_frame(&Frame::client(CLOSE, Frame::close_payload(4321, "")));
    let close = logged.wait_for("close");
    assert_eq!(close["close_code"], 4321);
    assert_eq!(close["close_from"], "backend");
    assert_eq!(close["reason"], "backend_close");
    assert!(close["ping_rtt_ms"].as_f64() > Some(0.0), "{close}");
}

#[test]
fn a_session_that_the_end_of_the_process_cuts_has_its_line() {
    let echo = Echo::start();
    let mut logged = Logged::in_front_of(&echo);
    let _held = logged.proxy.tunnel();
    logged.wait_for("open");
    logged.proxy.signal(Signal::INT);
    assert!(logged.proxy.wait_for_exit().success());
    assert_eq!(logged.wait_for("close")["reason"], "shutdown");
}

#[test]
fn a_refused_upgrade_has_a_line_with_status_and_reason() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo])
        .with("[route]", "path = \"/ws\"")
        .with("route.access", "origins = [\"https://app.example\"]");
    for (request, status, reason, route) in [
        (Request::upgrade(), 403, "origin", json!("main")),
        (
            Request::upgrade().target("/other?token=x"),
            404,
            "no_route",
            Value::Null,
        ),
        (
            Request::upgrade().without("Host"),
            400,
            "malformed",
            Value::Null,
        ),
        (
            Request::get("/ws").line("TRACE /ws HTTP/1.1"),
            405,
            "method",
            Value::Null,
        ),
    ] {
        let logged = Logged::start(setup.clone());
        let line = logged.line_of(request.bytes(), status);
        assert_eq!(line["event"], "refused");
        assert_eq!(line["status"], status);
        assert_eq!(line["reason"], reason);
        assert_eq!(line["route"], route);
        assert_eq!(line["id"], Value::Null);
        assert!(line["path"] == "/ws" || line["path"] == "/other", "{line}");
        assert!(line["duration_ms"].is_f64());
    }
}

#[test]
fn a_failed_upgrade_names_the_last_server_and_counts_the_others() {
    let servers = [
        Backend::refusing(),
        Backend::refusing(),
        Backend::refusing(),
    ];
    let logged = Logged::start(Setup::to(&servers).with("upstream.echo", "retries = 1"));
    let line = logged.line_of(Request::upgrade().bytes(), 502);
    assert_eq!(line["event"], "refused");
    assert_eq!(line["reason"], "backend_unreachable");
    assert_eq!(line["upstream"], "echo");
    assert_eq!(line["retries"], 1);
    let tried = servers.map(|server| Value::from(server.to_string()));
    assert!(tried.contains(&line["server"]), "{line}");
}

#[test]
fn a_retried_session_says_how_often() {
    let (dead, echo) = (Backend::refusing(), Echo::start());
    let logged = Logged::start(Setup::to(&[dead.to_string(), echo.to_string()]));
    // Round robin begins at one of them: the second session meets the other first.
    logged.proxy.websocket("/").close();
    logged.proxy.websocket("/").close();
    let retried = || {
        let lines = lines(&logged.log);
        lines.into_iter().any(|line| {
            line["event"] == "close" && line["retries"] == 1 && line["server"] == echo.to_string()
        })
    };
    wait_until("a close line with a retry", retried);
}

#[test]
fn an_answer_of_the_backend_to_an_upgrade_is_a_refusal_of_its_own() {
    let backend = Backend::answering("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
    let logged = Logged::start(Setup::to(&[&backend]));
    let line = logged.line_of(Request::upgrade().bytes(), 401);
    assert_eq!(line["event"], "refused");
    assert_eq!(line["reason"], "backend_status");
    assert_eq!(line["server"], backend.to_string());
}

#[test]
fn a_client_that_leaves_before_its_answer_has_a_line() {
    let backend = Backend::silent();
    let logged = Logged::start(Setup::to(&[&backend]));
    let mut client = logged.proxy.connect();
    client.send(Request::upgrade().bytes());
    wait_until("the handshake to reach the backend", || {
        backend.visits() == 1
    });
    drop(client);
    let line = logged.wait_for("refused");
    assert_eq!(line["reason"], "client_gone");
    assert_eq!(line["status"], Value::Null);
}

#[test]
fn a_plain_request_has_one_line() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).route_before("path = \"/gone\"\nrespond = 410");
    let logged = Logged::start(setup);
    let line = logged.line_of(Request::get("/gone/away?token=secret").bytes(), 410);
    assert_eq!(line["event"], "request");
    assert_eq!(line["status"], 410);
    assert_eq!(line["path"], "/gone/away");
    assert_eq!(line["reason"], Value::Null);
    assert_eq!(lines(&logged.log).len(), 1);
}

#[test]
fn a_proxied_request_has_one_line_with_its_bytes() {
    let site = Site::echo();
    let logged = Logged::start(Setup::to(&[&site]));
    let line = logged.line_of(
        post("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        200,
    );
    assert_eq!(line["event"], "request");
    for (field, value) in [
        ("method", json!("POST")),
        ("status", json!(200)),
        ("bytes_to_backend", json!(5)),
        ("bytes_to_client", json!(5)),
        ("retries", json!(0)),
        ("reason", Value::Null),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    assert!(
        line["server"].is_string() && line["duration_ms"].is_number(),
        "{line}"
    );
}

#[test]
fn an_answer_that_breaks_off_has_a_line_with_the_reason() {
    let site = Site::start(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf".to_vec()
    });
    let logged = Logged::start(Setup::to(&[&site]));
    let mut client = logged.proxy.connect();
    client.send(Request::get("/").bytes());
    let line = logged.wait_for("request");
    assert_eq!(line["reason"], "backend_gone");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes_to_client"], 4);
}

#[test]
fn a_head_that_is_no_http_has_a_line_with_what_is_known() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let line = logged.line_of("\x16\x03\x01 nonsense\r\n\r\n", 400);
    assert_eq!(line["event"], "refused");
    assert_eq!(line["reason"], "malformed");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["path"], Value::Null);
}

/// ATTACKS L10, L14.
#[test]
fn whatever_a_client_sends_is_one_valid_line_without_its_token() {
    let hostile: [&[u8]; 6] = [
        b"/\"quote\\back\\\"",
        b"/\xff\xfe\x80bad",
        b"/\xe2\x80\xaegpj.exe",
        b"/<script>alert(1)</script>",
        b"/ws#token=secret",
        b"/ws?token=secret\"\\",
    ];
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    for target in hostile {
        for request in [
            Request::upgrade().target(target),
            Request::upgrade().target(target).but("Host: a\"\\<b>"),
            Request::upgrade()
                .target(target)
                .but([b"Host: ".as_slice(), b"\x80\xff"].concat()),
            Request::upgrade()
                .target(target)
                .with("User-Agent: \"\\x\t{}<script>"),
        ] {
            let before = lines(&logged.log).len();
            logged.proxy.send(request.bytes());
            wait_until("a line more", || lines(&logged.log).len() > before);
        }
    }
    let text = fs::read_to_string(&logged.log).unwrap();
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_long_path_is_cut_and_marked() {
    let echo = Echo::start();
    let logged = Logged::start(refusing_requests(&echo));
    let path = format!("/{}", "x".repeat(8_000));
    let line = logged.line_of(Request::get(&path).bytes(), 426);
    assert_eq!(line["path"], format!("{}…", &path[..1024]));
}

#[test]
fn sigusr1_after_a_rename_goes_on_in_a_new_file() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let mut socket = logged.proxy.websocket("/");
    let open = logged.wait_for("open");
    let old = logged.log.with_extension("1");
    fs::rename(&logged.log, &old).unwrap();
    logged.proxy.signal(Signal::USR1);
    wait_until("the new file", || logged.log.exists());
    socket.echo("still here");
    socket.close();
    assert_eq!(logged.wait_for("close")["id"], open["id"]);
    assert_eq!(lines(&old).len(), 1);
}

#[test]
fn sigusr1_without_a_log_harms_nobody() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut socket = proxy.websocket("/");
    proxy.signal(Signal::USR1);
    proxy.log().wait_for(0, "the reopening", |line| {
        line.message().contains("reopened")
    });
    socket.echo("still here");
}

#[test]
fn a_file_that_can_not_be_opened_again_is_kept() {
    let echo = Echo::start();
    let logged = Logged::in_front_of(&echo);
    let old = logged.log.with_extension("1");
    fs::rename(&logged.log, &old).unwrap();
    fs::create_dir(&logged.log).unwrap();
    logged.proxy.signal(Signal::USR1);
    logged.proxy.log().wait_for(0, "the complaint", |line| {
        line.message().contains("not reopened")
    });
    logged.proxy.websocket("/").close();
    wait_until("both lines in the old file", || lines(&old).len() == 2);
}

#[test]
fn a_reload_turns_the_log_on_elsewhere_and_off() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&setup);
    let before = proxy.websocket("/");
    let [first, second] = ["first.log", "second.log"].map(|name| proxy.directory().join(name));
    proxy.reload_with(&to(setup.clone(), &first));
    before.close();
    let socket = proxy.websocket("/");
    wait_until("its open line", || lines(&first).len() == 1);
    proxy.reload_with(&to(setup.clone(), &second));
    socket.close();
    wait_until("its close line", || lines(&second).len() == 1);
    proxy.reload_with(&setup);
    proxy.websocket("/").close();
    proxy.reload_with(&to(setup, &second));
    proxy.websocket("/").close();
    wait_until("further lines", || lines(&second).len() == 3);
    assert_eq!(lines(&first).len(), 1);
}

/// ATTACKS I07.
#[test]
fn a_log_that_can_not_be_opened_is_an_error_that_names_the_key() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]);
    let proxy = Tidegate::start(&setup);
    let mut socket = proxy.websocket("/");
    let nowhere = proxy.directory().join("nowhere/access.log");
    proxy.rewrite(&to(setup, &nowhere).toml());
    assert_eq!(proxy.reload(), Reload::Refused);
    socket.echo("still here");
    let file = proxy.directory().join("tidegate.toml");
    for command in ["check", "run"] {
        let output = tidegate(&[command, "-c", file.to_str().unwrap()]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(errors.contains("log.access = "), "{errors}");
        assert!(
            errors.contains("can't be written: No such file"),
            "{errors}"
        );
    }
}

/// ATTACKS I07.
#[test]
fn a_full_disk_drops_lines_and_counts_them() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&to(Setup::to(&[&echo]), Path::new("/dev/full")));
    for _ in 0..3 {
        let mut socket = proxy.websocket("/");
        socket.echo("hello");
        socket.close();
    }
    proxy.wait_for_metric("tidegate_access_log_dropped_total", &[], 6.0);
    proxy.log().wait_for(0, "a warning", |line| {
        line.message().contains("access log can't")
    });
}

/// ATTACKS I07.
#[test]
fn a_pipe_that_nobody_reads_stops_nobody() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let pipe = named_pipe(directory.path());
    let mut proxy = Tidegate::start(&to(refusing_requests(&echo), &pipe));
    let mut held = proxy.websocket("/");
    flood(&proxy);
    held.echo("still here");
    // Orders are carried out all the same.
    let file = directory.path().join("access.log");
    proxy.rewrite(&to(Setup::to(&[&echo]), &file).toml());
    assert_eq!(proxy.reload(), Reload::Done);
    wait_until("the lines that waited", || !lines(&file).is_empty());
    held.close();
    wait_until("a further line", || {
        lines(&file).iter().any(|line| line["event"] == "close")
    });
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
}

/// ATTACKS I07.
#[test]
fn a_process_whose_log_is_stuck_still_ends() {
    let echo = Echo::start();
    let directory = tempfile::tempdir().unwrap();
    let pipe = named_pipe(directory.path());
    let mut proxy = Tidegate::start(&to(refusing_requests(&echo), &pipe));
    flood(&proxy);
    proxy.signal(Signal::TERM);
    assert!(proxy.wait_for_exit().success());
}

/// Every plain request is refused, which is quick and has a line.
fn refusing_requests(echo: &Echo) -> Setup {
    Setup::to(&[echo]).with("[route]", "accept = \"websocket\"")
}

/// More lines than pipe and queue hold.
fn flood(proxy: &Tidegate) {
    let mut client = proxy.connect();
    let request = Request::get(&format!("/{}", "x".repeat(800))).bytes();
    wait_until("lines to be dropped", || {
        for _ in 0..500 {
            client.send(&request);
        }
        for _ in 0..500 {
            assert_eq!(client.answer().status, 426);
        }
        proxy
            .metrics()
            .sum("tidegate_access_log_dropped_total", &[])
            > 0.0
    });
}

#[test]
fn standard_output_takes_the_lines_and_may_stall() {
    let echo = Echo::start();
    let setup = refusing_requests(&echo).with("log", "access = \"stdout\"");
    let (reader, writer) = std::io::pipe().unwrap();
    let proxy = Tidegate::start_with_stdout(&setup, writer);
    proxy.websocket("/ws").close();
    let mut reader = BufReader::new(reader);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(parse(&line)["event"], "open");
    flood(&proxy);
    // Once it is read again, whole lines come out.
    for line in reader.by_ref().lines().take(1000) {
        parse(&format!("{}\n", line.unwrap()));
    }
}

/// ATTACKS I07.
#[test]
fn a_closed_standard_output_drops_lines_and_counts_them() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).with("log", "access = \"stdout\"");
    let (reader, writer) = std::io::pipe().unwrap();
    let proxy = Tidegate::start_with_stdout(&setup, writer);
    drop(reader);
    proxy.websocket("/").close();
    proxy.wait_for_metric("tidegate_access_log_dropped_total", &[], 2.0);
    proxy.websocket("/").close();
}

#[test]
fn a_log_that_is_off_writes_nothing() {
    let echo = Echo::start();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let proxy = Tidegate::start_with_stdout(&Setup::to(&[&echo]), writer);
    proxy.websocket("/").close();
    proxy.wait_for_metric("tidegate_websockets_closed_total", &[], 1.0);
    stays_true(Duration::from_millis(100), "nothing dropped", || {
        proxy
            .metrics()
            .sum("tidegate_access_log_dropped_total", &[])
            < 0.5
    });
    drop(proxy);
    let mut written = Vec::new();
    reader.read_to_end(&mut written).unwrap();
    assert!(written.is_empty());
}

#[test]
fn requests_on_one_connection_have_a_line_each() {
    let echo = Echo::start();
    let setup = Setup::to(&[&echo]).route_before("path = \"/gone\"\nrespond = 410");
    let logged = Logged::start(setup);
    let mut client = logged.proxy.connect();
    for _ in 0..3 {
        client.send(Request::get("/gone").bytes());
        assert_eq!(client.answer().status, 410);
    }
    wait_until("three lines", || lines(&logged.log).len() == 3);
}
