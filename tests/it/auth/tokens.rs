//! Which tokens let in, from which places, and what goes on of them.

use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::support::backend::field;
use crate::support::peers::root;
use crate::support::tokens::{Issuer, now};
use crate::support::{Backend, Echo, Request, Setup, Tidegate};

use super::{Gate, asking, bearer};

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
