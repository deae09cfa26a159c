//! What becomes of the session that a token opened, and who hears of its user.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::backend::field;
use crate::support::frame::{Frame, TEXT};
use crate::support::stage::last_word;
use crate::support::tokens::{Issuer, now};
use crate::support::wait::{wait_for, wait_until};
use crate::support::{Echo, Request, Setup, Stage, Tidegate};

use super::{Gate, asking, bearer};

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

/// A proxy that asks for tokens and writes an access log.
fn logging_to(log: &Path, echo: &Echo, issuer: &Issuer) -> Tidegate {
    let setup = asking(Setup::to(&[echo]), issuer);
    Tidegate::start(&setup.with("log", &format!("access = \"{}\"", log.display())))
}

#[test]
fn the_user_is_known_by_name_in_log_api_and_command() {
    let (echo, issuer) = (Echo::start(), Issuer::new());
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("access.log");
    let proxy = logging_to(&log, &echo, &issuer);
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
    let proxy = logging_to(&log, &echo, &issuer);
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
