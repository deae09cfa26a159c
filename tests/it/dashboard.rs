//! The dashboard and its WebSocket (CONTRACT section 5, `GET /`).

use std::fs;

use serde_json::Value;

use crate::support::frame::{CLOSE, Frame, PING, PONG, TEXT};
use crate::support::swarm::Swarm;
use crate::support::wait::wait_for;
use crate::support::{Answer, Connection, Echo, Page, Request, Setup, Tidegate};

/// A good handshake of the dashboard's own.
fn handshake() -> Request {
    Request::upgrade()
        .target("/api/v1/live")
        .but("Host: localhost")
}

fn ask(proxy: &Tidegate, request: &Request) -> (Connection, Answer) {
    let mut connection = Connection::open(proxy.listener("admin"));
    connection.send(request.bytes());
    let answer = connection.answer();
    (connection, answer)
}

fn watch(proxy: &Tidegate) -> Connection {
    let (connection, answer) = ask(proxy, &handshake());
    assert_eq!(answer.status, 101, "{answer:?}");
    connection
}

/// The next state that it is told.
fn state(dashboard: &mut Connection) -> Value {
    loop {
        let frame = dashboard.frame();
        if frame.opcode == TEXT {
            return serde_json::from_str(frame.text()).unwrap();
        }
        assert_eq!(frame.opcode, PING);
    }
}

#[test]
fn the_page_and_its_parts_are_for_everybody_and_come_with_a_strict_policy() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    for (path, media) in [
        ("/", "text/html; charset=utf-8"),
        ("/dashboard.css", "text/css; charset=utf-8"),
        ("/dashboard.js", "text/javascript; charset=utf-8"),
    ] {
        let request = Request::get(path).but("Host: edge1.example");
        let (_, answer) = ask(&proxy, &request);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(media));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }
}

#[test]
fn who_watches_sees_the_past_at_once_and_the_state_each_second() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let mut socket = proxy.websocket("/");
    proxy.send(Request::upgrade().but("Sec-WebSocket-Version: 8").bytes());
    let mut dashboard = watch(&proxy);
    let first = state(&mut dashboard);
    assert!(first["history"].is_array(), "{first}");
    assert_eq!(
        first["upstreams"][0]["servers"][0]["address"],
        echo.to_string()
    );
    let state = wait_for("the figures", || {
        socket.echo("something to count");
        let state = state(&mut dashboard);
        let talker = state["talkers"][0]["bytes"][0].as_u64();
        let counted = state["sample"]["messages"][0].as_f64() > Some(0.0)
            && state["statuses"]["426"] == 1
            && talker > Some(0);
        counted.then_some(state)
    });
    assert!(state["history"].is_null());
    assert_eq!(state["sample"]["websockets"], 1);
    assert_eq!(state["talkers"][0]["client"], "127.0.0.1");
    socket.close();
    wait_for("the end", || {
        let state = self::state(&mut dashboard);
        (state["ends"]["client_close"] == 1).then_some(())
    });
    let later = self::state(&mut watch(&proxy));
    let history = later["history"].as_array().unwrap();
    let seen = |key: &str| {
        history
            .iter()
            .any(|sample| sample[key].as_f64() > Some(0.0))
    };
    assert!(
        seen("refused") && seen("ended") && seen("opened"),
        "{history:?}"
    );
}

#[test]
fn its_handshake_is_checked_like_those_of_clients() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    let own = format!("Origin: http://{}", proxy.listener("admin"));
    let host = format!("Host: {}", proxy.listener("admin"));
    for (request, status) in [
        (handshake(), 101),
        (handshake().but(host).with(own), 101),
        (handshake().without("Upgrade"), 426),
        (handshake().but("Sec-WebSocket-Version: 8"), 426),
        (handshake().but("Sec-WebSocket-Key: short"), 400),
        (handshake().but("Connection: close"), 400),
        (handshake().with("Origin: http://evil.example"), 403),
        (handshake().with("Origin: null"), 403),
        (handshake().but("Host: rebound.example"), 403),
    ] {
        let (_, answer) = ask(&proxy, &request);
        assert_eq!(answer.status, status, "{request:?}");
    }
}

