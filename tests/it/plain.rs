//! Plain requests: to a server and back, streamed both ways (CONTRACT section 2, ATTACKS B, J).

use std::process::Command;

use crate::support::ends::post;
use crate::support::site::answer;
use crate::support::wait::wait_until;
use crate::support::{Backend, Echo, Request, Setup, Site, Tidegate};

#[test]
fn a_get_reaches_the_server_and_its_answer_comes_back() {
    let site = Site::start(|_| answer("X-Mine: yes\r\nKeep-Alive: 5\r\n", "hello"));
    let proxy = Tidegate::in_front_of(&[&site]);
    let reply = proxy.send(Request::get("/a/b?c=d").with("X-Ask: 1").bytes());
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    assert_eq!(reply.header("x-mine"), Some("yes"));
    assert_eq!(reply.header("keep-alive"), None);
    let asked = &site.asked()[0];
    assert!(
        asked.head.starts_with("GET /a/b?c=d HTTP/1.1\r\n"),
        "{asked:?}"
    );
    assert_eq!(asked.field("x-ask"), Some("1"));
    assert_eq!(asked.field("host"), Some("a"));
    assert_eq!(asked.field("x-real-ip"), Some("127.0.0.1"));
}

/// ATTACKS D02, D04, D05.
#[test]
fn fields_of_the_connection_stop_and_ours_replace_what_the_client_claims() {
    let site = Site::hello();
    let proxy = Tidegate::in_front_of(&[&site]);
    let request = Request::get("/")
        .with("Connection: keep-alive, X-Forwarded-For, X-Real-IP, X-Secret")
        .with("X-Secret: 1")
        .with("X-Forwarded-For: 6.6.6.6")
        .with("X_Forwarded_For: 6.6.6.6")
        .with("X-Forwarded-Proto: https")
        .with("Forwarded: for=6.6.6.6")
        .with("X-Tidegate-User: root")
        .with("Keep-Alive: 5")
        .with("TE: trailers")
        .with("Trailer: x")
        .with("Proxy-Authorization: x")
        .with("Upgrade: h2c")
        .with("Expect: 100-continue")
        .with("Cookie: a")
        .with("Cookie: b");
    assert_eq!(proxy.send(request.bytes()).status, 200);
    let asked = site.asked().pop().unwrap();
    for (name, value) in [
        ("x-forwarded-for", Some("127.0.0.1")),
        ("x-real-ip", Some("127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-host", Some("a")),
        ("x_forwarded_for", None),
        ("x-secret", None),
        ("forwarded", None),
        ("x-tidegate-user", None),
        ("connection", None),
        ("keep-alive", None),
        ("te", None),
        ("trailer", None),
        ("proxy-authorization", None),
        ("upgrade", None),
        ("expect", None),
        ("transfer-encoding", None),
        ("content-length", None),
    ] {
        assert_eq!(asked.field(name), value, "{name}: {}", asked.head);
    }
    assert_eq!(asked.head.matches("cookie: ").count(), 2, "{}", asked.head);
}

#[test]
fn a_body_reaches_the_server_in_the_framing_it_came_in() {
    let site = Site::echo();
    let proxy = Tidegate::in_front_of(&[&site]);
    for (line, body, framing) in [
        ("Content-Length: 5", "hello", "content-length"),
        (
            "Transfer-Encoding: chunked",
            "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
            "transfer-encoding",
        ),
    ] {
        let reply = proxy.send(post(line, body));
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "hello"),
            "{line}"
        );
        let asked = site.asked().pop().unwrap();
        assert!(asked.field(framing).is_some(), "{asked:?}");
    }
    let reply = proxy.send(post("Content-Length: 0", ""));
    assert_eq!((reply.status, reply.body.as_str()), (200, ""));
}

#[test]
fn answers_come_in_the_framing_that_the_client_knows() {
    let site = Site::start(|asked| match asked.head.split(' ').nth(1) {
        Some("/length") => answer("", "hello"),
        Some("/chunks") => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
            .to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello".to_vec(),
    });
    let proxy = Tidegate::in_front_of(&[&site]);
    for (path, framing) in [
        ("/length", "content-length"),
        ("/chunks", "transfer-encoding"),
        ("/close", "transfer-encoding"),
    ] {
        let mut client = proxy.connect();
        client.send(Request::get(path).bytes());
        let reply = client.answer();
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "hello"),
            "{path}"
        );
        assert!(reply.header(framing).is_some(), "{path}: {reply:?}");
        client.send(Request::get(path).bytes());
        assert_eq!(client.answer().body, "hello", "{path} a second time");

        let reply = proxy.send(
            Request::get(path)
                .line(format!("GET {path} HTTP/1.0"))
                .bytes(),
        );
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (200, "hello"),
            "{path}"
        );
        assert_eq!(reply.header("transfer-encoding"), None, "{path}");
        assert!(reply.closes(), "{path}");
    }
}

