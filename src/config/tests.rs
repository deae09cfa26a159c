//! Reading as a whole: no text panics, what is dumped is read again, tables inherit and merge.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;

use super::model::{Action, Config};
use super::{defaults, dump, load, parse};
use crate::logic::balance;
use crate::logic::route::Accept;

const EVERY_KEY: &str = include_str!("../../tests/config/ok/every-key.toml");
const INHERITANCE: &str = include_str!("../../tests/config/ok/inheritance.toml");

fn good(text: &str) -> Config {
    parse(text, "test.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn errors(text: &str) -> String {
    parse(text, "test.toml")
        .expect_err("it is wrong")
        .to_string()
}

#[test]
fn every_key_is_written_as_it_was_read() {
    let (_, text) = EVERY_KEY.split_once("\n\n").unwrap();
    assert_eq!(dump(&good(text)), text);
}

#[test]
fn a_section_has_what_the_defaults_say_unless_it_says_otherwise() {
    let config = good(INHERITANCE);
    let [public, private] = config.listeners.as_slice() else {
        panic!("two listeners")
    };
    assert_eq!(public.header_timeout, Duration::from_secs(5));
    assert_eq!(private.header_timeout, Duration::from_secs(1));
    assert_eq!(private.trusted_proxies.len(), 1);

    let [a, b] = config.routes.as_slice() else {
        panic!("two routes")
    };
    assert_eq!((a.accept, b.accept), (Accept::WebSocket, Accept::Both));
    assert_eq!(
        a.websocket.session.ping_interval,
        Some(Duration::from_secs(10))
    );
    assert_eq!(b.websocket.session.ping_interval, None);
    assert_eq!(b.websocket.session.max_frame_bytes, 1 << 20);
    assert_eq!(
        b.websocket.session.max_message_bytes,
        defaults::MESSAGE_BYTES
    );

    let [a, b] = config.upstreams.as_slice() else {
        panic!("two upstreams")
    };
    assert_eq!(a.balance, balance::Kind::LeastConn);
    assert!(a.health_check.is_some() && b.health_check.is_none());
}

#[test]
fn routes_that_inherit_everything_share_it() {
    let config = good(
        "[listener.a]\nbind = '[::]:0'\n[[route]]\npath = '/a'\nrespond = 404\n\
         [[route]]\npath = '/b'\nrespond = 404\n",
    );
    let [a, b] = config.routes.as_slice() else {
        panic!("two routes")
    };
    assert!(std::sync::Arc::ptr_eq(&a.websocket, &b.websocket));
}

#[test]
fn a_route_without_a_name_is_called_by_host_and_path() {
    let config = good(
        "[listener.a]\nbind = '[::]:0'\n\
         [[route]]\nhost = ['WS.example.com', 'b.example.com']\npath = '/ws'\nrespond = 404\n\
         [[route]]\nhost = '*.example.com'\npath = '=/x'\nredirect = 'https'\n\
         [[route]]\nrespond = 404\n",
    );
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["ws.example.com/ws", "*.example.com=/x", "/"]);
    assert_eq!(config.routes[1].action, Action::RedirectHttps);
}

#[test]
fn included_routes_come_first_and_names_may_be_split_over_files() {
    let config = load("tests/config/ok/include.toml".as_ref()).unwrap();
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(names, ["chat", "games", "last"]);
    assert_eq!(config.files.len(), 3);
    assert_eq!(
        config.directories,
        [std::path::Path::new("tests/config/ok/conf.d")]
    );
}

#[test]
fn relative_names_are_relative_to_the_file_that_names_them() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("[sub]")).unwrap();
    let main = directory.path().join("main.toml");
    fs::write(
        &main,
        "include = '[[]sub]/*.toml'\n[listener.a]\nbind = '[::]:0'\n",
    )
    .unwrap();
    let tls = "[listener.a.tls]\ncertificates = { cert = 'a.crt', key = '/a.key' }\n";
    fs::write(directory.path().join("[sub]/tls.toml"), tls).unwrap();
    fs::write(directory.path().join("[sub]/.hidden.toml"), "nonsense").unwrap();

    let config = load(&main).unwrap_or_else(|errors| panic!("{errors}"));
    let certificate = &config.listeners[0].tls.as_ref().unwrap().certificates[0];
    assert_eq!(certificate.cert, directory.path().join("[sub]/a.crt"));
    assert!(
        config.files.contains(&certificate.key),
        "{:?}",
        config.files
    );

    let problem = config
        .provenance
        .problem_with_file(&certificate.key, "is no key")
        .to_string();
    assert!(
        problem.ends_with("tls.toml:2:40: listener.a.tls.certificates.key = '/a.key': is no key"),
        "{problem}"
    );
}

