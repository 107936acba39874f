//! What an entity is called in every copy of a graph.

use datascript::{Db, Eid, Value};

use crate::rules::entity::is_uuid;
use crate::rules::{Result, attrs};

/// A name that other copies find the entity by: its uuid, or else its ident.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Name {
    Uuid(Value),
    Ident(Value),
}

impl Name {
    /// The name of an entity in a database. What is neither a uuid nor a text, in the place of a uuid, is no name.
    pub(super) fn of(db: &Db, eid: Eid) -> Result<Option<Self>> {
        Self::choose(db.value(eid, attrs::BLOCK_UUID)?, || Ok(db.value(eid, attrs::DB_IDENT)?))
    }

    /// The name of an entity that has this uuid and this ident, if any.
    pub(super) fn choose(uuid: Option<Value>, ident: impl FnOnce() -> Result<Option<Value>>) -> Result<Option<Self>> {
        Ok(match uuid {
            Some(uuid) if is_uuid(&uuid) || uuid.as_str().is_some() => Some(Self::Uuid(uuid)),
            _ => ident()?.filter(|ident| ident.as_keyword().is_some()).map(Self::Ident),
        })
    }

    /// A reference to the entity where it is known by that name: `[:block/uuid uuid]` or the ident.
    pub(super) fn reference(self) -> Value {
        match self {
            Self::Uuid(uuid) => Value::vector([Value::keyword("block/uuid"), uuid]),
            Self::Ident(ident) => ident,
        }
    }

    /// The tempid of a new entity of that name: the text of a uuid, or of an ident with its colon. No two names share one,
    /// and none is a name of the transaction.
    pub(super) fn tempid(&self) -> Value {
        let (Self::Uuid(value) | Self::Ident(value)) = self;
        match value {
            Value::Uuid(uuid) => Value::from(uuid.to_string()),
            Value::Keyword(ident) if ident.as_str() != "db/current-tx" => Value::from(ident.to_string()),
            Value::String(text) if is_plain(text) => value.clone(),
            other => Value::from(format!("~{}", transit::write_string(other))),
        }
    }
}

/// Whether a text cannot be taken for the tempid of another name, or for a name of the transaction.
fn is_plain(text: &str) -> bool {
    let is_marked = text.starts_with([':', '~']);
    !is_marked && !matches!(text, "datomic.tx" | "datascript.tx") && text.parse::<uuid::Uuid>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_share_a_tempid() {
        let text = "9f3f2433-9098-4b49-a66b-b8cb0848ef3a";
        let uuid = |value| Name::Uuid(value).tempid();
        let names = [
            uuid(Value::Uuid(text.parse().unwrap())),
            uuid(Value::from(text)),
            uuid(Value::from("x")),
            uuid(Value::from(":x")),
            uuid(Value::from("datomic.tx")),
            uuid(Value::from("~[\"~#'\",\"x\"]")),
            Name::Ident(Value::keyword("x")).tempid(),
            Name::Ident(Value::keyword("db/current-tx")).tempid(),
        ];
        for (i, name) in names.iter().enumerate() {
            let text = name.as_str().expect("a text");
            assert!(!["datomic.tx", "datascript.tx", ":db/current-tx"].contains(&text));
            assert!(!names[..i].contains(name), "{text}");
        }
        assert_eq!(names[0], Value::from(text));
        assert_eq!(names[6], Value::from(":x"));
    }
}
