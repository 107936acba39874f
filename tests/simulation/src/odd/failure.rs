//! Why a graph fails, sorted by the check that found it.

use std::fmt;
use std::str::FromStr;

/// The check that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The server failed, or said that its own rows are corrupt.
    Server,
    /// An answer is not what the protocol knows, or does not agree with what is stored.
    Answer,
    /// A reopened graph differs from the one before.
    Reopened,
    /// An index is out of order.
    Order,
    /// The engine's order of values is no total order.
    Compare,
    /// EAVT, AEVT and the count disagree.
    Indexes,
    /// AVET has a fact that is not there.
    Ghost,
    /// AVET lacks a fact.
    Unindexed,
    /// AVET has a fact whose attribute was never indexed.
    Overindexed,
    /// The stored checksum is not that of the graph.
    Checksum,
    /// The log does not lead to the graph.
    Log,
    /// The same, where an ident is no keyword.
    Ident,
    /// An acknowledged fact is missing.
    Lost,
    /// A fact came or went that no item mentions.
    Frame,
    /// A refused entry changed something.
    Refused,
    /// An upload of the graph's own rows is refused.
    Upload,
    /// The independent reader objects.
    Reader,
    /// The program panicked.
    Panic,
}

impl Kind {
    const ALL: [Self; 18] = [
        Self::Server,
        Self::Answer,
        Self::Reopened,
        Self::Order,
        Self::Compare,
        Self::Indexes,
        Self::Ghost,
        Self::Unindexed,
        Self::Overindexed,
        Self::Checksum,
        Self::Log,
        Self::Ident,
        Self::Lost,
        Self::Frame,
        Self::Refused,
        Self::Upload,
        Self::Reader,
        Self::Panic,
    ];
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |kind: &Self| format!("{kind:?}").to_lowercase();
        Self::ALL.into_iter().find(|kind| name(kind) == text).ok_or_else(|| {
            let names: Vec<String> = Self::ALL.iter().map(name).collect();
            format!("no check {text:?}; there are {}", names.join(", "))
        })
    }
}

/// A failed check and what was found.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
}

/// Result of a check.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(crate) fn new(kind: Kind, detail: impl fmt::Display) -> Self {
        Self { kind, detail: detail.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.detail)
    }
}

/// Errors as failures of one kind.
pub(crate) trait OrFail<T> {
    fn or_fail(self, kind: Kind) -> Outcome<T>;
}

impl<T, E: fmt::Display> OrFail<T> for Result<T, E> {
    fn or_fail(self, kind: Kind) -> Outcome<T> {
        self.map_err(|error| Failure::new(kind, error))
    }
}

/// Fails unless a condition holds.
macro_rules! check {
    ($condition:expr, $kind:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::odd::failure::Failure::new($kind, format!($($message)+)));
        }
    };
}
pub(crate) use check;
