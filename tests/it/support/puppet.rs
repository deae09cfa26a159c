//! A foreign client on strings: a library's own view of one WebSocket, led by the test.

use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};

use serde_json::Value;

use super::log::{Line, Log};
use super::peers::Library;

/// One open WebSocket of a foreign library; killed when dropped.
pub struct Puppet {
    child: Child,
    orders: ChildStdin,
    seen: Log,
    complaints: Log,
}

impl Puppet {
    /// Opens `url` and waits for the library to say that it is open.
    #[track_caller]
    pub fn open(library: Library, url: &str) -> Self {
        Self::launch(library, &[url])
    }

    /// The same with a library that answers no ping: Node's.
    #[track_caller]
    pub fn open_mute(url: &str) -> Self {
        Self::launch(Library::Node, &[url, "mute"])
    }

    #[track_caller]
    fn launch(library: Library, arguments: &[&str]) -> Self {
        let mut child = library
            .program("ws_puppet")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let puppet = Self {
            orders: child.stdin.take().unwrap(),
            seen: Log::follow(child.stdout.take().unwrap()),
            complaints: Log::follow(child.stderr.take().unwrap()),
            child,
        };
        puppet.sees("open");
        puppet
    }

    /// Gives an order of `cases.md`.
    pub fn does(&mut self, order: &str) {
        // A puppet whose socket has closed is gone, and that is for the test to see.
        let _ = writeln!(self.orders, "{order}");
    }

    /// Says something and expects it back.
    #[track_caller]
    pub fn echoes(&mut self, text: &str) {
        self.does(&format!("text {text}"));
        self.hears(text);
    }

    /// Waits for a text message.
    #[track_caller]
    pub fn hears(&self, text: &str) {
        let is_it = |line: &Line| line.str("text") == Some(text);
        self.seen.wait_for(0, text, is_it);
    }

    /// Waits for the end; the code as the library sees it, 1006 where there was no Close.
    #[track_caller]
    pub fn closed(&self) -> u64 {
        let line = self.sees("close");
        line.field("code").and_then(Value::as_u64).expect("a code")
    }

    /// How many events of this kind it has seen.
    pub fn count(&self, event: &str) -> usize {
        let is_it = |line: &Line| line.str("event") == Some(event);
        self.seen.lines_since(0, is_it).len()
    }

    #[track_caller]
    fn sees(&self, event: &str) -> Line {
        let is_it = |line: &Line| line.str("event") == Some(event);
        self.seen.wait_for(0, event, is_it)
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the puppet's log ---\n{}", self.complaints.text());
        }
    }
}