#[test]
fn a_table_from_the_defaults_is_checked_where_it_is_used() {
    let text = "[defaults.listener.tls]\nclient_auth = 'require'\n[listener.a]\nbind = '[::]:0'\n";
    assert_eq!(
        errors(text),
        "test.toml:1:1: listener.a.tls: has no certificates \
         (write certificates = [{ cert = \"a.crt\", key = \"a.key\" }])\n\
         test.toml:3:1: listener.a.tls.client_auth: needs a client_ca \
         (write client_ca = \"clients.pem\")"
    );
}

#[test]
fn the_default_admin_address_counts_as_taken() {
    let text = "[listener.a]\nbind = '127.0.0.1:9900'\n";
    assert!(errors(text).starts_with("test.toml:1:1: admin.bind: is already taken at"));
    good(&format!("{text}[admin]\nbind = 'off'\n"));
}

#[test]
fn a_key_that_does_not_act_may_be_switched_off() {
    good(
        "[listener.a]\nbind = '[::]:0'\nproxy_protocol = 'off'\n[log]\naccess = 'off'\n\
         [upstream.u]\nservers = 'a:1'\nslow_start = '0s'\nkeepalive = 0\nmax_handshakes = 0\n",
    );
}

#[test]
fn more_problems_than_anyone_reads_are_counted() {
    let lines: String = (0..5000).map(|i| format!("k{i} = 1\n")).collect();
    let errors = errors(&format!("[server]\n{lines}"));
    assert_eq!(errors.lines().count(), defaults::MAX_PROBLEMS + 1);
    assert!(
        errors.ends_with("and 4001 more"),
        "{}",
        errors.lines().last().unwrap()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_text_panics(text in "([a-z\\[\\]{}=.,\"'\\\\\n #0-9$-]|\\PC){0,200}") {
        let _ = parse(&text, "any.toml");
    }

    #[test]
    fn no_change_to_a_good_text_panics(at in 0..EVERY_KEY.len(), length in 0..40usize, new in "\\PC{0,8}") {
        let mut text = EVERY_KEY.as_bytes().to_vec();
        text.splice(at..(at + length).min(EVERY_KEY.len()), new.bytes());
        if let Ok(config) = parse(&String::from_utf8_lossy(&text), "changed.toml") {
            let dumped = dump(&config);
            let again = parse(&dumped, "dump.toml");
            prop_assert_eq!(again.map(|again| dump(&again)).map_err(|errors| errors.to_string()), Ok(dumped));
        }
    }

    #[test]
    fn what_is_dumped_is_read_again(
        idle in 1..100_000_000u64,
        frame in 125..1u64 << 40,
        weight in 1..=u16::MAX,
        rate in 1..u64::MAX,
        burst in 1..u64::MAX,
        header in "[ -~]{0,20}",
        port in 1..=u16::MAX,
    ) {
        let header = toml_string(header.trim());
        let text = format!(
            "[listener.a]\nbind = '[::1]:{port}'\n[[route]]\nupstream = 'u'\n\
             [route.websocket]\nidle_timeout = '{idle}ms'\nmax_frame = {frame}\n\
             client_bytes = '{rate}/s burst {burst}'\n[route.headers]\nset = {{ X-A = {header} }}\n\
             [upstream.u]\nservers = [{{ address = 'a.b:{port}', weight = {weight} }}]\n"
        );
        let config = good(&text);
        prop_assert_eq!(good(&dump(&config)), config);
    }
}

fn toml_string(text: &str) -> String {
    format!(
        "\"{}\"",
        text.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace("${", "$${")
    )
}
