//! Paths that other proxies write as regular expressions, as far as ours can say them too.

use std::fmt;

use regex_syntax::hir::{Class, ClassUnicodeRange, Dot, Hir, HirKind, Look};

use crate::logic::route::PathPattern;

/// Most paths that one expression may stand for.
const MAX_ALTERNATIVES: usize = 64;

/// A path of a route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathRule {
    /// This path alone.
    Exact(String),
    /// The path and everything below it.
    Prefix(String),
}

impl PathRule {
    /// Every path.
    pub fn root() -> Self {
        Self::Prefix("/".to_owned())
    }

    /// Whether a request can have it at all.
    pub fn is_possible(&self) -> bool {
        PathPattern::parse(&self.to_string()).is_ok()
    }

    /// Whether it is a text prefix there and a path prefix here: `/ws` took `/wsx` too.
    pub fn ends_inside_a_segment(&self) -> bool {
        matches!(self, Self::Prefix(path) if !path.ends_with('/'))
    }

    /// What of a path it fixes.
    pub fn fixes(&self) -> &str {
        let (Self::Exact(path) | Self::Prefix(path)) = self;
        path
    }
}

/// As the file writes it.
impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "={path}"),
            Self::Prefix(path) => f.write_str(path),
        }
    }
}

/// The paths that `regex` takes, where these are literals with an end that a route can have:
/// `^/ws$`, `^/ws/?$`, `^/(ws|live)/`, `^/ws(/|$)`, `^/ws(/.*)?$`, `^/ws`.
pub fn paths_of(regex: &str) -> Option<Vec<PathRule>> {
    let hir = regex_syntax::parse(regex).ok()?;
    let parts = flat(&hir);
    let (first, mut rest) = parts.split_first()?;
    if !is_look(first, Look::Start) {
        return None;
    }
    let ending = match rest {
        [before @ .., end] if is_look(end, Look::End) => {
            rest = before;
            Ending::Stop
        }
        _ => Ending::Open,
    };
    let ending = match (ending, rest) {
        (_, [before @ .., last]) if is_anything(last) => {
            rest = before;
            Ending::Open
        }
        (Ending::Stop, [before @ .., last]) if let Some(optional) = optional(last) => {
            rest = before;
            optional_ending(optional)?
        }
        (Ending::Open, [before @ .., last]) if is_border(last) => {
            rest = before;
            Ending::Border
        }
        (ending, _) => ending,
    };
    let mut texts = vec![String::new()];
    for part in rest {
        texts = crossed(&texts, &expand(part)?)?;
    }
    let rules = texts.into_iter().flat_map(|text| ending.rules(text));
    let rules: Vec<_> = rules.collect();
    let good = rules.iter().all(PathRule::is_possible);
    good.then_some(rules)
}

/// How an expression ends after its literal part.
#[derive(Clone, Copy)]
enum Ending {
    /// `$`
    Stop,
    /// Nothing, or `.*`.
    Open,
    /// `(/|$)` or `(/.*)?$`.
    Border,
    /// `/?$`
    MaybeSlash,
}

impl Ending {
    fn rules(self, text: String) -> Vec<PathRule> {
        match self {
            Self::Stop => vec![PathRule::Exact(text)],
            Self::Open | Self::Border => vec![PathRule::Prefix(text)],
            Self::MaybeSlash => {
                let with_slash = format!("{text}/");
                vec![PathRule::Exact(text), PathRule::Exact(with_slash)]
            }
        }
    }
}

fn optional_ending(optional: &Hir) -> Option<Ending> {
    match flat(optional).as_slice() {
        [slash] if is_slash(slash) => Some(Ending::MaybeSlash),
        [slash, rest] if is_slash(slash) && is_anything(rest) => Some(Ending::Border),
        _ => None,
    }
}

/// The parts of a sequence, groups taken apart.
fn flat(hir: &Hir) -> Vec<Hir> {
    match hir.kind() {
        HirKind::Concat(parts) => parts.iter().flat_map(flat).collect(),
        HirKind::Capture(group) => flat(&group.sub),
        _ => vec![hir.clone()],
    }
}

