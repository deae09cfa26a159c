//! What is in force at a place of the tree: nginx takes a directive from the innermost level that
//! has it, and lists of it from that level alone.

use super::read::Directive;

/// A chain of blocks, outermost first.
#[derive(Clone, Debug)]
pub struct Scope<'a> {
    levels: Vec<&'a [Directive]>,
}

impl<'a> Scope<'a> {
    /// The outermost block.
    pub fn of(block: &'a [Directive]) -> Self {
        Self {
            levels: vec![block],
        }
    }

    /// A block inside it.
    pub fn inner(&self, block: &'a [Directive]) -> Self {
        let mut levels = self.levels.clone();
        levels.push(block);
        Self { levels }
    }

    /// The directives of this name that are in force.
    pub fn all(&self, name: &str) -> Vec<&'a Directive> {
        self.either(&[name])
    }

    /// The last of them.
    pub fn one(&self, name: &str) -> Option<&'a Directive> {
        self.all(name).last().copied()
    }

    /// The argument of that one.
    pub fn arg(&self, name: &str) -> Option<(&'a str, &'a Directive)> {
        self.one(name)
            .map(|directive| (directive.arg(0), directive))
    }

    /// Directives of any of these names on the innermost level that has one, in file order.
    pub fn either(&self, names: &[&str]) -> Vec<&'a Directive> {
        let here = |level: &&'a [Directive]| -> Vec<&'a Directive> {
            level
                .iter()
                .filter(|directive| names.contains(&directive.name.as_str()))
                .collect()
        };
        let mut levels = self.levels.iter().rev().map(here);
        levels.find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The innermost block.
    pub fn block(&self) -> &'a [Directive] {
        self.levels.last().copied().unwrap_or_default()
    }
}
