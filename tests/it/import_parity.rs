//! An imported configuration beside the proxy it came from, Debian's nginx or HAProxy: the same
//! requests find the same routes, servers, shares and headers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::peers::root;
use crate::support::proxy::tidegate;
use crate::support::wait::wait_until;
use crate::support::{Backend, Connection, Request, Tidegate};

/// Hosts and paths that every pair of proxies is asked for.
const HOSTS: [&str; 6] = [
    "a.example.com",
    "x.example.com",
    "y.b.example.com",
    "example.org",
    "z.example.org",
    "elsewhere.test",
];
const PATHS: [&str; 14] = [
    "/",
    "/?q=1",
    "/ws",
    "/ws/",
    "/ws/x?y=/z",
    "/ws/deep/er",
    "/live/x",
    "/room/1",
    "/lobby/2/3",
    "/one",
    "/two",
    "/assets/app.js",
    "/a%20b",
    "/nowhere",
];

/// Requests that shares are counted over.
const ROUNDS: usize = 60;

/// Fields that either proxy adds or leaves out as it likes.
const OWN_FIELDS: [&str; 9] = [
    "connection",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "keep-alive",
    "content-length",
];

macro_rules! parity {
    ($($name:ident: $file:literal, $shares:expr;)*) => {$(
        #[test]
        fn $name() {
            compare($file, $shares);
        }
    )*};
}

/// What else of a balance is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shares {
    /// Each server's share of many requests.
    Alike,
    /// The same, but for a request that is not quite over when the next one comes.
    Near,
    /// One client finds one server, whichever.
    Bound,
}

parity! {
    the_guide_of_nginx_serves_alike: "guide.conf", Shares::Alike;
    weights_of_nginx_give_the_same_shares: "weights.conf", Shares::Alike;
    least_conn_of_nginx_serves_alike: "least-conn.conf", Shares::Near;
    ip_hash_of_nginx_binds_a_client: "ip-hash.conf", Shares::Bound;
    server_names_of_nginx_choose_alike: "hosts.conf", Shares::Alike;
    locations_of_nginx_choose_alike: "locations.conf", Shares::Alike;
    rewrites_of_nginx_ask_alike: "rewrites.conf", Shares::Alike;
    headers_of_nginx_arrive_alike: "headers.conf", Shares::Alike;
    access_rules_of_nginx_refuse_alike: "access.conf", Shares::Alike;
    failing_servers_of_nginx_are_passed_over_alike: "failover.conf", Shares::Alike;
    the_guide_of_haproxy_serves_alike: "guide.cfg", Shares::Alike;
    weights_of_haproxy_give_the_same_shares: "weights.cfg", Shares::Alike;
    leastconn_of_haproxy_serves_alike: "leastconn.cfg", Shares::Near;
    source_of_haproxy_binds_a_client: "source.cfg", Shares::Bound;
    tcp_mode_of_haproxy_serves_alike: "tcp.cfg", Shares::Alike;
    hosts_of_haproxy_choose_alike: "hosts.cfg", Shares::Alike;
    paths_of_haproxy_choose_alike: "paths.cfg", Shares::Alike;
    headers_of_haproxy_arrive_alike: "headers.cfg", Shares::Alike;
    access_rules_of_haproxy_refuse_alike: "access.cfg", Shares::Alike;
    answers_of_haproxy_are_given_alike: "answers.cfg", Shares::Alike;
}

/// What came of a request, as far as it must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    location: Option<String>,
    /// The server that answered.
    server: Option<char>,
    /// The line it saw, without the version.
    line: Option<String>,
    fields: BTreeSet<String>,
}

