//! Who may come in by a token (CONTRACT 2 `[route.auth.jwt]`, ATTACKS L04 to L10 and L14).

use std::fs;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::support::backend::field;
use crate::support::frame::{Frame, TEXT};
use crate::support::peers::root;
use crate::support::proxy::tidegate;
use crate::support::stage::last_word;
use crate::support::tokens::{Issuer, now};
use crate::support::wait::{wait_for, wait_until};
use crate::support::{Answer, Backend, Echo, Request, Setup, Stage, Tidegate};

const EVERYWHERE: &str = r#"["header", "cookie:session", "query:token", "subprotocol"]"#;

/// A proxy that asks for a token, and who issues it.
struct Gate {
    proxy: Tidegate,
    echo: Echo,
    issuer: Issuer,
}

impl Gate {
    fn new() -> Self {
        Self::with("")
    }

    /// With these lines in `[route.auth.jwt]` too.
    fn with(lines: &str) -> Self {
        let (echo, issuer) = (Echo::start(), Issuer::new());
        let setup = Setup::to(&[&echo]).with("log", "level = \"trace\"");
        let setup = asking(setup, &issuer).with("route.auth.jwt", lines);
        Self {
            proxy: Tidegate::start(&setup),
            echo,
            issuer,
        }
    }

    fn token(&self) -> String {
        self.issuer.token("ann", 600)
    }

    #[track_caller]
    fn admits(&self, request: &Request) -> Answer {
        let mut connection = self.proxy.connect();
        connection.send(request.bytes());
        let answer = connection.answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        connection.send_frame(&Frame::client(TEXT, "hello"));
        assert_eq!(connection.frame().text(), "hello");
        answer
    }

    #[track_caller]
    fn refuses(&self, case: &str, request: &Request) -> Answer {
        let before = self.echo.accepted();
        let answer = self.proxy.send(request.bytes());
        assert_eq!(answer.status, 401, "{case}: {answer:?}");
        assert_eq!(answer.body.trim_end().lines().count(), 1, "{case}");
        assert_eq!(
            self.echo.accepted(),
            before,
            "{case}: a backend heard of it"
        );
        answer
    }
}

fn asking(setup: Setup, issuer: &Issuer) -> Setup {
    setup.with("route.auth.jwt", &issuer.toml(EVERYWHERE))
}

fn bearer(token: &str) -> Request {
    Request::upgrade().with(format!("Authorization: Bearer {token}"))
}

#[test]
fn tokens_of_a_foreign_library_are_good_with_every_algorithm() {
    const ALGORITHMS: [&str; 12] = [
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
        "ES384", "EdDSA",
    ];
    let directory = tempfile::tempdir().unwrap();
    let library = root().join("tests/peers/node_modules/jose");
    assert!(library.exists(), "jose is missing: run `make deps`");
    let issued = Command::new("node")
        .arg(root().join("tests/peers/issue_jwt.mjs"))
        .arg(directory.path())
        .args(ALGORITHMS)
        .output()
        .unwrap();
    let tokens = String::from_utf8(issued.stdout).unwrap();
    let tokens: Vec<Value> = tokens
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(tokens.len(), ALGORITHMS.len());

    let echo = Echo::start();
    let setup = ALGORITHMS.iter().fold(Setup::to(&[&echo]), |setup, algorithm| {
        let key = if algorithm.starts_with("HS") { "secret_file" } else { "key_file" };
        let file = directory.path().join(algorithm);
        setup.route_before(&format!(
            "path = \"/{algorithm}\"\nupstream = \"echo\"\n\
             auth.jwt = {{ algorithms = \"{algorithm}\", {key} = \"{}\", issuer = \"jose\", audience = \"chat\" }}",
            file.display()
        ))
    });
    let proxy = Tidegate::start(&setup);
    for issued in &tokens {
        let token = issued["token"].as_str().unwrap();
        for algorithm in ALGORITHMS {
            let answer = proxy.send(bearer(token).target(format!("/{algorithm}")).bytes());
            let expected = if issued["alg"] == algorithm { 101 } else { 401 };
            assert_eq!(answer.status, expected, "{} at {algorithm}", issued["alg"]);
        }
        assert_eq!(field(&echo.last_head(), "x-tidegate-user"), Some("ann"));
    }
}

