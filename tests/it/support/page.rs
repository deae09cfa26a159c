//! A page in headless Chromium, looked at and used as a person would.

use serde_json::Value;

use super::peers::Library;
use super::program::Program;
use super::wait::wait_for;

/// An open page; its browser ends when it is dropped.
pub struct Page(Program);

impl Page {
    /// Opens `url` and waits until it is loaded.
    #[track_caller]
    pub fn open(url: &str) -> Self {
        let program = Library::Node.start("browser", &[url]);
        program.tells(0, "loaded");
        Self(program)
    }

    /// Gives an order of `cases.md`, or asks for an expression's value.
    #[track_caller]
    pub fn ask(&mut self, order: &str) -> Value {
        let mark = self.0.told().mark();
        self.0.does(order);
        let line = self.0.tells(mark, "value");
        assert_eq!(line.field("error"), None, "{order}");
        line.field("value").cloned().unwrap_or_default()
    }

    /// The text of the first element that a selector finds.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let value = self.ask(&format!(
            "document.querySelector({selector:?})?.innerText ?? ''"
        ));
        value.as_str().unwrap_or_default().to_owned()
    }

    /// Presses the first element that a selector finds.
    #[track_caller]
    pub fn press(&mut self, selector: &str) {
        self.ask(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_until(&mut self, expression: &str) {
        wait_for(expression, || (self.ask(expression) == true).then_some(()));
    }

    /// Fails if its console has complained.
    #[track_caller]
    pub fn assert_faultless(&self) {
        let is_fault = |line: &super::log::Line| line.str("event") == Some("fault");
        let faults = self.0.told().lines_since(0, is_fault);
        let texts: Vec<&str> = faults.iter().map(super::log::Line::text).collect();
        assert!(texts.is_empty(), "{texts:?}");
    }
}
