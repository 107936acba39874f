//! What an attribute is, as a set of bits.

use transit::Value;

/// Derived flags of an attribute (datascript.md 8.3).
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Flags(u8);

impl Flags {
    /// Several values an entity.
    pub const MANY: Self = Self(1);
    /// Values are entity ids.
    pub const REF: Self = Self(2);
    /// Values are parts that go with their owner.
    pub const COMPONENT: Self = Self(4);
    /// Datoms added now go into AVET as well.
    pub const INDEXED: Self = Self(8);
    /// At most one entity holds a value, and the value stands for that entity.
    pub const UNIQUE_IDENTITY: Self = Self(16);
    /// At most one entity holds a value.
    pub const UNIQUE_VALUE: Self = Self(32);
    /// Facts with this attribute change the schema (datascript.md 8.2).
    pub(crate) const LIVE: Self = Self(64);

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether every bit of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Cardinality many.
    pub const fn is_many(self) -> bool {
        self.contains(Self::MANY)
    }

    /// Reference type.
    pub const fn is_ref(self) -> bool {
        self.contains(Self::REF)
    }

    /// Component.
    pub const fn is_component(self) -> bool {
        self.contains(Self::COMPONENT)
    }

    /// Indexed by value.
    pub const fn is_indexed(self) -> bool {
        self.contains(Self::INDEXED)
    }

    /// Unique identity.
    pub const fn is_identity(self) -> bool {
        self.contains(Self::UNIQUE_IDENTITY)
    }

    /// Unique of either kind.
    pub const fn is_unique(self) -> bool {
        self.0 & (Self::UNIQUE_IDENTITY.0 | Self::UNIQUE_VALUE.0) != 0
    }

    /// Changes the schema.
    pub(crate) const fn is_live(self) -> bool {
        self.contains(Self::LIVE)
    }

    /// With what one fact of the attribute map adds. The test is on the value, under whatever key it stands.
    pub(crate) fn with_fact(self, key: &Value, value: &Value) -> Self {
        let added = match value {
            Value::Keyword(keyword) => match keyword.as_str() {
                "db.unique/identity" => Self::UNIQUE_IDENTITY.union(Self::INDEXED),
                "db.unique/value" => Self::UNIQUE_VALUE.union(Self::INDEXED),
                "db.cardinality/many" => Self::MANY,
                "db.type/ref" => Self::REF.union(Self::INDEXED),
                _ => Self::default(),
            },
            Value::Bool(true) if key.is_keyword("db/isComponent") => Self::COMPONENT,
            Value::Bool(true) if key.is_keyword("db/index") => Self::INDEXED,
            _ => Self::default(),
        };
        self.union(added)
    }
}
