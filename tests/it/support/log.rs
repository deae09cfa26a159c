//! What a program under test writes, line by line, while it runs.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use serde_json::Value;

use super::wait::PATIENCE;

/// The lines written so far; clones share them.
#[derive(Clone, Default)]
pub struct Log(Arc<Shared>);

#[derive(Default)]
struct Shared {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    over: bool,
}

/// One line; JSON lines answer questions about their fields.
#[derive(Clone, Debug)]
pub struct Line {
    text: String,
    fields: Value,
}

impl Log {
    /// Follows a stream on a thread of its own until it ends.
    pub fn follow(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                writer.push(String::from_utf8_lossy(&line).into_owned());
            }
            writer.0.lines.lock().unwrap().over = true;
            writer.0.grown.notify_all();
        });
        log
    }

    /// How many lines there are: a place to wait from.
    pub fn mark(&self) -> usize {
        self.0.lines.lock().unwrap().text.len()
    }

    /// Everything written so far.
    pub fn text(&self) -> String {
        self.0.lines.lock().unwrap().text.join("\n")
    }

    /// The lines since `mark` that `wanted` takes.
    pub fn lines_since(&self, mark: usize, wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
        let lines = self.0.lines.lock().unwrap();
        lines.text[mark..]
            .iter()
            .map(|text| Line::new(text))
            .filter(|line| wanted(line))
            .collect()
    }

    /// Waits for the first line since `mark` that `wanted` takes.
    ///
    /// # Panics
    /// When the stream ends, or patience does, before such a line.
    #[track_caller]
    pub fn wait_for(&self, mark: usize, what: &str, wanted: impl Fn(&Line) -> bool) -> Line {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = mark;
        let mut lines = self.0.lines.lock().unwrap();
        loop {
            while seen < lines.text.len() {
                let line = Line::new(&lines.text[seen]);
                if wanted(&line) {
                    return line;
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.over || left.is_zero() {
                let text = lines.text.join("\n");
                drop(lines);
                panic!("no such line: {what}\n--- log ---\n{text}");
            }
            lines = self.0.grown.wait_timeout(lines, left).unwrap().0;
        }
    }

    fn push(&self, line: String) {
        self.0.lines.lock().unwrap().text.push(line);
        self.0.grown.notify_all();
    }
}

impl Line {
    fn new(text: &str) -> Self {
        let fields = serde_json::from_str(text).unwrap_or(Value::Null);
        Self {
            text: text.to_owned(),
            fields,
        }
    }

    /// The line as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The event's message.
    pub fn message(&self) -> &str {
        self.field("message")
            .and_then(Value::as_str)
            .unwrap_or(&self.text)
    }

    /// A field by name, wherever the format puts it.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields
            .get("fields")
            .and_then(|fields| fields.get(name))
            .or_else(|| self.fields.get(name))
    }

    /// A field's text.
    pub fn str(&self, name: &str) -> Option<&str> {
        self.field(name).and_then(Value::as_str)
    }
}
