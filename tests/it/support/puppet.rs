//! A foreign client on strings: a library's own view of one WebSocket, led by the test.

use serde_json::Value;

use super::log::Line;
use super::peers::Library;
use super::program::Program;

/// One open WebSocket of a foreign library; killed when dropped.
pub struct Puppet(Program);

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
        let puppet = Self(library.start("ws_puppet", arguments));
        puppet.0.tells(0, "open");
        puppet
    }

    /// Gives an order of `cases.md`.
    pub fn does(&mut self, order: &str) {
        self.0.does(order);
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
        self.0.told().wait_for(0, text, is_it);
    }

    /// Waits for the end; the code as the library sees it, 1006 where there was no Close.
    #[track_caller]
    pub fn closed(&self) -> u64 {
        let line = self.0.tells(0, "close");
        line.field("code").and_then(Value::as_u64).expect("a code")
    }

    /// How many events of this kind it has seen.
    pub fn count(&self, event: &str) -> usize {
        self.0.count(event)
    }
}
