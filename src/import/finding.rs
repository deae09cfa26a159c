//! What a configuration loses on its way, or keeps with a difference.

use std::fmt;

use super::source::Place;

/// Findings that are told one by one; a file that has more is no configuration.
const MAX_FINDINGS: usize = 10_000;

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Something that acted there does not act here.
    Lost,
    /// It acts here too, with a difference that may matter.
    Differs,
}

/// One thing to know about the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands.
    pub place: Place,
    /// How much it weighs.
    pub severity: Severity,
    /// What stands there.
    pub what: String,
    /// What to know or to do.
    pub advice: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.severity {
            Severity::Lost => "not carried over",
            Severity::Differs => "differs",
        };
        let Self {
            place,
            what,
            advice,
            ..
        } = self;
        write!(f, "{place}: {what}: {verdict}: {advice}")
    }
}

/// All of them, each once, in the order they were found.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// `what` does not act here.
    pub fn lost(&mut self, place: &Place, what: impl fmt::Display, advice: impl fmt::Display) {
        self.push(Severity::Lost, place, &what, &advice);
    }

    /// `what` acts here with a difference.
    pub fn differs(&mut self, place: &Place, what: impl fmt::Display, advice: impl fmt::Display) {
        self.push(Severity::Differs, place, &what, &advice);
    }

    fn push(
        &mut self,
        severity: Severity,
        place: &Place,
        what: &dyn fmt::Display,
        advice: &dyn fmt::Display,
    ) {
        let finding = Finding {
            place: place.clone(),
            severity,
            what: line(&what.to_string()),
            advice: line(&advice.to_string()),
        };
        // What two sites inherit is told once.
        if self.0.len() < MAX_FINDINGS && !self.0.contains(&finding) {
            self.0.push(finding);
        }
    }

    /// Whether anything does not act here.
    pub fn loses(&self) -> bool {
        self.0
            .iter()
            .any(|finding| finding.severity == Severity::Lost)
    }

    /// One after the other, by place.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.place.cmp(&b.place));
        sorted.into_iter()
    }
}

/// One line, of a length that can be read.
fn line(text: &str) -> String {
    const MOST: usize = 300;
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.chars().take(MOST).map(blank).collect();
    if text.chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}
