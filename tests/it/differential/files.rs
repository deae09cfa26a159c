//! Files as servers for files send them, straight and through the proxy: nginx with its ranges,
//! conditions and compression, Python's with HTTP/1.0.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::case::Case;
use super::{Got, Way, compared};
use crate::support::nginx::Nginx;
use crate::support::program::Program;
use crate::support::{Setup, Tidegate};

/// What is asked of both.
fn cases() -> Vec<Case> {
    let paths = [
        "/text.txt",
        "/empty",
        "/big.bin",
        "/missing",
        "/folder",
        "/folder/",
        "/a%20b.txt",
    ];
    let plain = paths
        .into_iter()
        .flat_map(|path| ["GET", "HEAD"].map(|method| Case::new(method, path)));
    let asking = |line: &str| Case::new("GET", "/text.txt").with(line);
    let lines = [
        "Range: bytes=0-9",
        "Range: bytes=-5",
        "Range: bytes=5-",
        "Range: bytes=999999-",
        "Range: lines=1-2",
        "If-None-Match: *",
        "If-None-Match: \"other\"",
        "If-Match: \"other\"",
        "If-Modified-Since: Fri, 31 Dec 2100 23:59:59 GMT",
        "If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT",
        "If-Unmodified-Since: Sat, 29 Oct 1994 19:43:31 GMT",
        "Accept-Encoding: gzip",
        "Accept-Encoding: identity",
    ];
    let others = [
        Case::new("POST", "/text.txt").sized("a=b"),
        Case::new("DELETE", "/text.txt"),
        Case::new("GET", "/big.bin").with("Range: bytes=1000-600000"),
        Case::new("GET", "/text.txt").old(),
        Case::new("HEAD", "/text.txt").with("Accept-Encoding: gzip"),
    ];
    plain.chain(lines.map(asking)).chain(others).collect()
}

fn files() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    put("text.txt", "a line of text\n".repeat(1000).as_bytes());
    put("empty", b"");
    put("big.bin", &"0123456789abcdef".repeat(1 << 16).into_bytes());
    put("a b.txt", b"a space");
    fs::create_dir(directory.path().join("folder")).unwrap();
    put("folder/index.html", b"<p>index");
    directory
}

#[track_caller]
fn check(server: SocketAddr) {
    let proxy = Tidegate::start(&Setup::to(&[server]));
    let (mut straight, mut through) = (Way::to(server), Way::to(proxy.address()));
    let mut differences = Vec::new();
    for case in cases() {
        let ways = [&mut straight, &mut through].map(|way| way.reply(&case).map(Got::of));
        let [straight, through] = &ways;
        if straight.is_none() || straight != through {
            differences.push(compared(&case, straight, through));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn files_of_nginx() {
    let files = files();
    readable(files.path());
    let root = files.path().display();
    let lines = format!("root {root}; gzip on; gzip_types text/plain; gzip_min_length 1;");
    check(Nginx::with(&lines).address);
}

/// nginx's workers need not be who runs the tests.
fn readable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn files_of_a_server_of_http_1_0() {
    let files = files();
    let mut python = Command::new("python3");
    python.args([
        "-u",
        "-m",
        "http.server",
        "--bind",
        "127.0.0.1",
        "--directory",
    ]);
    let program = Program::start(python.arg(files.path()).arg("0"));
    let line = program
        .told()
        .wait_for(0, "its port", |line| line.text().contains("port "));
    let (_, rest) = line.text().split_once("port ").unwrap();
    let port = rest.split(' ').next().unwrap().parse().unwrap();
    check(SocketAddr::from(([127, 0, 0, 1], port)));
}
