//! A program under a test's control: orders in, a JSON object a line out, complaints kept for the
//! day it fails.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::log::{Line, Log};
use super::wait::wait_for;

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    orders: Option<ChildStdin>,
    told: Log,
    complaints: Log,
}

impl Program {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            orders: child.stdin.take(),
            told: Log::follow(child.stdout.take().unwrap()),
            complaints: Log::follow(child.stderr.take().unwrap()),
            child,
        }
    }

    /// Gives it an order.
    pub fn does(&mut self, order: &str) {
        // A program that has ended hears nothing more, and that is for the test to see.
        let _ = self
            .orders
            .as_mut()
            .map(|orders| writeln!(orders, "{order}"));
    }

    /// What it told so far.
    pub fn told(&self) -> &Log {
        &self.told
    }

    /// Waits for the first event of this kind since `mark`.
    #[track_caller]
    pub fn tells(&self, mark: usize, event: &str) -> Line {
        let is_it = |line: &Line| line.str("event") == Some(event);
        self.told.wait_for(mark, event, is_it)
    }

    /// How many events of this kind it told of.
    pub fn count(&self, event: &str) -> usize {
        let is_it = |line: &Line| line.str("event") == Some(event);
        self.told.lines_since(0, is_it).len()
    }

    /// Ends its orders and waits until it has ended too.
    #[track_caller]
    pub fn finish(&mut self) {
        self.orders = None;
        wait_for("the program to end", || self.child.try_wait().unwrap());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- a program's output ---\n{}", self.told.text());
            eprintln!("--- its complaints ---\n{}", self.complaints.text());
        }
    }
}
