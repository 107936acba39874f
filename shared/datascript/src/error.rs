//! Everything that can go wrong with a database value.

use thiserror::Error;
use transit::{Keyword, Value};

use crate::storage::{Addr, StorageError};

/// An error of the database layer.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// The transaction data, or an entity reference, is not acceptable; the database is as it was.
    #[error("{0}")]
    Transact(Box<TransactError>),
    /// Rows could not be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A stored row is not what datascript.md 4 says.
    #[error("row {addr} is corrupt: {reason}")]
    Corrupt {
        /// Address of the row; 0 where a tree as a whole is meant.
        addr: Addr,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No further addresses or levels are left.
    #[error("the database is full: {0}")]
    Full(&'static str),
    /// What was asked for takes more steps than [`Work::allow`](crate::Work::allow) allowed.
    #[error("too much work")]
    TooMuchWork,
    /// A transaction brought more attribute names than [`Attrs::allow`](crate::Attrs::allow) allowed.
    #[error("too many attribute names")]
    TooManyNames,
}

/// Result of the database layer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why transaction data was refused (datascript.md 9.10).
#[derive(Clone, Debug, Error, PartialEq)]
#[error("{message}")]
pub struct TransactError {
    /// The class of the problem.
    pub kind: ErrorKind,
    /// One sentence for humans. It names operations, attributes and entity references, never attribute values.
    pub message: String,
    /// The entity reference as it was given, where one is the problem.
    pub entity_id: Option<Value>,
    /// The attribute concerned, where there is one.
    pub attribute: Option<Keyword>,
}

/// Class of a [`TransactError`] (datascript.md 9.10).
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum ErrorKind {
    /// Malformed items, nil values, bad attributes, misused tempids, unknown operations.
    TransactSyntax,
    /// Another entity holds the value of a unique attribute.
    TransactUnique,
    /// Identity attributes point at different entities.
    TransactUpsert,
    /// The current value is not the expected one.
    TransactCas,
    /// A map item that would define an attribute is not acceptable.
    TransactSchema,
    /// A schema fact to retract is not part of the schema.
    RetractSchema,
    /// Nothing is found for an entity reference that must resolve.
    EntityIdMissing,
    /// Not an entity reference.
    EntityIdSyntax,
    /// An entity id beyond the greatest possible one.
    EntityId,
    /// A lookup ref that is not a pair.
    LookupRefSyntax,
    /// A lookup ref by an attribute that is not unique.
    LookupRefUnique,
    /// An AVET read by an attribute that is not indexed.
    IndexAccess,
}

impl ErrorKind {
    /// The text of the keyword (without the colon) that the reference carries under `:error`.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::TransactSyntax => "transact/syntax",
            Self::TransactUnique => "transact/unique",
            Self::TransactUpsert => "transact/upsert",
            Self::TransactCas => "transact/cas",
            Self::TransactSchema => "transact/schema",
            Self::RetractSchema => "retract/schema",
            Self::EntityIdMissing => "entity-id/missing",
            Self::EntityIdSyntax => "entity-id/syntax",
            Self::EntityId => "entity-id",
            Self::LookupRefSyntax => "lookup-ref/syntax",
            Self::LookupRefUnique => "lookup-ref/unique",
            Self::IndexAccess => "index-access",
        }
    }
}

impl TransactError {
    /// An error without a reference.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), entity_id: None, attribute: None }
    }

    /// The same with the entity reference concerned.
    #[must_use]
    pub fn entity(mut self, reference: Value) -> Self {
        self.entity_id = Some(reference);
        self
    }

    /// The same with the attribute concerned.
    #[must_use]
    pub fn attribute(mut self, attribute: Keyword) -> Self {
        self.attribute = Some(attribute);
        self
    }
}

impl From<TransactError> for Error {
    fn from(error: TransactError) -> Self {
        Self::Transact(Box::new(error))
    }
}

impl Error {
    /// The refusal, if this is one.
    pub fn transact(&self) -> Option<&TransactError> {
        match self {
            Self::Transact(error) => Some(error),
            _ => None,
        }
    }

    /// The class of a refusal.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.transact().map(|error| error.kind)
    }
}
