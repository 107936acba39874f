//! What stands in the entity position of an item, or in the value position of a reference attribute.

use transit::Value;

use crate::datom::{E_MAX, Eid};

/// Stands for a field that an item does not have.
pub(super) static NIL: Value = Value::Nil;

/// Name of an entity within one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Tempid<'a> {
    /// Any string.
    Text(&'a str),
    /// A negative number, by the bits of its f64.
    Number(u64),
    /// A map item without `:db/id`, by its place among the prepared maps.
    Map(usize),
    /// The keyword `:db/current-tx`.
    CurrentTx,
}

/// An entity reference that is sorted out as far as it can be without the database.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// A number that is an entity id.
    Eid(Eid),
    /// A tempid.
    Temp(Tempid<'a>),
    /// A name of the current transaction.
    Tx(Tempid<'a>),
    /// A lookup ref, an ident, or something that is no reference: resolving tells.
    Reference(&'a Value),
}

impl<'a> Place<'a> {
    pub(super) fn of(value: &'a Value) -> Self {
        match value {
            Value::Int(number) if *number < 0 => Self::Temp(Tempid::number(value.as_f64())),
            Value::Float(number) if *number < 0.0 => Self::Temp(Tempid::number(Some(*number))),
            Value::Int(number) => match Eid::try_from(*number) {
                Ok(eid) if eid > 0 && eid <= E_MAX => Self::Eid(eid),
                _ => Self::Reference(value),
            },
            Value::String(text) => match &**text {
                ":db/current-tx" | "datomic.tx" | "datascript.tx" => Self::Tx(Tempid::Text(text)),
                _ => Self::Temp(Tempid::Text(text)),
            },
            Value::Keyword(keyword) if keyword.as_str() == "db/current-tx" => Self::Tx(Tempid::CurrentTx),
            _ => Self::Reference(value),
        }
    }

    /// Whether it is a name given within the transaction.
    pub(super) fn is_name(self) -> bool {
        matches!(self, Self::Temp(_) | Self::Tx(_))
    }

    /// Whether the reference may stand with `:db/add` only: tempids, and the strings that name the transaction.
    pub(super) fn is_tempid(self) -> bool {
        matches!(self, Self::Temp(_) | Self::Tx(Tempid::Text(_)))
    }
}

impl Tempid<'_> {
    fn number(number: Option<f64>) -> Self {
        Self::Number(number.unwrap_or_default().to_bits())
    }

    /// The tempid as it was given; none for a map without `:db/id`.
    pub(super) fn value(self) -> Option<Value> {
        match self {
            Self::Text(text) => Some(Value::string(text)),
            Self::Number(bits) => Some(Value::number(f64::from_bits(bits))),
            Self::CurrentTx => Some(Value::keyword("db/current-tx")),
            Self::Map(_) => None,
        }
    }
}
