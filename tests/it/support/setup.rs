//! A configuration in the making: sensible for a test, changed section by section.

use std::fmt::{Display, Write as _};

/// A configuration with one listener `public`, one route `main`, one upstream `echo`.
#[derive(Clone, Debug)]
pub struct Setup {
    sections: Vec<(String, String)>,
}

/// The order sections must stand in: a route's tables follow its `[[route]]`.
const SKELETON: [(&str, &str); 8] = [
    ("server", "workers = 2"),
    ("log", "format = \"json\"\nlevel = \"debug\""),
    ("admin", "bind = \"127.0.0.1:0\""),
    ("listener.public", ""),
    ("[route]", "name = \"main\"\nupstream = \"echo\""),
    ("route.websocket", ""),
    ("route.access", ""),
    ("upstream.echo", ""),
];

impl Setup {
    /// Forwards everything to these servers.
    pub fn to<A: Display>(servers: &[A]) -> Self {
        let sections = SKELETON
            .iter()
            .map(|&(name, lines)| (name.to_owned(), lines.to_owned()))
            .collect();
        let list: Vec<String> = servers
            .iter()
            .map(|server| format!("\"{server}\""))
            .collect();
        Self { sections }
            .with("listener.public", "bind = \"127.0.0.1:0\"")
            .with("upstream.echo", &format!("servers = [{}]", list.join(", ")))
    }

    /// Adds lines to a section, which comes into being where it is missing; a key that already
    /// stands there is replaced. The section of the route itself is `[route]`.
    pub fn with(mut self, section: &str, lines: &str) -> Self {
        let place = self.sections.iter().position(|(name, _)| name == section);
        let place = place.unwrap_or_else(|| {
            self.sections.push((section.to_owned(), String::new()));
            self.sections.len() - 1
        });
        for line in lines.lines() {
            put(&mut self.sections[place].1, line);
        }
        self
    }

    /// Adds a further route in front of `main`, as whole lines below its `[[route]]`.
    pub fn route_before(mut self, lines: &str) -> Self {
        let main = self
            .sections
            .iter()
            .position(|(_, lines)| lines.contains("\"main\""))
            .unwrap();
        self.sections
            .insert(main, ("[route]".to_owned(), lines.to_owned()));
        self
    }

    /// The configuration as TOML.
    pub fn toml(&self) -> String {
        let mut toml = String::new();
        for (name, lines) in &self.sections {
            if !lines.is_empty() {
                writeln!(toml, "[{name}]\n{}\n", lines.trim_end()).unwrap();
            }
        }
        toml
    }
}

/// Appends a line, dropping an earlier one with the same key.
fn put(lines: &mut String, line: &str) {
    if let Some((key, _)) = line.split_once('=') {
        let kept: Vec<&str> = lines
            .lines()
            .filter(|old| {
                old.split_once('=')
                    .is_none_or(|(name, _)| name.trim() != key.trim())
            })
            .collect();
        *lines = kept.join("\n");
    }
    if !lines.is_empty() {
        lines.push('\n');
    }
    lines.push_str(line);
}

#[test]
fn a_setup_reads_as_the_configuration_it_writes() {
    let setup = Setup::to(&["127.0.0.1:1", "127.0.0.1:2"])
        .with("server", "workers = 1")
        .with("upstream.echo", "balance = \"ip_hash\"")
        .route_before("path = \"/other\"\nupstream = \"echo\"")
        .with("upstream.echo.passive", "failures = 0");
    assert_eq!(
        setup.toml(),
        "[server]\nworkers = 1\n\n\
         [log]\nformat = \"json\"\nlevel = \"debug\"\n\n\
         [admin]\nbind = \"127.0.0.1:0\"\n\n\
         [listener.public]\nbind = \"127.0.0.1:0\"\n\n\
         [[route]]\npath = \"/other\"\nupstream = \"echo\"\n\n\
         [[route]]\nname = \"main\"\nupstream = \"echo\"\n\n\
         [upstream.echo]\nservers = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\
         balance = \"ip_hash\"\n\n\
         [upstream.echo.passive]\nfailures = 0\n\n"
    );
}
