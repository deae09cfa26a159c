//! The checks that a request meets before it gets a server, in the order in which they answer.

use super::refusal::Refusal;
use super::request::Malformed;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Check {
    Syntax,
    Path,
    Route,
    Address,
    Kind,
    Origin,
    Method,
    Version,
    Key,
    Token,
    Limits,
    Server,
}

impl Check {
    /// All, in order.
    pub const ALL: [Self; 12] = [
        Self::Syntax,
        Self::Path,
        Self::Route,
        Self::Address,
        Self::Kind,
        Self::Origin,
        Self::Method,
        Self::Version,
        Self::Key,
        Self::Token,
        Self::Limits,
        Self::Server,
    ];

    /// Its name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Path => "path",
            Self::Route => "route",
            Self::Address => "address",
            Self::Kind => "kind",
            Self::Origin => "origin",
            Self::Method => "method",
            Self::Version => "version",
            Self::Key => "key",
            Self::Token => "token",
            Self::Limits => "limits",
            Self::Server => "server",
        }
    }

    /// The check that a refusal comes from.
    pub const fn of(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Malformed(fault) => Self::of_fault(*fault),
            Refusal::NoRoute => Self::Route,
            Refusal::Address => Self::Address,
            Refusal::UpgradeRequired | Refusal::UpgradeRefused => Self::Kind,
            Refusal::Origin => Self::Origin,
            Refusal::UpgradeMethod => Self::Method,
            Refusal::UpgradeVersion => Self::Version,
            Refusal::Token(_) => Self::Token,
            Refusal::TooMany { .. } => Self::Limits,
            Refusal::Unavailable(_) | Refusal::Backend(_) | Refusal::Timeout(_) => Self::Server,
            Refusal::MalformedBody(_)
            | Refusal::ProxyHeader
            | Refusal::HeadTooLarge
            | Refusal::TooManyFields
            | Refusal::HeadTimeout
            | Refusal::BodyTimeout
            | Refusal::BodyTooLarge
            | Refusal::MethodRefused
            | Refusal::Misdirected
            | Refusal::Internal => Self::Syntax,
        }
    }

    const fn of_fault(fault: Malformed) -> Self {
        match fault {
            Malformed::PathCharacter
            | Malformed::PathEscape
            | Malformed::PathHiddenSlash
            | Malformed::PathDotSegment
            | Malformed::PathEmptySegment => Self::Path,
            Malformed::KeyMissing
            | Malformed::KeyTwice
            | Malformed::KeySyntax
            | Malformed::Protocols
            | Malformed::Extensions => Self::Key,
            _ => Self::Syntax,
        }
    }
}

#[test]
fn all_checks_stand_in_their_order() {
    assert!(Check::ALL.is_sorted());
}
