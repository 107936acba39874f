//! Resolving entity references (datascript.md 9.6).

use transit::{Keyword, Value};

use crate::datom::{E_MAX, Eid};
use crate::db::Db;
use crate::describe::describe;
use crate::error::{ErrorKind, Result, TransactError};

impl Db {
    /// The entity that a reference denotes: a positive number is taken as it is, a lookup ref `[attr value]` and an ident
    /// keyword are looked up. `None`: well-formed, but nothing is found.
    pub fn entid(&self, reference: &Value) -> Result<Option<Eid>> {
        match reference {
            Value::Int(number) if *number > 0 => match Eid::try_from(*number) {
                Ok(eid) if eid <= E_MAX => Ok(Some(eid)),
                _ => Err(too_great(reference)),
            },
            Value::Float(number) if *number > f64::from(E_MAX) => Err(too_great(reference)),
            Value::Vector(pair) | Value::List(pair) => match &**pair {
                [attr, value] => self.lookup_ref(reference, attr, value),
                _ => Err(TransactError::new(
                    ErrorKind::LookupRefSyntax,
                    format!("Lookup ref should contain 2 elements: {}", describe(reference)),
                )
                .entity(reference.clone())
                .into()),
            },
            Value::Keyword(_) => self.lookup(self.schema.ident_attr(), reference),
            _ => Err(TransactError::new(
                ErrorKind::EntityIdSyntax,
                format!("Expected number or lookup ref for entity id, got {}", describe(reference)),
            )
            .entity(reference.clone())
            .into()),
        }
    }

    /// The same, where nothing found is an error of kind `:entity-id/missing` that carries the reference.
    pub fn entid_strict(&self, reference: &Value) -> Result<Eid> {
        self.entid(reference)?.ok_or_else(|| {
            TransactError::new(
                ErrorKind::EntityIdMissing,
                format!("Nothing found for entity id {}", describe(reference)),
            )
            .entity(reference.clone())
            .into()
        })
    }

    fn lookup_ref(&self, reference: &Value, attr: &Value, value: &Value) -> Result<Option<Eid>> {
        let attr = attr.as_keyword().and_then(|keyword| self.unique(keyword)).ok_or_else(|| {
            TransactError::new(
                ErrorKind::LookupRefUnique,
                format!("Lookup ref attribute should be marked as :db/unique: {}", describe(reference)),
            )
            .entity(reference.clone())
        })?;
        if value.is_nil() {
            return Ok(None);
        }
        if self.flags(attr).is_ref() {
            // A lookup ref within a lookup ref; Transit bounds how deep that goes.
            let target = self.entid_strict(value)?;
            return self.lookup(attr, &Value::Int(i64::from(target)));
        }
        self.lookup(attr, value)
    }

    fn unique(&self, keyword: &Keyword) -> Option<crate::Attr> {
        self.attr(keyword.as_str()).filter(|attr| self.flags(*attr).is_unique())
    }
}

fn too_great(reference: &Value) -> crate::Error {
    TransactError::new(
        ErrorKind::EntityId,
        format!("Highest supported entity id is {E_MAX}, got {}", describe(reference)),
    )
    .entity(reference.clone())
    .into()
}