/// Asks both for everything and holds the answers against each other.
#[track_caller]
fn compare(file: &str, shares: Shares) {
    let servers = ['A', 'B', 'C'].map(|letter| (letter, server(letter)));
    let refusing = Backend::refusing();
    let text = fs::read_to_string(root().join("tests/import/parity").join(file)).unwrap();
    let text = servers.iter().fold(text, |text, (letter, server)| {
        text.replace(
            &format!("SERVER_{letter}"),
            &server.address().port().to_string(),
        )
    });
    let text = text.replace("REFUSES", &refusing.address().port().to_string());
    let theirs = Theirs::start(file, &text);
    let ours = Ours::start(file, &text);
    let mut differences = Vec::new();
    for host in HOSTS {
        for path in PATHS {
            for upgrade in [false, true] {
                let request = request(host, path, upgrade);
                let there = ask(theirs.address, &request);
                let here = ask(ours.address, &request);
                if !is_slash_redirect(&there, path) && !alike(&there, &here, upgrade) {
                    differences.push(format!(
                        "{host}{path} upgrade {upgrade}:\n  {there:?}\n  {here:?}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let (there, here) = (spread(theirs.address), spread(ours.address));
    match shares {
        Shares::Alike => assert_eq!(there, here),
        Shares::Near => {
            let near = |server| {
                let count =
                    |counts: &BTreeMap<char, usize>| counts.get(server).copied().unwrap_or(0);
                count(&there).abs_diff(count(&here)) <= ROUNDS / 5
            };
            assert!(['A', 'B', 'C'].iter().all(near), "{there:?} {here:?}");
        }
        Shares::Bound => assert_eq!((there.len(), here.len()), (1, 1), "{there:?} {here:?}"),
    }
}

/// nginx sends a client that left out the slash of a location on; a finding says that we don't.
fn is_slash_redirect(there: &Outcome, path: &str) -> bool {
    let slashed = format!("{path}/");
    let to_slash = |location: &String| location.ends_with(&slashed);
    there.status == 301 && there.location.as_ref().is_some_and(to_slash)
}

/// Which of several servers answered is a matter of the shares; redirects differ in their number.
fn alike(there: &Outcome, here: &Outcome, upgrade: bool) -> bool {
    let status = |outcome: &Outcome| match outcome.status {
        // The same address over https, whatever else is preserved.
        301 | 302 | 307 | 308 => 308,
        // Neither upgrades what it was not told to; nginx then asks for a plain page.
        101 if upgrade => 200,
        status => status,
    };
    let asked = |outcome: &Outcome| (outcome.line.clone(), outcome.fields.clone());
    status(there) == status(here)
        && asked(there) == asked(here)
        && there.server.is_some() == here.server.is_some()
}

fn request(host: &str, path: &str, upgrade: bool) -> Vec<u8> {
    let request = match upgrade {
        true => Request::upgrade().target(path),
        false => Request::get(path),
    };
    request
        .but(format!("Host: {host}"))
        .with("X-Drop: me")
        .with("Cookie: a=1; b=2")
        .bytes()
}

fn ask(address: SocketAddr, request: &[u8]) -> Outcome {
    let mut connection = Connection::open(address);
    connection.send(request);
    let answer = connection.answer();
    // Of a plain answer the body tells what the server saw, of a 101 a field does.
    let seen = match answer.header("x-seen") {
        Some(seen) => seen.replace('\t', "\n"),
        None => answer.body.clone(),
    };
    let mut lines = seen.lines();
    let server = lines
        .next()
        .and_then(|line| line.strip_prefix("server ")?.chars().next());
    let line = server.and_then(|_| Some(lines.next()?.rsplit_once(' ')?.0.to_owned()));
    let fields = match server {
        Some(_) => lines.filter_map(kept).collect(),
        None => BTreeSet::new(),
    };
    Outcome {
        status: answer.status,
        location: answer.header("location").map(str::to_owned),
        server,
        line,
        fields,
    }
}

/// A field that must be the same, in one spelling.
fn kept(field: &str) -> Option<String> {
    let (name, value) = field.split_once(':')?;
    let name = name.to_ascii_lowercase();
    let is_own = OWN_FIELDS.contains(&name.as_str()) || name.starts_with("sec-websocket-");
    (!is_own).then(|| format!("{name}: {}", value.trim()))
}

/// How often each server answered plain requests at a path that all configurations serve.
fn spread(address: SocketAddr) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    let request = request("ws.example.com", "/ws/x", false);
    for _ in 0..ROUNDS {
        if let Some(server) = ask(address, &request).server {
            *counts.entry(server).or_default() += 1;
        }
    }
    counts
}

/// A server that tells what it saw.
fn server(letter: char) -> Backend {
    Backend::script(move |mut visit| {
        while let Some(head) = visit.connection.read_head() {
            let seen = format!("server {letter}\n{}", head.trim_end().replace('\r', ""));
            if head.to_ascii_lowercase().contains("upgrade: websocket") {
                let seen = seen.replace('\n', "\t");
                let answer = crate::support::backend::switching_protocols(
                    &head,
                    &format!("X-Seen: {seen}\r\n"),
                );
                visit.connection.send(answer);
                return visit.hold();
            }
            let length = seen.len();
            let sent = visit.connection.try_send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{seen}"
            ));
            if sent.is_err() {
                return;
            }
        }
    })
}

/// nginx or HAProxy.
struct Theirs {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Theirs {
    fn start(file: &str, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file);
        let address = free_address();
        let text = text.replace("LISTEN", &address.port().to_string());
        fs::write(&path, text).unwrap();
        let mut command = match path.extension().unwrap().to_str() {
            Some("conf") => nginx(directory.path(), &path),
            _ => haproxy(&path),
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}: run `make deps`"));
        wait_until("the other proxy to listen", || {
            TcpStream::connect(address).is_ok()
        });
        Self {
            child,
            address,
            _directory: directory,
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nginx(directory: &Path, file: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/nginx");
    let log = "daemon off; master_process off; error_log stderr; pid nginx.pid;";
    command
        .args(["-g", log, "-p"])
        .arg(directory)
        .arg("-c")
        .arg(file);
    command
}

fn haproxy(file: &Path) -> Command {
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

/// The imported configuration in this binary.
struct Ours {
    _proxy: Tidegate,
    address: SocketAddr,
    _directory: TempDir,
}

impl Ours {
    fn start(file: &str, text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(file);
        fs::write(&path, text.replace("LISTEN", "0")).unwrap();
        let dialect = match path.extension().unwrap().to_str() {
            Some("conf") => "nginx",
            _ => "haproxy",
        };
        let output = tidegate(&["import", dialect, path.to_str().unwrap()]);
        let findings = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{findings}");
        let mut toml = String::from_utf8(output.stdout).unwrap();
        toml.push_str("\n[log]\nformat = \"json\"\n[admin]\nbind = \"127.0.0.1:0\"\n");
        fs::write(directory.path().join("tidegate.toml"), &toml).unwrap();
        let proxy = Tidegate::start_in(directory.path());
        let name = toml
            .lines()
            .find_map(|line| line.strip_prefix("[listener.")?.strip_suffix(']'));
        let address = proxy.listener(name.unwrap());
        Self {
            _proxy: proxy,
            address,
            _directory: directory,
        }
    }
}

/// An address where nobody listens; the other proxies can't tell which port they were given.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
