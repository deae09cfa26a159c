//! Web clients that nobody here wrote, in front of servers that nobody here wrote: requests, bodies,
//! events and sockets of one site, on connections that are kept, pipelined or many.

use std::process::Command;

use crate::support::peers::Library::{self, Node, Python};
use crate::support::peers::{Server, curl};
use crate::support::{Setup, Tidegate};

/// A site of one library's behind the proxy.
struct Site {
    proxy: Tidegate,
    _server: Server,
}

impl Site {
    fn of(library: Library) -> Self {
        let server = library.server("web_server", &[]);
        Self {
            proxy: Tidegate::start(&Setup::to(&[&server])),
            _server: server,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy.address())
    }
}

#[test]
fn aiohttp_talks_to_aiohttp() {
    Python.runs("aiohttp_client", &[&Site::of(Python).url("")]);
}

#[test]
fn aiohttp_talks_to_node() {
    Python.runs("aiohttp_client", &[&Site::of(Node).url("")]);
}

#[test]
fn httpx_talks_to_aiohttp() {
    Python.runs("httpx_client", &[&Site::of(Python).url("")]);
}

#[test]
fn httpx_talks_to_node() {
    Python.runs("httpx_client", &[&Site::of(Node).url("")]);
}

#[test]
fn undici_talks_to_aiohttp() {
    Node.runs("undici_client", &[&Site::of(Python).url("")]);
}

#[test]
fn undici_talks_to_node() {
    Node.runs("undici_client", &[&Site::of(Node).url("")]);
}

/// What curl prints; it must go well.
#[track_caller]
fn curls(arguments: &[&str]) -> String {
    let output = curl(arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn curl_keeps_its_connection_over_many_requests() {
    let site = Site::of(Node);
    let url = site.url("/bytes/[1-100]");
    let printed = curls(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{size_download} %{num_connects}\n",
        &url,
    ]);
    let expected: String = (1..=100)
        .map(|size| format!("200 {size} {}\n", u8::from(size == 1)))
        .collect();
    assert_eq!(printed, expected);
}

#[test]
fn curl_uploads_with_and_without_a_length_and_waits_for_100() {
    let site = Site::of(Node);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("upload");
    std::fs::write(&file, vec![b'x'; 3_000_000]).unwrap();
    let upload = format!("@{}", file.display());
    let framings: [&[&str]; 3] = [
        &["-H", "Expect: 100-continue"],
        &[
            "-H",
            "Expect: 100-continue",
            "-H",
            "Transfer-Encoding: chunked",
        ],
        // HTTP/1.0 knows no 100.
        &["--http1.0", "-H", "Expect:"],
    ];
    for framing in framings {
        let url = site.url("/sum");
        let rest = ["--expect100-timeout", "60", "--data-binary", &upload, &url];
        let printed = curls(&[framing, &rest].concat());
        assert!(
            printed.contains("\"length\":3000000"),
            "{framing:?}: {printed}"
        );
    }
}

#[test]
fn curl_hears_a_head_a_range_and_an_old_version() {
    let site = Site::of(Node);
    let head = curls(&["-I", &site.url("/bytes/12345")]).to_lowercase();
    assert!(head.contains("content-length: 12345\r\n"), "{head}");
    let old = curls(&["--http1.0", &site.url("/chunks/70000")]);
    assert_eq!(old.len(), 70_000);
    let format = "%{http_code} %{size_download}";
    let printed = curls(&["-X", "DELETE", "-w", format, &site.url("/status/204")]);
    assert_eq!(printed, "204 0");
}

#[track_caller]
fn h2load(site: &Site, path: &str, arguments: &[&str], requests: usize) {
    let output = Command::new("h2load")
        .args(["--h1", "-n", &requests.to_string()])
        .args(arguments)
        .arg(site.url(path))
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    let expected = format!("{requests} done, {requests} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(report.contains(&expected), "{report}");
}

#[test]
fn h2load_loses_nothing_over_many_connections() {
    h2load(&Site::of(Node), "/hello", &["-c", "100"], 10_000);
}

#[test]
fn h2load_loses_nothing_with_pipelining() {
    h2load(
        &Site::of(Node),
        "/bytes/2000",
        &["-c", "10", "-m", "20"],
        5_000,
    );
}