#[test]
fn a_token_is_taken_from_each_place_and_named_to_the_backend_alone() {
    let gate = Gate::new();
    let token = gate.token();
    let places = [
        bearer(&token),
        Request::upgrade().with(format!("Cookie: a=b; session={token}")),
        Request::upgrade().target(format!("/ws?a=1&token={token}&b=2")),
        Request::upgrade().with(format!("Sec-WebSocket-Protocol: bearer, {token}")),
    ];
    for request in places {
        let forged = request
            .with("X-Tidegate-User: root")
            .with("X_Tidegate_User: root");
        gate.admits(&forged);
        let head = gate.echo.last_head();
        assert_eq!(field(&head, "x-tidegate-user"), Some("ann"), "{head}");
        assert!(!head.contains("root"), "{head}");
    }
}

/// ATTACKS L10.
#[test]
fn a_token_in_query_or_subprotocol_goes_no_further() {
    let gate = Gate::new();
    let token = gate.token();
    gate.admits(&Request::upgrade().target(format!("/ws?a=1&to%6Ben={token}&b=2")));
    let head = gate.echo.last_head();
    assert!(head.starts_with("GET /ws?a=1&b=2 HTTP/1.1"), "{head}");
    // Also where another source has decided already.
    let both = bearer(&token)
        .target(format!("/ws?token={token}"))
        .with(format!("Sec-WebSocket-Protocol: chat, bearer, {token}, v2"));
    gate.admits(&both);
    let head = gate.echo.last_head();
    assert!(head.starts_with("GET /ws HTTP/1.1"), "{head}");
    assert_eq!(
        field(&head, "sec-websocket-protocol"),
        Some("chat, bearer, v2")
    );
}

#[test]
fn bearer_is_selected_unless_the_backend_selects_another() {
    for (line, selected) in [
        ("", "bearer"),
        ("Sec-WebSocket-Protocol: bearer\r\n", "bearer"),
        ("Sec-WebSocket-Protocol: chat\r\n", "chat"),
    ] {
        let issuer = Issuer::new();
        let backend = Backend::script(move |mut visit| {
            visit.accept(line);
            visit.hold();
        });
        let proxy = Tidegate::start(&asking(Setup::to(&[&backend]), &issuer));
        let offer = format!(
            "Sec-WebSocket-Protocol: bearer, {}, chat",
            issuer.token("ann", 60)
        );
        let answer = proxy.send(Request::upgrade().with(offer).bytes());
        assert_eq!(answer.status, 101, "{line}");
        assert_eq!(
            answer.headers("sec-websocket-protocol"),
            [selected],
            "{line}"
        );
    }
}

#[test]
fn who_shows_no_good_token_hears_401_and_no_backend_hears_of_it() {
    let gate = Gate::with("issuer = \"us\"\naudience = \"chat\"");
    let up = Request::upgrade;
    let claims = |changes: Value| {
        let mut claims = json!({ "sub": "ann", "iss": "us", "aud": "chat", "exp": now() + 600 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        gate.issuer.token_of(&claims)
    };
    let good = claims(json!({}));
    gate.admits(&bearer(&good));

    let missing = gate.refuses("no token", &up());
    assert_eq!(missing.header("www-authenticate"), Some("Bearer"));
    let basic = up().with("Authorization: Basic YTpi");
    assert_eq!(
        gate.refuses("Basic", &basic).header("www-authenticate"),
        Some("Bearer")
    );

    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let rows = [
        ("empty", bearer("")),
        ("no token at all", bearer("nonsense")),
        ("unsigned", bearer(&format!("{unsigned}."))),
        ("signed twice", bearer(&format!("{good}.{signature}"))),
        (
            "of another issuer's key",
            bearer(&Issuer::new().token("ann", 600)),
        ),
        ("expired", bearer(&claims(json!({ "exp": now() - 1 })))),
        ("without expiry", bearer(&claims(json!({ "exp": null })))),
        (
            "expiry as text",
            bearer(&claims(json!({ "exp": "9999999999" }))),
        ),
        (
            "not yet valid",
            bearer(&claims(json!({ "nbf": now() + 120 }))),
        ),
        (
            "issued in the future",
            bearer(&claims(json!({ "iat": now() + 120 }))),
        ),
        (
            "of another issuer",
            bearer(&claims(json!({ "iss": "them" }))),
        ),
        (
            "for another audience",
            bearer(&claims(json!({ "aud": ["games"] }))),
        ),
        (
            "two lines",
            bearer(&good).with(format!("Authorization: Bearer {good}")),
        ),
        (
            "bad header, good query",
            bearer("x").target(format!("/ws?token={good}")),
        ),
        (
            "two parameters",
            up().target(format!("/ws?token={good}&token={good}")),
        ),
        (
            "two cookies",
            up().with(format!("Cookie: session={good}; session={good}")),
        ),
        (
            "bearer without token",
            up().with("Sec-WebSocket-Protocol: bearer"),
        ),
        ("12 KB", bearer(&"a".repeat(12_000))),
    ];
    for (case, request) in &rows {
        let answer = gate.refuses(case, request);
        let challenge = answer.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer error=\"invalid_token\""), "{case}");
    }
    let plain = Request::get(&format!("/ws?token={}", good.to_lowercase()));
    gate.refuses("a plain request", &plain);
    gate.admits(&bearer(&good));
}

