//! `tidegate explain` against the proxy itself: what is foretold must come to pass.

use std::fmt::Display;
use std::fs;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::proxy::tidegate;
use crate::support::tokens::Issuer;
use crate::support::{Backend, Echo, Request, Setup, Tidegate};

const ROUTES: [&str; 5] = [
    "name = \"plain\"\npath = \"/plain\"\naccept = \"http\"\nupstream = \"echo\"\nrewrite = \"/\"",
    "name = \"elsewhere\"\nhost = \"other.example.com\"\nupstream = \"echo\"",
    "name = \"exact\"\npath = \"=/exact\"\nrespond = 418",
    "name = \"secure\"\npath = \"/secure\"\nredirect = \"https\"",
    "name = \"inside\"\npath = \"/inside\"\nupstream = \"echo\"\naccess = { allow = [\"10.0.0.0/8\"] }",
];

/// Routes of every kind, the last of them `main`.
fn setup<A: Display>(servers: &[A]) -> Setup {
    let main = "host = [\"a\", \"*.example.com\"]\npath = \"/ws\"\nrewrite = \"/live\"";
    let last = Setup::to(servers)
        .with("[route]", main)
        .with(
            "route.access",
            "origins = [\"https://app.example.com\", \"none\"]",
        )
        .with(
            "route.headers",
            "set = { X-App = \"chat\", X-Key = \"hush\" }\nremove = [\"cookie\"]",
        );
    ROUTES
        .iter()
        .fold(last, |setup, route| setup.route_before(route))
}

fn written(setup: &Setup) -> (TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tidegate.toml");
    fs::write(&file, setup.toml()).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (directory, file)
}

fn explain(file: &str, arguments: &[&str]) -> Output {
    tidegate(&[&["explain", "-c", file], arguments].concat())
}

