//! The effective configuration as TOML: every key that acts, with its value, and no secret.

use super::keys::ROOT;
use super::kind::Written;
use super::model::Config;
use super::raw::{Listener, Named, Root, Route, Upstream};
use super::reader::Provenance;

/// Writes a configuration so that loading it gives an equal one, but for secrets: a text that
/// came from the environment is written with its `${NAME}`, any other secret as `***`.
pub fn dump(config: &Config) -> String {
    let root = Root {
        server: config.server.clone(),
        log: config.log.clone(),
        admin: (&config.admin).into(),
        tracing: config.tracing.clone(),
        listeners: config
            .listeners
            .iter()
            .map(|l| named(&l.name, Listener::from(&**l)))
            .collect(),
        routes: config
            .routes
            .iter()
            .map(|route| Route::from(&**route))
            .collect(),
        upstreams: config
            .upstreams
            .iter()
            .map(|u| named(&u.name, Upstream::from(&**u)))
            .collect(),
        ..Root::default()
    };
    let mut toml = Toml {
        text: String::new(),
        provenance: &config.provenance,
    };
    toml.table("", &ROOT.write(&root));
    toml.text
}

/// The same as a JSON value.
///
/// # Errors
/// When [`dump`] writes no TOML, a fault of the program.
pub fn effective(config: &Config) -> Result<serde_json::Value, toml::de::Error> {
    let table: toml::Table = dump(config).parse()?;
    // Texts, numbers, truths, lists and tables: JSON has them all.
    Ok(serde_json::to_value(table).unwrap_or_default())
}

/// What stands for a secret.
const MASK: &str = "***";

fn named<T>(name: &std::sync::Arc<str>, section: T) -> Named<T> {
    Named {
        name: name.clone(),
        section,
    }
}

struct Toml<'a> {
    text: String,
    provenance: &'a Provenance,
}

impl Toml<'_> {
    /// Values come before tables, which would take them in.
    fn table(&mut self, path: &str, entries: &[(String, Written)]) {
        for (name, written) in entries {
            if !matches!(
                written,
                Written::Table(_) | Written::Tables(_) | Written::Nothing
            ) {
                self.text
                    .push_str(&format!("{} = {}\n", key(name), self.value(written)));
            }
        }
        for (name, written) in entries {
            let path = match path {
                "" => key(name),
                path => format!("{path}.{}", key(name)),
            };
            match written {
                Written::Table(entries) => self.headed(&format!("[{path}]"), &path, entries),
                Written::Tables(tables) => {
                    for table in tables {
                        if let Written::Table(entries) = table {
                            self.headed(&format!("[[{path}]]"), &path, entries);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn headed(&mut self, header: &str, path: &str, entries: &[(String, Written)]) {
        let only_tables = entries
            .iter()
            .all(|(_, written)| matches!(written, Written::Table(_)));
        if !only_tables {
            let separator = if self.text.is_empty() { "" } else { "\n" };
            self.text.push_str(&format!("{separator}{header}\n"));
        }
        self.table(path, entries);
    }

    fn value(&self, written: &Written) -> String {
        match written {
            Written::Text(text) => self.written(text).unwrap_or_else(|| plain(text)),
            Written::Secret(text) => self.written(text).unwrap_or_else(|| quoted(MASK)),
            Written::Plain(text) => text.clone(),
            Written::List(items) => {
                let items: Vec<_> = items.iter().map(|item| self.value(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Written::Inline(entries) | Written::Table(entries) => {
                let entry = |(name, written): &(String, Written)| {
                    format!("{} = {}", key(name), self.value(written))
                };
                let entries: Vec<_> = entries.iter().map(entry).collect();
                match entries.as_slice() {
                    [] => "{}".to_owned(),
                    entries => format!("{{ {} }}", entries.join(", ")),
                }
            }
            Written::Tables(_) | Written::Nothing => "{}".to_owned(),
        }
    }

    /// A text as its file has it, where that names the environment.
    fn written(&self, text: &str) -> Option<String> {
        self.provenance.written(text).map(quoted)
    }
}

/// A value on one line, for messages.
pub(super) fn inline(written: &Written, provenance: &Provenance) -> String {
    Toml {
        text: String::new(),
        provenance,
    }
    .value(written)
}

/// A name as a TOML key.
pub fn key(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if !name.is_empty() && name.bytes().all(is_bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// A text as a TOML string that does not name the environment, even if it looks so.
pub fn plain(text: &str) -> String {
    quoted(&text.replace("${", "$${"))
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
