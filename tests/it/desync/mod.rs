//! Requests that two parsers could end in different places, in front of servers that nobody here
//! wrote: what is ambiguous is answered 400 and reaches none, what is legal and often misread does no
//! harm to who comes next.

mod attacks;

use std::any::Any;

use crate::support::Tidegate;
use crate::support::log::Log;
use crate::support::nginx::Nginx;
use crate::support::peers::Library::{Node, Python};
use crate::support::reply::Reply;
use attacks::{CHUNKS, HEADS, LENGTHS, SMUGGLED, legal};

/// A server behind the proxy that tells what it took.
struct Scene {
    proxy: Tidegate,
    log: Log,
    mark: usize,
    canaries: usize,
    _server: Box<dyn Any>,
}

impl Scene {
    fn node() -> Self {
        let server = Node.server("mirror", &[]);
        let log = server.program.told().clone();
        Self::with(&server.to_string(), log, server)
    }

    fn aiohttp() -> Self {
        let server = Python.server("mirror", &[]);
        let log = server.program.told().clone();
        Self::with(&server.to_string(), log, server)
    }

    /// It answers without waiting for a body, and throws that away after.
    fn nginx() -> Self {
        let server = Nginx::with("return 200 $request_uri;");
        let log = server.program.told().clone();
        Self::with(&server.to_string(), log, server)
    }

    fn with(address: &str, log: Log, server: impl Any) -> Self {
        Self {
            proxy: Tidegate::in_front_of(&[address]),
            log,
            mark: 0,
            canaries: 0,
            _server: Box::new(server),
        }
    }

    /// What the server took since the last call. A request that is beyond doubt follows on a
    /// connection of its own, and must get its own answer.
    #[track_caller]
    fn taken(&mut self, after: &str) -> Vec<String> {
        self.canaries += 1;
        let target = format!("/canary/{}", self.canaries);
        let mut connection = self.proxy.connect();
        connection.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let reply = Reply::read(&mut connection, "GET").expect("an answer");
        let got = (
            reply.status,
            String::from_utf8_lossy(&reply.body).into_owned(),
        );
        assert_eq!(got, (200, target.clone()), "after {after:?}");
        self.log.wait_for(self.mark, &target, |line| {
            line.str("target") == Some(&target)
        });
        let taken = targets_since(&self.log, self.mark);
        self.mark = self.log.mark();
        taken.into_iter().filter(|other| *other != target).collect()
    }

    /// Nothing but canaries ever got to the server, however late it tells.
    #[track_caller]
    fn took_canaries_only(mut self) {
        assert_eq!(self.taken("all"), Vec::<String>::new());
        let taken = targets_since(&self.log, 0);
        assert!(
            taken.iter().all(|target| target.starts_with("/canary/")),
            "{taken:?}"
        );
    }

    /// What is sent gets one answer, 400, and nothing of it becomes a request at the server.
    #[track_caller]
    fn refuses(&mut self, wire: &str) {
        let answer = self.answer_to(wire);
        assert!(answer.starts_with("HTTP/1.1 400 "), "{wire:?}: {answer:?}");
        assert!(
            answer.to_ascii_lowercase().contains("connection: close"),
            "{wire:?}: {answer:?}"
        );
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{wire:?}: {answer:?}"
        );
        assert_eq!(self.taken(wire), Vec::<String>::new(), "{wire:?}");
    }

    /// Everything that comes back until the connection ends.
    #[track_caller]
    fn answer_to(&self, wire: &str) -> String {
        let mut connection = self.proxy.connect();
        connection.send(latin(&format!("{wire}{SMUGGLED}")));
        String::from_utf8_lossy(&connection.read_to_end()).into_owned()
    }
}

fn targets_since(log: &Log, mark: usize) -> Vec<String> {
    let lines = log.lines_since(mark, |line| line.str("target").is_some());
    lines
        .iter()
        .filter_map(|line| line.str("target").map(str::to_owned))
        .collect()
}

/// A character is a byte here.
fn latin(text: &str) -> Vec<u8> {
    text.chars()
        .map(|byte| u8::try_from(byte).expect("latin-1"))
        .collect()
}