#[test]
fn the_token_opens_it_under_any_host_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin.token");
    fs::write(&file, "open-sesame\n").unwrap();
    let token = format!("token_file = \"{}\"", file.to_str().unwrap());
    let proxy = Tidegate::start(&Setup::to(&[Echo::start()]).with("admin", &token));
    let named = || handshake().but("Host: edge1.example:9900");
    let with = |token| named().with(format!("Sec-WebSocket-Protocol: bearer, {token}"));
    for (request, status, protocol) in [
        (named(), 403, None),
        (with("wrong"), 403, None),
        (with("open-sesame"), 101, Some("bearer")),
        (handshake(), 101, None),
    ] {
        let (_, answer) = ask(&proxy, &request);
        assert_eq!(answer.status, status, "{request:?}");
        assert_eq!(answer.header("sec-websocket-protocol"), protocol);
    }
}

#[test]
fn sixteen_may_watch_and_one_that_leaves_makes_room() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    let mut watching: Vec<_> = (0..16).map(|_| watch(&proxy)).collect();
    let (_, answer) = ask(&proxy, &handshake());
    assert_eq!(answer.status, 503);
    assert_eq!(proxy.admin("GET /healthz").status, 200);
    let close = Frame::client(CLOSE, Frame::close_payload(1000, ""));
    watching[0].send_frame(&close);
    wait_for("a place", || {
        let (_, answer) = ask(&proxy, &handshake());
        (answer.status == 101).then_some(())
    });
}

#[test]
fn what_it_says_is_answered_as_rfc_6455_demands() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    let mut dashboard = watch(&proxy);
    dashboard.send_frame(&Frame::client(TEXT, "dropped"));
    dashboard.send_frame(&Frame::client(PING, "alive?"));
    let mut hear = |opcode| {
        wait_for("an answer", || {
            let frame = dashboard.frame();
            (frame.opcode == opcode).then_some(frame)
        })
    };
    assert_eq!(hear(PONG).text(), "alive?");
    let mut rude = watch(&proxy);
    rude.send_frame(&Frame::server(TEXT, "not masked"));
    let close = wait_for("a Close", || {
        let frame = rude.frame();
        (frame.opcode == CLOSE).then_some(frame)
    });
    assert_eq!(close.close_code(), Some(1002));
    rude.expect_end();
}

#[test]
fn watching_two_thousand_sessions_costs_less_than_a_twentieth_of_a_core() {
    let echo = Echo::start();
    let proxy = Tidegate::in_front_of(&[&echo]);
    let swarm = Swarm::open(proxy.address(), 2_000, None);
    let mut dashboard = watch(&proxy);
    wait_for("all of them", || {
        (state(&mut dashboard)["sample"]["websockets"] == 2_000).then_some(())
    });
    let cores = |_| state(&mut dashboard)["sample"]["cpu"].as_f64().unwrap();
    let mean = (0..5).map(cores).sum::<f64>() / 5.0;
    assert!(mean < 0.05, "{mean} cores");
    swarm.finish().assert_flawless();
}

fn open_page(proxy: &Tidegate) -> Page {
    Page::open(&format!("http://{}/", proxy.listener("admin")))
}