#[test]
fn the_token_is_asked_for_after_the_key_and_before_any_server() {
    let issuer = Issuer::new();
    let refusing = Backend::refusing();
    let setup =
        asking(Setup::to(&[&refusing]), &issuer).with("route.access", "origins = [\"https://a\"]");
    let proxy = Tidegate::start(&setup);
    let up = || Request::upgrade().with("Origin: https://a");
    for (request, status) in [
        (Request::upgrade().with("Origin: https://b"), 403),
        (up().but("Sec-WebSocket-Version: 8"), 426),
        (up().without("sec-websocket-key"), 400),
        (up(), 401),
        (
            bearer(&issuer.token("ann", 60)).with("Origin: https://a"),
            502,
        ),
    ] {
        assert_eq!(proxy.send(request.bytes()).status, status, "{request:?}");
    }
}

#[test]
fn a_plain_request_needs_the_token_too_and_a_preflight_or_a_redirect_does_not() {
    let gate = Gate::new();
    let target = format!("/ws?token={}&a=b", gate.token());
    let answer = gate
        .proxy
        .send(Request::get(&target).with("X-Tidegate-User: root").bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let head = gate.echo.last_head();
    assert!(head.starts_with("GET /ws?a=b HTTP/1.1"), "{head}");
    assert_eq!(field(&head, "x-tidegate-user"), Some("ann"));
    assert!(!head.contains("root"), "{head}");

    let issuer = Issuer::new();
    let jwt = format!(
        "auth.jwt = {{ {} }}",
        issuer.toml("\"header\"").replace('\n', ", ")
    );
    let setup = Setup::to(&["127.0.0.1:1"])
        .route_before(&format!("path = \"/own\"\nrespond = 204\n{jwt}"))
        .route_before(&format!("path = \"/old\"\nredirect = \"https\"\n{jwt}"));
    let proxy = Tidegate::start(&setup);
    let good = format!("Authorization: Bearer {}", issuer.token("ann", 60));
    let preflight = Request::get("/own")
        .line("OPTIONS /own HTTP/1.1")
        .with("Origin: https://a")
        .with("Access-Control-Request-Method: GET");
    for (request, status) in [
        (Request::get("/own"), 401),
        (Request::get("/own").with("Authorization: Bearer x"), 401),
        (Request::get("/own").with(good), 204),
        (preflight.clone(), 204),
        (preflight.without("origin"), 401),
        (Request::get("/old"), 308),
    ] {
        assert_eq!(proxy.send(request.bytes()).status, status, "{request:?}");
    }
}

#[test]
fn a_session_ends_with_its_token_and_stays_where_it_may() {
    let issuer = Issuer::new();
    let stage = Stage::of(|setup| asking(setup, &issuer));
    let mut client = stage.proxy.connect();
    client.send(bearer(&issuer.token("ann", 2)).bytes());
    assert_eq!(client.answer().status, 101);
    let mut backend = stage.arrival();
    assert_eq!(last_word(&mut client), Some(3000));
    assert_eq!(last_word(&mut backend), Some(1001));
    stage.ended(1.0, "token_expired");

    let gate = Gate::with("close_at_expiry = false");
    let expires = now() + 1;
    let mut client = gate.proxy.connect();
    client.send(bearer(&gate.issuer.token_of(&json!({ "exp": expires }))).bytes());
    assert_eq!(client.answer().status, 101);
    wait_until("the token's end", || now() > expires);
    client.send_frame(&Frame::client(TEXT, "still here"));
    assert_eq!(client.frame().text(), "still here");
}

#[test]
fn the_user_is_known_by_name_in_log_api_and_command() {
    let (echo, issuer) = (Echo::start(), Issuer::new());
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let setup = asking(Setup::to(&[&echo]), &issuer)
        .with("log", &format!("access = \"{}\"", log.display()));
    let proxy = Tidegate::start(&setup);
    let open = |user: &str| {
        let mut connection = proxy.connect();
        connection.send(bearer(&issuer.token(user, 600)).bytes());
        assert_eq!(connection.answer().status, 101);
        connection
    };
    let _held = [open("ann"), open("bob")];
    wait_until("two lines", || {
        let text = fs::read_to_string(&log).unwrap();
        [r#""user":"ann""#, r#""user":"bob""#]
            .iter()
            .all(|user| text.contains(user))
    });
    let listed = proxy.told_json(&["connections", "--user", "ann"]);
    let users: Vec<&Value> = listed["connections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["user"])
        .collect();
    assert_eq!(users, ["ann"]);
    assert_eq!(
        proxy.api("/api/v1/connections?user=nobody")["connections"],
        json!([])
    );
    assert!(proxy.told(&["connections"]).contains("bob"));
}

/// ATTACKS L14.
#[test]
fn a_hostile_name_breaks_neither_field_nor_log_nor_terminal() {
    let (echo, issuer) = (Echo::start(), Issuer::new());
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let setup = asking(Setup::to(&[&echo]), &issuer)
        .with("log", &format!("access = \"{}\"", log.display()));
    let proxy = Tidegate::start(&setup);
    let long = "x".repeat(4_000);
    let hostile = format!("a\r\nX-Evil: 1\0\u{1b}[31m\u{202e}\"<script>{long}");
    let mut connection = proxy.connect();
    connection.send(bearer(&issuer.token(&hostile, 600)).bytes());
    assert_eq!(connection.answer().status, 101);
    let head = echo.last_head();
    let named = field(&head, "x-tidegate-user").unwrap();
    let expected = format!("a%0D%0AX-Evil: 1%00%1B[31m%E2%80%AE\"<script>{long}");
    assert_eq!(named, expected);
    assert_eq!(field(&head, "x-evil"), None);
    let line = wait_for("its line", || {
        let text = fs::read_to_string(&log).unwrap();
        text.lines().next().map(str::to_owned)
    });
    assert!(
        line.bytes().all(|byte| matches!(byte, b' '..=b'~')),
        "{line}"
    );
    let line: Value = serde_json::from_str(&line).unwrap();
    let user = line["user"].as_str().unwrap();
    assert!(
        user.starts_with("a\r\nX-Evil") && user.ends_with('…'),
        "{user}"
    );
    let table = proxy.told(&["connections"]);
    assert!(
        !table.contains(['\u{1b}', '\r', '\0', '\u{202e}']),
        "{table:?}"
    );
    assert_eq!(table.lines().count(), 2, "{table}");
}

/// ATTACKS L10; no secret at any level, in any place.
#[test]
fn no_log_metric_or_answer_shows_a_token_a_cookie_or_a_payload() {
    let (echo, issuer) = (Echo::start(), Issuer::new());
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let setup = asking(Setup::to(&[&echo]), &issuer).with(
        "log",
        &format!("level = \"trace\"\naccess = \"{}\"", log.display()),
    );
    let proxy = Tidegate::start(&setup);
    let good = issuer.token("ann", 600);
    let bad = format!("{}x", issuer.token("bob", 600));
    let mut answers = String::new();
    let mut held = Vec::new();
    for token in [&good, &bad] {
        for request in [
            bearer(token),
            Request::upgrade().with(format!("Cookie: session={token}; other=hunter2")),
            Request::upgrade().target(format!("/ws?token={token}&password=hunter2")),
            Request::upgrade().with(format!("Sec-WebSocket-Protocol: bearer, {token}")),
            // Those that are not even understood.
            Request::upgrade().target(format!("/../ws?token={token}")),
            Request::upgrade().target(format!("http://hunter2:{token}@a/ws")),
            bearer(token).but("Sec-WebSocket-Version: 8"),
            bearer(token).with(format!("Host: {token}")),
        ] {
            let mut connection = proxy.connect();
            connection.send(request.bytes());
            let answer = connection.answer();
            if answer.status == 101 {
                connection.send_frame(&Frame::client(TEXT, "hunter2 in a payload"));
                assert_eq!(connection.frame().text(), "hunter2 in a payload");
            }
            answers.push_str(&answer.body);
            held.push(connection);
        }
    }
    let api = proxy.api("/api/v1/connections").to_string();
    let metrics = proxy.admin("GET /metrics").body;
    drop(held);
    wait_until("four ends", || {
        let text = fs::read_to_string(&log).unwrap();
        text.matches(r#""event":"close""#).count() == 4
    });
    let access = fs::read_to_string(&log).unwrap();
    let secrets = good.split('.').chain(bad.split('.')).skip(1);
    for secret in secrets.chain(["hunter2"]) {
        for (place, text) in [
            ("the log", &proxy.log().text()),
            ("the access log", &access),
            ("the API", &api),
            ("the metrics", &metrics),
            ("an answer", &answers),
        ] {
            assert!(!text.contains(secret), "{secret} in {place}:\n{text}");
        }
    }
}

#[test]
fn a_reload_takes_another_key_and_leaves_live_sessions_alone() {
    let mut gate = Gate::new();
    let old = gate.token();
    let mut live = gate.proxy.connect();
    live.send(bearer(&old).bytes());
    assert_eq!(live.answer().status, 101);
    gate.issuer.change_key();
    gate.proxy.reload();
    gate.refuses("the old key", &bearer(&old));
    gate.admits(&bearer(&gate.token()));
    live.send_frame(&Frame::client(TEXT, "untouched"));
    assert_eq!(live.frame().text(), "untouched");
}

#[test]
fn a_key_that_does_not_fit_is_told_at_its_key() {
    let directory = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ed = issuer.file().display().to_string();
    let rows = [
        (
            format!("algorithms = \"ES256\", key_file = \"{ed}\""),
            "jwt.pem is no key for ES256, which takes an elliptic curve key on P-256",
        ),
        (
            format!("algorithms = \"RS256\", key_file = \"{ed}\""),
            "jwt.pem is no key for RS256, which takes an RSA key of 2048 to 8192 bits",
        ),
        (
            format!(
                "algorithms = \"EdDSA\", key_file = \"{}\"",
                file("empty.pem", "")
            ),
            "empty.pem holds no public key",
        ),
        (
            format!(
                "algorithms = \"HS256\", secret_file = \"{}\"",
                file("empty", "\n")
            ),
            "empty is no key for HS256, which takes a secret",
        ),
        (
            "algorithms = \"EdDSA\", key_file = \"gone.pem\"".to_owned(),
            "gone.pem can't be read",
        ),
    ];
    for (jwt, expected) in rows {
        let toml = format!(
            "[listener.public]\nbind = \"127.0.0.1:0\"\n[[route]]\nname = \"chat\"\nrespond = 404\n\
             auth.jwt = {{ {jwt} }}\n"
        );
        let config = file("tidegate.toml", &toml);
        let output = tidegate(&["check", "-c", &config]);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{jwt}");
        let place = format!("{config}:6:");
        assert!(
            errors.starts_with(&place) && errors.contains("route.chat.auth.jwt."),
            "{errors}"
        );
        assert!(errors.contains(expected), "{errors}");
    }
}

#[test]
fn four_hundred_bad_tokens_at_once_leave_good_ones_their_time() {
    let gate = Gate::new();
    let bad = format!("{}x", gate.token());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(gate.proxy.send(bearer(&bad).bytes()).status, 401);
                }
            });
        }
        for _ in 0..10 {
            gate.admits(&bearer(&gate.token()));
        }
    });
}