/// Every text that a part takes, where these are few.
fn expand(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => {
            let text = String::from_utf8(literal.0.to_vec()).ok()?;
            Some(vec![text])
        }
        HirKind::Class(Class::Unicode(class)) => {
            let count: usize = class.iter().map(ClassUnicodeRange::len).sum();
            let each = |range: &ClassUnicodeRange| range.start()..=range.end();
            (count <= MAX_ALTERNATIVES).then(|| {
                let characters = class.iter().flat_map(each);
                characters.map(String::from).collect()
            })
        }
        HirKind::Repetition(_) => {
            let mut texts = expand(optional(hir)?)?;
            texts.insert(0, String::new());
            Some(texts)
        }
        HirKind::Capture(group) => expand(&group.sub),
        HirKind::Concat(parts) => parts.iter().try_fold(vec![String::new()], |texts, part| {
            crossed(&texts, &expand(part)?)
        }),
        HirKind::Alternation(parts) => {
            let mut texts = Vec::new();
            for part in parts {
                texts.extend(expand(part)?);
                if texts.len() > MAX_ALTERNATIVES {
                    return None;
                }
            }
            Some(texts)
        }
        HirKind::Look(_) | HirKind::Class(Class::Bytes(_)) => None,
    }
}

fn crossed(heads: &[String], tails: &[String]) -> Option<Vec<String>> {
    let few = heads.len().checked_mul(tails.len())? <= MAX_ALTERNATIVES;
    few.then(|| {
        let pairs = heads
            .iter()
            .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")));
        pairs.collect()
    })
}

fn is_look(hir: &Hir, wanted: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(look) if *look == wanted)
}

fn is_slash(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Literal(literal) if *literal.0 == *b"/")
}

/// `.*`
fn is_anything(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let unbounded = repetition.min == 0 && repetition.max.is_none();
            unbounded
                && matches!(repetition.sub.kind(), HirKind::Class(class) if class.literal().is_none())
                && *repetition.sub == Hir::dot(Dot::AnyCharExceptLF)
        }
        HirKind::Capture(group) => is_anything(&group.sub),
        _ => false,
    }
}

/// `X?`
fn optional(hir: &Hir) -> Option<&Hir> {
    match hir.kind() {
        HirKind::Repetition(repetition) if (repetition.min, repetition.max) == (0, Some(1)) => {
            Some(&repetition.sub)
        }
        _ => None,
    }
}

/// `(/|$)`
fn is_border(hir: &Hir) -> bool {
    let HirKind::Alternation(parts) = hir.kind() else {
        return false;
    };
    matches!(parts.as_slice(), [a, b] if is_slash(a) && is_look(b, Look::End))
        || matches!(parts.as_slice(), [a, b] if is_slash(b) && is_look(a, Look::End))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(regex: &str) -> Option<String> {
        let rules = paths_of(regex)?;
        let rules: Vec<_> = rules.iter().map(PathRule::to_string).collect();
        Some(rules.join(" "))
    }

    #[test]
    fn literal_expressions_are_paths() {
        for (regex, paths) in [
            ("^/ws$", "=/ws"),
            ("^/ws/?$", "=/ws =/ws/"),
            ("^/ws/", "/ws/"),
            ("^/ws", "/ws"),
            ("^/ws/.*$", "/ws/"),
            ("^/ws/(.*)$", "/ws/"),
            ("^/ws(/|$)", "/ws"),
            ("^/ws(/.*)?$", "/ws"),
            ("^/(ws|live)$", "=/ws =/live"),
            ("^/(?:ws|live)/x", "/ws/x /live/x"),
            ("^/(a|b)(/|$)", "/a /b"),
            ("^/rooms?/", "/room/ /rooms/"),
            (r"^/a\.b\-c$", "=/a.b-c"),
        ] {
            assert_eq!(shown(regex).as_deref(), Some(paths), "{regex}");
        }
    }

    #[test]
    fn the_others_are_not() {
        for regex in [
            "/ws",
            "^ws",
            r"\.(js|css)$",
            "^/room/[0-9]+$",
            "^/.*/ws$",
            "^/(?!api)",
            "(",
            "^/[ab]{40}$",
            "^/[^/]+$",
        ] {
            assert_eq!(shown(regex), None, "{regex}");
        }
    }
}
