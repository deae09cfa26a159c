//! A frontend, backend or listen with the defaults it stands under.

use super::read::{Kind, Line, Section};

/// A proxy of theirs.
#[derive(Clone, Copy, Debug)]
pub struct Proxy<'a> {
    /// Its own section.
    pub section: &'a Section,
    /// The defaults it stands under.
    pub defaults: Option<&'a Section>,
}

impl<'a> Proxy<'a> {
    /// Every proxy of a file, each with the last defaults before it, or those it names.
    pub fn all(sections: &'a [Section]) -> Vec<Self> {
        let mut defaults: Option<&Section> = None;
        let mut proxies = Vec::new();
        for section in sections {
            match section.kind {
                Kind::Defaults => defaults = Some(section),
                Kind::Frontend | Kind::Backend | Kind::Listen => {
                    let named = section.head.after("from").and_then(|name| {
                        let known = |s: &&Section| s.kind == Kind::Defaults && s.name() == name;
                        sections.iter().find(known)
                    });
                    proxies.push(Self {
                        section,
                        defaults: named.or(defaults),
                    });
                }
                Kind::Global | Kind::Other => {}
            }
        }
        proxies
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        self.section.name()
    }

    /// Its own lines that begin so.
    pub fn own(&self, words: &'a [&'a str]) -> impl Iterator<Item = &'a Line> {
        self.section
            .lines
            .iter()
            .filter(move |line| line.begins(words))
    }

    /// The last line that begins so: its own, else the defaults'.
    pub fn setting(&self, words: &[&str]) -> Option<&'a Line> {
        let last = |section: &'a Section| {
            let lines = section.lines.iter().rev();
            let mut fitting = lines.filter(|line| {
                let switched_off = || line.begins(&[&["no"], words].concat());
                line.begins(words) || switched_off()
            });
            fitting.next()
        };
        let found = last(self.section).or_else(|| self.defaults.and_then(last))?;
        (found.word(0) != "no").then_some(found)
    }

    /// The words behind such a line's beginning, and the line.
    pub fn value(&self, words: &[&str]) -> Option<(&'a str, &'a Line)> {
        let line = self.setting(words)?;
        Some((line.word(words.len()), line))
    }

    /// Whether bytes are passed that need not be HTTP.
    pub fn is_tcp(&self) -> bool {
        // HAProxy's own default.
        self.value(&["mode"]).is_none_or(|(mode, _)| mode == "tcp")
    }
}
