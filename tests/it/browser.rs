//! A page in a real browser, headless Chromium, with everything of its origin behind the proxy: its
//! sockets, their ends (CONTRACT section 4), its requests and its events.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::backend::Visit;
use crate::support::certificates::{Authority, Certificate};
use crate::support::frame::{CLOSE, Frame, TEXT};
use crate::support::peers::Library::Node;
use crate::support::peers::Server;
use crate::support::stage::last_word;
use crate::support::{Backend, Browser, Setup, Tidegate};

/// A site behind a proxy that speaks TLS.
struct Site {
    proxy: Tidegate,
    server: Server,
    certificate: Certificate,
    _authority: Authority,
}

impl Site {
    /// With this change to the configuration.
    fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let authority = Authority::new();
        let certificate = authority.issue(&["localhost"]);
        let server = Node.server("web_server", &[]);
        let tls = format!("certificates = [{}]", certificate.toml());
        let setup = Setup::to(&[&server])
            .with("listener.public.tls", &tls)
            .with("upstream.echo", "drain = \"0s\"");
        Self {
            proxy: Tidegate::start(&change(setup)),
            server,
            certificate,
            _authority: authority,
        }
    }

    fn visit(&self) -> Browser {
        let url = format!("https://localhost:{}/page", self.proxy.address().port());
        Browser::open(&url, &self.certificate)
    }
}

/// What a page sees of a Close with this code and reason.
fn clean(code: u64, reason: &str) -> Value {
    json!({ "code": code, "reason": reason, "wasClean": true })
}

#[test]
fn a_page_exchanges_text_and_binary_up_to_a_mebibyte() {
    let site = Site::with(|setup| setup);
    let mut page = site.visit();
    page.runs("open('/ws')");
    assert_eq!(page.runs("socket.extensions"), "permessage-deflate");
    assert_eq!(page.runs("talks()"), "all");
    page.runs("socket.close(4001, 'enough')");
    assert_eq!(page.runs("closed()"), clean(4001, "enough"));
}

#[test]
fn a_page_fetches_and_hears_events_from_the_origin_of_its_socket() {
    let site = Site::with(|setup| setup);
    let mut page = site.visit();
    page.runs("open('/ws')");
    assert_eq!(
        page.runs("fetch('/hello').then((answer) => answer.text())"),
        "hello"
    );
    let post = "fetch('/sum', { method: 'POST', body: 'x'.repeat(1 << 20) })\
                .then((answer) => answer.json()).then(({ length }) => length)";
    assert_eq!(page.runs(post), 1 << 20);
    let events = json!(["1 event 1", "2 event 2", "3 event 3"]);
    assert_eq!(page.runs("events('page')"), events);
    assert_eq!(page.runs("echoes('still here')"), true);
}

/// Each row of the table that a browser can stand at the end of: where the page opens its socket,
/// what it does there, and the code it sees.
const ENDS: [(&str, &str, u64); 8] = [
    ("/idle", "'nothing'", 1001),
    ("/lifetime", "'nothing'", 1012),
    // Chance does not compress.
    (
        "/small",
        "socket.send(crypto.getRandomValues(new Uint8Array(4096)))",
        1009,
    ),
    ("/seldom", "[...Array(9)].map(() => socket.send('x'))", 1008),
    ("/vanishing", "'nothing'", 1014),
    ("/lying", "'nothing'", 1014),
    ("/leaving", "'nothing'", 3999),
    ("/ws", "socket.close()", 1005),
];

#[test]
fn a_page_sees_the_code_of_every_end() {
    let vanishing = Backend::accepting(drop);
    let lying = Backend::accepting(|visit| speak(visit, &Frame::client(TEXT, "masked")));
    let leaving = Frame::server(CLOSE, Frame::close_payload(3999, "as asked"));
    let leaving = Backend::accepting(move |visit| speak(visit, &leaving));
    let site = Site::with(|setup| {
        setup
            .route_before(&limited("idle", "idle_timeout = \"1s\""))
            .route_before(&limited("lifetime", "max_lifetime = \"1s\""))
            .route_before(&limited("small", "max_message = \"1KiB\""))
            .route_before(&limited("seldom", "client_messages = \"1/s burst 2\""))
            .route_before("path = \"/vanishing\"\nupstream = \"vanishing\"")
            .route_before("path = \"/lying\"\nupstream = \"lying\"")
            .route_before("path = \"/leaving\"\nupstream = \"leaving\"")
            .with("upstream.vanishing", &servers(&vanishing))
            .with("upstream.lying", &servers(&lying))
            .with("upstream.leaving", &servers(&leaving))
    });
    let mut page = site.visit();
    for (path, act, code) in ENDS {
        page.runs(&format!("open('{path}')"));
        page.runs(act);
        let end = page.runs("closed()");
        assert_eq!(end["code"], code, "{path}: {end}");
        assert_eq!(end["wasClean"], true, "{path}: {end}");
    }
}

/// A route to the site whose sockets have this limit.
fn limited(name: &str, limit: &str) -> String {
    format!("path = \"/{name}\"\nupstream = \"echo\"\nwebsocket = {{ {limit} }}")
}

fn servers(backend: &Backend) -> String {
    format!("servers = [\"{backend}\"]")
}

/// Says this and waits for the end.
fn speak(mut visit: Visit, frame: &Frame) {
    visit.connection.send_frame(frame);
    last_word(&mut visit.connection);
}

#[test]
fn a_page_sees_the_operators_hand() {
    let mut site = Site::with(|setup| setup.with("server", "shutdown_grace = \"2s\""));
    let mut page = site.visit();
    page.runs("open('/ws')");
    let id = site.proxy.told_json(&["connections"])["connections"][0]["id"].to_string();
    site.proxy
        .told(&["connections", "--kill", id.trim_matches('"')]);
    assert_eq!(page.runs("closed()")["code"], 1008);
    page.runs("open('/ws')");
    site.proxy
        .told(&["server", &format!("echo/{}", site.server), "drain"]);
    assert_eq!(page.runs("closed()")["code"], 1012);
    site.proxy
        .told(&["server", &format!("echo/{}", site.server), "ready"]);
    page.runs("open('/ws')");
    site.proxy.signal(Signal::TERM);
    assert_eq!(page.runs("closed()"), clean(1001, ""));
    site.proxy.wait_for_exit();
}

/// The key that the browser was told of is the proxy's, and it takes no other.
#[test]
fn a_page_does_not_load_from_a_proxy_with_another_certificate() {
    let site = Site::with(|setup| setup);
    let authority = Authority::new();
    let other = authority.issue(&["localhost"]);
    let url = format!("https://localhost:{}/page", site.proxy.address().port());
    let refusal = Browser::fails_to_open(&url, &other);
    assert!(refusal.contains("ERR_CERT_AUTHORITY_INVALID"), "{refusal}");
}