#[test]
fn what_has_no_body_gets_none() {
    let site = Site::start(|asked| match asked.head.split(' ').nth(1) {
        Some("/204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        Some("/304") => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".to_vec(),
    });
    let proxy = Tidegate::in_front_of(&[&site]);
    let mut client = proxy.connect();
    for (line, status, length) in [
        ("GET /204 HTTP/1.1", "204", None),
        ("GET /304 HTTP/1.1", "304", Some("7")),
        ("HEAD / HTTP/1.1", "200", Some("5")),
    ] {
        client.send(Request::get("/").line(line).bytes());
        let head = client.read_head().unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        let announced = crate::support::backend::field(&head, "content-length");
        assert_eq!(announced, length, "{line}");
    }
    client.send(Request::get("/204").bytes());
    assert_eq!(client.answer().status, 204);
}

#[test]
fn one_connection_to_the_server_serves_many_requests() {
    let site = Site::hello();
    let proxy = Tidegate::start(&Setup::to(&[&site]).with("server", "workers = 1"));
    for _ in 0..20 {
        assert_eq!(proxy.send(Request::get("/").bytes()).body, "hello");
    }
    let mut client = proxy.connect();
    for _ in 0..20 {
        client.send(post("Content-Length: 2", "hi"));
        assert_eq!(client.answer().body, "hello");
    }
    assert_eq!(site.visits(), 1);
}

#[test]
fn without_keepalive_each_request_has_a_connection_of_its_own() {
    let site = Site::hello();
    let proxy = Tidegate::start(&Setup::to(&[&site]).with("upstream.echo", "keepalive = 0"));
    for _ in 0..3 {
        assert_eq!(proxy.send(Request::get("/").bytes()).body, "hello");
    }
    assert_eq!(site.visits(), 3);
}

/// ATTACKS B14.
#[test]
fn pipelined_requests_are_answered_in_order() {
    const REQUESTS: usize = 10_000;
    let site = Site::start(|asked| answer("", asked.head.split(' ').nth(1).unwrap()));
    let proxy = Tidegate::in_front_of(&[&site]);
    let mut client = proxy.connect();
    let wire: Vec<u8> = (0..REQUESTS)
        .flat_map(|number| Request::get(&format!("/{number}")).bytes())
        .collect();
    let mut sender = crate::support::Connection::over(client.tcp().try_clone().unwrap());
    let sending = std::thread::spawn(move || sender.send(wire));
    for number in 0..REQUESTS {
        assert_eq!(client.answer().body, format!("/{number}"));
    }
    sending.join().unwrap();
}

#[test]
fn an_upgrade_may_follow_plain_requests_and_the_other_way_round() {
    let backend = Backend::script(|mut visit| {
        while let Some(asked) = visit.request() {
            let upgrade = asked.field("upgrade").is_some();
            match (upgrade, asked.head.starts_with("GET /no ")) {
                (true, true) => visit.connection.send(answer("", "no tunnel")),
                (true, false) => {
                    let head = &asked.head;
                    visit
                        .connection
                        .send(crate::support::backend::switching_protocols(head, ""));
                    return visit.hold();
                }
                _ => visit.connection.send(answer("", "plain")),
            }
        }
    });
    let proxy = Tidegate::in_front_of(&[&backend]);
    let mut client = proxy.connect();
    client.send(Request::get("/").bytes());
    assert_eq!(client.answer().body, "plain");
    client.send(Request::upgrade().target("/no").bytes());
    assert_eq!(client.answer().body, "no tunnel");
    client.send(Request::get("/").bytes());
    assert_eq!(client.answer().body, "plain");
    client.send(Request::upgrade().bytes());
    assert_eq!(client.answer().status, 101);
}

#[test]
fn a_route_takes_the_kinds_of_request_it_says() {
    let echo = Echo::start();
    let site = Site::hello();
    let setup = Setup::to(&[&echo])
        .route_before("path = \"/http\"\nupstream = \"site\"\naccept = \"http\"")
        .route_before("path = \"/ws-only\"\nupstream = \"echo\"\naccept = \"websocket\"")
        .with("upstream.site", &format!("servers = [\"{site}\"]"));
    let proxy = Tidegate::start(&setup);
    let status = |request: Request| proxy.send(request.bytes()).status;
    assert_eq!(status(Request::upgrade().target("/http")), 403);
    assert_eq!(status(Request::get("/http")), 200);
    assert_eq!(status(Request::get("/ws-only")), 426);
    assert_eq!(status(Request::upgrade().target("/ws-only")), 101);
}

#[test]
fn requests_are_counted_and_timed() {
    let site = Site::hello();
    let proxy = Tidegate::in_front_of(&[&site]);
    proxy.send(Request::get("/").bytes());
    let labels = [("route", "main"), ("status", "200")];
    proxy.wait_for_metric("tidegate_requests_total", &labels, 1.0);
    let metrics = proxy.metrics();
    let count = metrics.sum(
        "tidegate_request_duration_seconds_count",
        &[("route", "main")],
    );
    assert!((count - 1.0).abs() < 0.5);
    wait_until("no request in flight", || {
        proxy.metrics().sum("tidegate_server_connections", &[]) < 0.5
    });
}

#[test]
fn curl_gets_posts_and_reads_on_one_connection() {
    let site = Site::echo();
    let proxy = Tidegate::in_front_of(&[&site]);
    let url = format!("http://{}/", proxy.address());
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "-d", "one", &url, "--next"])
        .args([
            "-sS",
            "--max-time",
            "20",
            "-H",
            "Transfer-Encoding: chunked",
            "-d",
            "two",
            &url,
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "onetwo");
}
