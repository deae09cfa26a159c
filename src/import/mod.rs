//! From another proxy's configuration to ours. What its files say is carried over with a comment
//! that tells where it stood; what can't be is a finding with its place and a way out.

pub mod access;
pub mod draft;
pub mod finding;
pub mod haproxy;
pub mod nginx;
pub mod pattern;
pub mod source;

use std::path::Path;

use crate::config;
use draft::{Table, Value};

pub use draft::Draft;
pub use finding::{Finding, Findings, Severity};
pub use source::{ImportError, Place};

/// Whose configuration is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `nginx.conf` and what it includes.
    Nginx,
    /// `haproxy.cfg`.
    Haproxy,
}

/// What came of it.
#[derive(Debug)]
pub struct Imported {
    /// Our configuration.
    pub toml: String,
    /// What differs from theirs.
    pub findings: Findings,
}

/// Reads `path` and writes down in our words what it says.
///
/// # Errors
/// When a file can't be read or is not of its dialect.
pub fn import(dialect: Dialect, path: &Path) -> Result<Imported, ImportError> {
    let mut draft = Draft::default();
    match dialect {
        Dialect::Nginx => nginx::import(path, &mut draft)?,
        Dialect::Haproxy => haproxy::import(path, &mut draft)?,
    }
    let toml = draft.render(path);
    let mut findings = draft.findings;
    // Whatever got past the checks above is told here and not to the operator's next `check`.
    if let Err(errors) = config::parse(&toml, "the result") {
        let place = Place::of(path);
        for problem in &errors {
            findings.lost(&place, "the result", problem);
        }
    }
    Ok(Imported { toml, findings })
}

/// A listener that took a PROXY header from anybody. Here who may send one is believed in
/// X-Forwarded-For too: were that everybody, each client could choose its address.
fn trust_nobody(what: &str, place: &Place, listener: &mut Table, findings: &mut Findings) {
    let advice = "only those in trusted_proxies may send a PROXY header, and their X-Forwarded-For \
                  is believed: put the proxies in front there, in place of this machine";
    findings.lost(place, what, advice);
    let this_machine = Value::texts(["127.0.0.0/8", "::1/128"]);
    listener.set("trusted_proxies", this_machine, place);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// Words that both dialects give a meaning to, and what stands between them.
    fn text() -> impl Strategy<Value = String> {
        let words = [
            "http",
            "server",
            "location",
            "upstream",
            "listen",
            "listen 80;",
            "server_name",
            "return",
            "proxy_pass",
            "http://a/",
            "$host",
            "~",
            "^/(a|b)/",
            "=",
            "/ws",
            "ssl",
            "allow",
            "deny",
            "all",
            "if",
            "{",
            "}",
            ";",
            "\n",
            " ",
            "\"",
            "'",
            "#",
            "\\",
            "frontend",
            "backend",
            "bind",
            ":80",
            "acl",
            "use_backend",
            "hdr(host)",
            "path_beg",
            "!",
            "or",
            "unless",
            "check",
            "option httpchk",
            "defaults",
            "mode http",
            "timeout",
            "5s",
            "10.0.0.1:80",
            "unix:/x",
            "limit_conn",
            "zone=a:1m",
            "weight=3",
            "\u{1}",
            "é",
            "${X}",
        ];
        let piece = prop_oneof![
            8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.join(" "))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn whatever_a_file_says_the_import_comes_to_an_end(text in text()) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("x.conf");
            fs::write(&path, text).unwrap();
            for dialect in [Dialect::Nginx, Dialect::Haproxy] {
                if let Ok(imported) = import(dialect, &path) {
                    // Each finding is one line, and the result is TOML whatever its values are.
                    let lines = imported.findings.iter().map(ToString::to_string);
                    prop_assert!(lines.into_iter().all(|line| !line.contains('\n')));
                    prop_assert!(!imported.findings.iter().any(|f| f.advice.contains("TOML")));
                }
            }
        }
    }
}