#[track_caller]
fn told(file: &str, arguments: &[&str]) -> Value {
    let output = explain(file, &[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn page(file: &str, arguments: &[&str]) -> String {
    String::from_utf8(explain(file, arguments).stdout).unwrap()
}

#[test]
fn what_is_foretold_of_a_websocket_comes_to_pass() {
    let echo = Echo::start();
    let proxy = Tidegate::start(&setup(&[&echo]));
    let file = proxy.directory().join("tidegate.toml");
    let port = proxy.address().port();
    let rows: [(&str, &str, &[&str], u64); 16] = [
        (
            "a",
            "/ws/x?y=z",
            &["Cookie: c", "Sec-WebSocket-Protocol: chat"],
            101,
        ),
        (
            "b.example.com",
            "/ws",
            &["Origin: https://app.example.com"],
            101,
        ),
        (
            "a",
            "/%77s",
            &["X-Forwarded-For: 9.9.9.9", "X-Tidegate-User: root"],
            101,
        ),
        ("other.example.com", "/any", &[], 101),
        ("a", "/ws", &["Origin: https://evil.example"], 403),
        ("a", "/ws", &["Sec-WebSocket-Version: 8"], 426),
        ("a", "/ws", &["Sec-WebSocket-Key: short"], 400),
        ("a", "/ws", &["Connection: close"], 400),
        ("a", "/wsx", &[], 404),
        ("example.com", "/ws", &[], 404),
        ("a", "/ws/../x", &[], 400),
        ("a", "/ws%2fx", &[], 400),
        ("a", "/exact", &[], 418),
        ("a", "/secure/x?y", &[], 308),
        ("a", "/plain", &[], 403),
        ("a", "/inside", &[], 403),
    ];
    for (host, target, fields, status) in rows {
        let authority = format!("{host}:{port}");
        let url = format!("ws://{authority}{target}");
        let given = fields.iter().flat_map(|field| ["-H", *field]);
        let arguments: Vec<&str> = [url.as_str()].into_iter().chain(given).collect();
        let foretold = told(file.to_str().unwrap(), &arguments);

        let request = Request::upgrade()
            .target(target)
            .but(format!("Host: {authority}"));
        let request = fields
            .iter()
            .fold(request, |request, field| request.but(field));
        let answer = proxy.send(request.bytes());
        assert_eq!(u64::from(answer.status), status, "{url} {fields:?}");
        if status == 101 {
            let head: Vec<&str> = foretold["upstream"]["head"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| line.as_str().unwrap())
                .collect();
            let seen = echo.last_head().replace("X-Key: hush", "X-Key: ***");
            assert_eq!(head, seen.trim_end().lines().collect::<Vec<_>>(), "{url}");
        } else {
            let own = &foretold["answer"];
            assert_eq!(own["status"], status, "{url} {fields:?}: {foretold}");
            assert_eq!(own["text"], answer.body.trim_end(), "{url}");
            let location = answer.header("location").map_or(Value::Null, Value::from);
            assert_eq!(own["location"], location, "{url}");
        }
    }
}

#[test]
fn what_is_foretold_of_a_plain_request_comes_to_pass() {
    let backend = Backend::answering("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    let proxy = Tidegate::start(&setup(&[&backend]));
    let file = proxy.directory().join("tidegate.toml");
    for (target, fields, status) in [
        ("/plain/x?y", &["Cookie: c", "Accept: a/b"][..], 204),
        (
            "/ws",
            &["X-Forwarded-For: 9.9.9.9", "Origin: https://evil.example"],
            204,
        ),
        ("/exact", &[], 418),
        ("/exact/x", &[], 404),
        (
            "/plain",
            &["Content-Length: 1", "Transfer-Encoding: chunked"],
            400,
        ),
    ] {
        let authority = format!("a:{}", proxy.address().port());
        let url = format!("http://{authority}{target}");
        let given = fields.iter().flat_map(|field| ["-H", *field]);
        let arguments: Vec<&str> = [url.as_str()].into_iter().chain(given).collect();
        let foretold = told(file.to_str().unwrap(), &arguments);

        let request = Request::get(target).but(format!("Host: {authority}"));
        let request = fields
            .iter()
            .fold(request, |request, field| request.but(field));
        let answer = proxy.send(request.bytes());
        assert_eq!(answer.status, status, "{url}");
        if status == 204 {
            let visits = backend.visits();
            let seen = backend.received(visits - 1).to_lowercase();
            let head = foretold["upstream"]["head"].as_array().unwrap();
            for line in head.iter().map(|line| line.as_str().unwrap()) {
                let line = line.replace("X-Key: ***", "X-Key: hush").to_lowercase();
                assert!(seen.lines().any(|seen| seen == line), "{line}: {seen}");
            }
            assert_eq!(seen.trim_end().lines().count(), head.len(), "{seen}");
        } else {
            assert_eq!(foretold["answer"]["status"], status, "{url}: {foretold}");
        }
    }
}

#[test]
fn the_server_that_ip_hash_will_choose_is_named() {
    let echoes = Echo::start_many::<3>();
    let setup = Setup::to(&echoes)
        .with("upstream.echo", "balance = \"ip_hash\"")
        .with("listener.public", "trusted_proxies = [\"127.0.0.0/8\"]");
    let proxy = Tidegate::start(&setup);
    let file = proxy.directory().join("tidegate.toml");
    for client in ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"] {
        let forwarded = format!("X-Forwarded-For: {client}");
        let by_chain = told(file.to_str().unwrap(), &["ws://a/ws", "-H", &forwarded]);
        let by_hand = told(file.to_str().unwrap(), &["ws://a/ws", "--client", client]);
        assert_eq!(by_chain["client"], client);
        assert_eq!(
            by_chain["upstream"]["server"],
            by_hand["upstream"]["server"]
        );

        let before = echoes.each_ref().map(Echo::accepted);
        let answer = proxy.send(Request::upgrade().with(&forwarded).bytes());
        assert_eq!(answer.status, 101);
        let chosen = (0..3)
            .find(|&at| echoes[at].accepted() > before[at])
            .unwrap();
        assert_eq!(by_hand["upstream"]["server"], echoes[chosen].to_string());
    }
}

#[test]
fn every_route_before_the_first_that_fits_says_why_it_does_not() {
    let echo = Echo::start();
    let routes = [
        "name = \"hidden\"\nlistener = \"second\"\nrespond = 404",
        "name = \"wild\"\nhost = \"*.example.com\"\nrespond = 404",
    ];
    let setup = routes
        .iter()
        .fold(setup(&[&echo]), |setup, route| setup.route_before(route));
    let setup = setup.with("listener.second", "bind = \"127.0.0.1:8443\"");
    let (_directory, file) = written(&setup);
    let told = told(&file, &["ws://a/ws", "--listener", "public"]);
    let routes = told["routes"].as_array().unwrap().iter();
    let routes: Vec<_> = routes
        .map(|route| (route["name"].as_str().unwrap(), route["mismatch"].as_str()))
        .collect();
    assert_eq!(
        routes,
        [
            ("plain", Some("serves path /plain")),
            ("elsewhere", Some("serves host other.example.com")),
            ("exact", Some("serves path =/exact")),
            ("secure", Some("serves path /secure")),
            ("inside", Some("serves path /inside")),
            ("hidden", Some("serves listener second")),
            ("wild", Some("serves host *.example.com")),
            ("main", None),
        ]
    );
    assert_eq!(told["route"], "main");
}

#[test]
fn the_page_says_every_check_and_what_applies() {
    let (_directory, file) = written(&setup(&[&Echo::start()]));
    let page = page(&file, &["ws://a/ws", "-H", "Origin: https://evil.example"]);
    let verdicts: Vec<(&str, &str)> = page
        .lines()
        .skip_while(|line| !line.starts_with("CHECK"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once("  ").unwrap())
        .map(|(check, rest)| (check, rest.trim_start().split("  ").next().unwrap()))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("syntax", "passed"),
            ("path", "passed"),
            ("route", "passed"),
            ("address", "passed"),
            ("kind", "passed"),
            ("origin", "REFUSED"),
            ("method", "not reached"),
            ("version", "not reached"),
            ("key", "not reached"),
            ("token", "not reached"),
            ("limits", "not reached"),
            ("server", "not reached"),
        ],
        "{page}"
    );
    assert!(page.contains("answer: 403 origin refused\n"), "{page}");
    let good = self::page(&file, &["ws://a/ws"]);
    for line in [
        "listener.header_timeout = \"10s\"",
        "route.websocket.idle_timeout = \"1h\"",
        "upstream.connect_timeout = \"3s\"",
        "GET /live HTTP/1.1",
        "X-Key: ***",
    ] {
        assert!(good.contains(&format!("\n  {line}\n")), "{line}: {good}");
    }
    assert!(!good.contains("hush"), "{good}");
}

#[test]
fn the_listener_is_the_one_that_fits_scheme_and_port_or_the_named_one() {
    let setup = Setup::to(&["10.0.0.1:80"])
        .with("listener.public", "bind = \"127.0.0.1:80\"")
        .with("listener.other", "bind = \"127.0.0.1:8080\"");
    let (_directory, file) = written(&setup);
    for (arguments, listener) in [
        (&["ws://a/"][..], "public"),
        (&["ws://a:8080/"], "other"),
        (&["wss://a/", "--listener", "other"], "other"),
    ] {
        assert_eq!(
            told(&file, arguments)["listener"],
            listener,
            "{arguments:?}"
        );
    }
    for (arguments, words) in [
        (&["ws://a:81/"][..], "no listener takes http on port 81"),
        (&["wss://a/"], "no listener takes https on port 443"),
        (
            &["ws://a/", "--listener", "x"],
            "no listener x (there are: public, other)",
        ),
    ] {
        let output = explain(&file, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains(words), "{errors}");
    }
}

#[test]
fn what_is_no_request_is_exit_code_2_and_a_bad_file_1() {
    let (_directory, file) = written(&Setup::to(&["10.0.0.1:80"]));
    for arguments in [
        &["a/b"][..],
        &["ftp://a/"],
        &["ws://a/", "-H", "Origin"],
        &["ws://a/", "--client", "me"],
        &[],
    ] {
        assert_eq!(
            explain(&file, arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    let missing = explain("/nowhere/tidegate.toml", &["ws://a/"]);
    assert_eq!(missing.status.code(), Some(1));
}

#[test]
fn a_token_is_judged_as_the_proxy_judges_it() {
    let issuer = Issuer::new();
    let setup = setup(&[&Echo::start()]).with(
        "route.auth.jwt",
        &issuer.toml("[\"header\", \"query:token\"]"),
    );
    let (_directory, file) = written(&setup);
    let verdict = |told: &Value| told["checks"].as_array().unwrap()[9].clone();
    let good = format!("Authorization: Bearer {}", issuer.token("ann", 60));
    let in_query = format!("ws://a/ws?a=b&token={}", issuer.token("ann", 60));
    for arguments in [&["ws://a/ws", "-H", &good][..], &[&in_query]] {
        let told = told(&file, arguments);
        let expected = json!({ "check": "token", "verdict": "passed", "why": "from = [\"header\",\"query:token\"], user = ann" });
        assert_eq!(verdict(&told), expected);
        let head = told["upstream"]["head"].to_string();
        assert!(head.contains("X-Tidegate-User: ann"), "{head}");
        assert!(!head.contains("token="), "{head}");
    }
    let told = told(&file, &["ws://a/ws"]);
    assert_eq!(verdict(&told)["verdict"], "refused");
    assert_eq!(told["answer"]["status"], 401);
}