#[track_caller]
fn refuses_doubtful_lengths(mut scene: Scene) {
    for (fields, body) in LENGTHS {
        scene.refuses(&format!(
            "POST /doubtful HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}"
        ));
    }
    scene.refuses(
        "POST /doubtful HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    scene.took_canaries_only();
}

#[test]
fn a_doubtful_length_never_reaches_node() {
    refuses_doubtful_lengths(Scene::node());
}

#[test]
fn a_doubtful_length_never_reaches_aiohttp() {
    refuses_doubtful_lengths(Scene::aiohttp());
}

#[test]
fn a_doubtful_length_never_reaches_nginx() {
    refuses_doubtful_lengths(Scene::nginx());
}

#[test]
fn a_doubtful_head_never_reaches_a_server() {
    let mut scene = Scene::nginx();
    for wire in HEADS {
        scene.refuses(wire);
    }
    scene.took_canaries_only();
}

/// A POST of these chunks, if chunks they are.
fn in_chunks(body: &str) -> String {
    format!("POST /begun HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// The head has gone on by then: a server that waits for the end of the body never sees it.
#[track_caller]
fn breaks_off_bad_chunks(mut scene: Scene) {
    for body in CHUNKS {
        scene.refuses(&in_chunks(body));
    }
    scene.took_canaries_only();
}

#[test]
fn a_request_in_bad_chunks_is_never_complete_for_node() {
    breaks_off_bad_chunks(Scene::node());
}

#[test]
fn a_request_in_bad_chunks_is_never_complete_for_aiohttp() {
    breaks_off_bad_chunks(Scene::aiohttp());
}

/// This one answers before it has the body.
#[test]
fn nothing_behind_bad_chunks_is_a_request_for_nginx() {
    let mut scene = Scene::nginx();
    for body in CHUNKS {
        let answer = scene.answer_to(&in_chunks(body));
        assert!(
            answer.matches("HTTP/1.1 ").count() <= 1,
            "{body:?}: {answer:?}"
        );
        scene.taken(body);
    }
    let taken = targets_since(&scene.log, 0);
    assert!(
        !taken.iter().any(|target| target == "/smuggled"),
        "{taken:?}"
    );
}

/// Both requests of a row get their own answers, the server takes these two, and whoever comes next on
/// the server's connections gets what is meant for it.
#[track_caller]
fn passes_what_is_legal(mut scene: Scene) {
    for (method, wire) in legal() {
        let mut connection = scene.proxy.connect();
        connection.send(format!("{wire}GET /two HTTP/1.1\r\nHost: a\r\n\r\n"));
        let first = Reply::read(&mut connection, method);
        let second = Reply::read(&mut connection, "GET");
        let read = |reply: Option<Reply>| reply.map(|reply| (reply.status, reply.body));
        let body = if method == "HEAD" { "" } else { "/one" };
        assert_eq!(read(first), Some((200, body.into())), "{wire:?}");
        assert_eq!(read(second), Some((200, b"/two".to_vec())), "{wire:?}");
        let taken = scene.taken(&wire);
        assert_eq!(taken, ["/one", "/two"], "{wire:?}");
    }
}

#[test]
fn a_misleading_but_legal_body_stays_a_body_for_node() {
    passes_what_is_legal(Scene::node());
}

#[test]
fn a_misleading_but_legal_body_stays_a_body_for_aiohttp() {
    passes_what_is_legal(Scene::aiohttp());
}

#[test]
fn a_misleading_but_legal_body_stays_a_body_for_nginx() {
    passes_what_is_legal(Scene::nginx());
}

/// RFC 9110 section 10.1.1: an expectation that nobody knows is refused or left out, and in either case
/// the body behind it is no request.
#[test]
fn an_unknown_expectation_does_no_harm() {
    let mut scene = Scene::nginx();
    for expectation in [
        "y 100-continue",
        "100-continue, y",
        "y",
        "100-continue;a=b",
        "",
    ] {
        let length = SMUGGLED.len();
        let mut connection = scene.proxy.connect();
        connection.send(format!(
            "POST /one HTTP/1.1\r\nHost: a\r\nExpect: {expectation}\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
        ));
        let reply = Reply::read(&mut connection, "POST").expect("an answer");
        assert!(
            matches!(reply.status, 200 | 400 | 417),
            "{expectation:?}: {reply:?}"
        );
        let taken = scene.taken(expectation);
        assert!(
            taken.iter().all(|target| target == "/one"),
            "{expectation:?}: {taken:?}"
        );
    }
}
