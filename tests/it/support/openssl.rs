//! `openssl s_server` and `s_client`: TLS that nobody here wrote, and that shows what it saw.

use std::fmt;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::certificates::Certificate;
use super::program::Program;

/// A running `s_server`; killed when dropped.
pub struct OpenSsl {
    _program: Program,
    address: SocketAddr,
}

impl OpenSsl {
    /// Starts on a free port. Whatever it is asked, it answers with a page on the TLS session.
    pub fn serve(certificate: &Certificate, arguments: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command
            .args(["s_server", "-www", "-accept", "127.0.0.1:0", "-cert"])
            .arg(&certificate.cert)
            .arg("-key")
            .arg(&certificate.key)
            .args(arguments);
        let program = Program::start(&mut command);
        let line = program
            .told()
            .wait_for(0, "its port", |line| line.text().starts_with("ACCEPT "));
        let address = line.text().trim_start_matches("ACCEPT ").trim();
        Self {
            address: address.parse().unwrap(),
            _program: program,
        }
    }
}

/// Connects as a client, says `input`, and tells everything that `s_client` has to tell.
pub fn visit(address: SocketAddr, arguments: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that was refused hears nothing more.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    let told = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&told).into_owned()
}

/// Whether the page says that the session was `New` or `Reused`.
#[track_caller]
pub fn session_of(page: &str) -> &str {
    let words = page.split([',', '\n']).map(str::trim);
    let mut verdicts = words.filter(|word| ["New", "Reused"].contains(word));
    verdicts.next().unwrap_or_else(|| panic!("{page}"))
}

impl fmt::Display for OpenSsl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
