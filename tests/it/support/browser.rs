//! A page in a real browser: headless Chromium, led by the test through `tests/peers/browser.js`.

use std::thread;

use serde_json::Value;

use super::certificates::Certificate;
use super::peers::Library;
use super::program::Program;

/// One open page; the browser ends when this is dropped.
pub struct Browser(Program);

impl Browser {
    /// Opens `url` in a browser that takes this certificate, whoever signed it, and waits until the
    /// page is there.
    #[track_caller]
    pub fn open(url: &str, certificate: &Certificate) -> Self {
        let browser = Self::start(url, certificate);
        browser.0.tells(0, "loaded");
        browser
    }

    /// Why the browser does not open `url` when it takes no other certificate than this.
    #[track_caller]
    pub fn fails_to_open(url: &str, certificate: &Certificate) -> String {
        let browser = Self::start(url, certificate);
        let line = browser.0.tells(0, "refused");
        line.str("error").unwrap_or_default().to_owned()
    }

    fn start(url: &str, certificate: &Certificate) -> Self {
        let cert = certificate.cert.to_str().unwrap();
        Self(Library::Node.start("browser", &[url, cert]))
    }

    /// What an expression of the page's comes to; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    #[track_caller]
    pub fn runs(&mut self, expression: &str) -> Value {
        let mark = self.0.told().mark();
        self.0.does(expression);
        let line = self.0.tells(mark, "value");
        assert!(
            line.field("error").is_none(),
            "{expression}: {}",
            line.text()
        );
        line.field("value").cloned().unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Killed, its driver would leave the browser's profile behind.
        if !thread::panicking() {
            self.0.finish();
        }
    }
}