#[test]
fn in_a_browser_the_page_follows_what_happens_and_its_button_drains() {
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]).with("upstream.echo", "drain = \"1s\""));
    let swarm = Swarm::open(
        proxy.address(),
        40,
        Some(std::time::Duration::from_millis(50)),
    );
    let mut page = open_page(&proxy);
    page.wait_until("document.querySelector('#tiles dd')?.innerText === '40'");
    page.wait_until("latest.sample.messages[0] > 0 && samples.length > 2");
    page.wait_until("document.querySelectorAll('#talkers li i').length > 1");
    assert_eq!(page.text("#state"), "ready");
    assert_eq!(page.text("#verdict span"), "Nothing.");
    page.wait_until("plots[0].lines[0].getAttribute('d').length > 20");

    let button = format!("[aria-label='Drain {a} of echo']");
    page.press(&button);
    page.wait_until("document.querySelector('#drain').open");
    page.press("#drain [value=no]");
    page.press(&button);
    page.press("#drain [value=yes]");
    proxy.wait_for_held(&[0, 20]);
    let ready = format!("[aria-label='Take back {a} of echo']");
    page.wait_until(&format!("document.querySelector(\"{ready}\") !== null"));
    page.wait_until("document.querySelector('#ends').innerText.includes('server_drain')");
    page.press(&ready);
    page.wait_until(&format!("document.querySelector(\"{button}\") !== null"));
    page.assert_faultless();
    drop(swarm);
}

#[test]
fn the_page_is_light_and_dark_fits_a_phone_and_is_led_by_keys() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    let mut page = open_page(&proxy);
    page.wait_until("samples.length > 1");
    let ground = "getComputedStyle(document.body).backgroundColor";
    page.ask("scheme light");
    let light = page.ask(ground);
    page.ask("scheme dark");
    assert_ne!(page.ask(ground), light);
    page.ask("width 360");
    page.wait_until("document.documentElement.scrollWidth <= 360");
    let nameless = "[...document.querySelectorAll('button, input, section, dialog, svg')]\
        .filter((one) => !one.ariaLabel && !one.labels?.length && !one.innerText?.trim() \
            && !one.hasAttribute('aria-labelledby')).length";
    assert_eq!(page.ask(nameless), 0);
    page.ask("document.querySelector('figure').focus()");
    page.ask("key ArrowLeft");
    page.wait_until("document.querySelector('figure small').innerText.includes(':')");
    page.ask("key Escape");
    page.wait_until("document.querySelector('figure small').innerText === ''");
    page.assert_faultless();
}

#[test]
fn what_looks_like_markup_is_shown_as_it_is() {
    let proxy = Tidegate::in_front_of(&[Echo::start()]);
    let mut page = open_page(&proxy);
    page.wait_until("latest !== null");
    let name = "<img src=x onerror=alert(1)>";
    let shown = page.ask(&format!(
        "latest.upstreams[0].name = latest.upstreams[0].servers[0].address = {name:?}; \
         latest.ends = {{ {name:?}: 1 }}; latest.version = {name:?}; render(); \
         [document.body.innerText.split({name:?}).length, document.querySelectorAll('img').length]"
    ));
    assert_eq!(shown, serde_json::json!([5, 0]));
    page.assert_faultless();
}

#[test]
fn with_a_token_set_the_page_asks_for_it_and_keeps_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("admin.token");
    fs::write(&file, "open-sesame\n").unwrap();
    let token = format!("token_file = \"{}\"", file.to_str().unwrap());
    let [a, b] = Echo::start_many::<2>();
    let proxy = Tidegate::start(&Setup::to(&[&a, &b]).with("admin", &token));
    let mut page = open_page(&proxy);
    let button = format!("[aria-label='Drain {a} of echo']");
    page.wait_until(&format!("document.querySelector(\"{button}\") !== null"));
    page.press(&button);
    page.press("#drain [value=yes]");
    page.wait_until("document.querySelector('#token').open");
    page.ask("document.querySelector('#token-value').value = 'open-sesame'");
    page.ask("document.querySelector('#token-value').focus()");
    page.ask("key Enter");
    let ready = format!("[aria-label='Take back {a} of echo']");
    page.wait_until(&format!("document.querySelector(\"{ready}\") !== null"));
    page.ask("reload");
    page.wait_until(&format!("document.querySelector(\"{ready}\") !== null"));
    page.press(&ready);
    page.wait_until(&format!("document.querySelector(\"{button}\") !== null"));
}
