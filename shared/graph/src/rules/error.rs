//! Why a rule refuses an entry, or cannot judge it.

use std::fmt;

use datascript::{Eid, Keyword};

use super::schema_guard::SchemaError;
use super::validate::Kind;

/// A rule's refusal or failure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be read, or refused the transaction data.
    #[error(transparent)]
    Db(#[from] datascript::Error),
    /// An item is neither operation nor map, and not one of those that do no harm.
    #[error("Bad item in transaction data, expected a vector or a map")]
    Item,
    /// A page was moved below something that is no page (sync.md 11.6 rule 1).
    #[error("Page can't have block as parent")]
    PageParent,
    /// An entity would not be valid (sync.md 11.6 rule 2).
    #[error("DB write failed with invalid data: {0}")]
    Invalid(Box<Invalid>),
    /// The schema would become something that a graph cannot do with.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// An item names an entity by a number far beyond all that were given out (D-65).
    #[error("entity id out of range")]
    IdOutOfRange,
    /// There is no entity to which a fact would refer, or none that others know (D-65).
    #[error("nothing found for entity id {0}")]
    NothingFound(Eid),
    /// An entity that others cannot name would get a name: they do not know its facts (D-66).
    #[error("entity {0} is not known to others")]
    Nameless(Eid),
    /// What the entry does cannot be told by the log (D-66).
    #[error("the change cannot be told to others: {0}")]
    Untold(&'static str),
    /// A value would become too big to be stored (D-34).
    #[error("entry too large to store")]
    TooLarge,
}

/// Result of a rule.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The first entity found invalid. Its text names attributes, never their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Invalid {
    /// The entity.
    pub entity: Eid,
    /// What it was judged as; `None` when it is nothing that a graph may hold.
    pub kind: Option<Kind>,
    /// The attribute that is missing or has a bad value, where one alone is to blame.
    pub attribute: Option<Keyword>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.map_or("no known kind", Kind::name);
        write!(f, "entity {} ({kind})", self.entity)?;
        match &self.attribute {
            Some(attribute) => write!(f, ", attribute {attribute}"),
            None => Ok(()),
        }
    }
}
