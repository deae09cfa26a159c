//! `openssl s_server`: a TLS server that nobody here wrote, which shows what it saw of its client.

use std::fmt;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::certificates::Certificate;
use super::log::Log;

/// A running server; killed when dropped.
pub struct OpenSsl {
    child: Child,
    log: Log,
    address: SocketAddr,
}

impl OpenSsl {
    /// Starts on a free port. Whatever it is asked, it answers with a page on the TLS session.
    pub fn serve(certificate: &Certificate, arguments: &[&str]) -> Self {
        let mut child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", "127.0.0.1:0"])
            .arg("-cert")
            .arg(&certificate.cert)
            .arg("-key")
            .arg(&certificate.key)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let log = Log::follow(child.stdout.take().unwrap());
        let line = log.wait_for(0, "its port", |line| line.text().starts_with("ACCEPT "));
        let address = line.text().trim_start_matches("ACCEPT ").trim();
        let address = address.parse().unwrap();
        Self {
            child,
            log,
            address,
        }
    }
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

impl Drop for OpenSsl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- openssl's output ---\n{}", self.log.text());
        }
    }
}
