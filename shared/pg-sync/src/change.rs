//! One change of a row, as it is kept and told (pg-sync.md 4.5, 4.13).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

/// The largest value of a row that is kept, in bytes of JSON. A row of an object's storage is limited to 2 MB.
pub const MAX_VALUE_BYTES: usize = 256 * 1024;

/// What was done to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// It is new.
    Insert,
    /// Columns other than its key are others.
    Update,
    /// It is gone.
    Delete,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Insert, Self::Update, Self::Delete];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }
}

/// A place in the log of a database: commit first, then the order within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The position of the commit.
    pub tx: u64,
    /// The number within it.
    pub op: u64,
}

/// A change as it was sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// Which row.
    pub key: String,
    /// What was done to it.
    pub operation: Operation,
    /// Columns by name.
    pub value: Json,
    /// What they were, with `replica: "full"`.
    pub old_value: Option<Json>,
    /// Where it stands. Rows of a snapshot and compacted items stand nowhere.
    pub position: Option<Position>,
    /// Of which transactions it is, by their numbers modulo 2^32; empty when that is not said.
    pub transactions: Vec<u32>,
    /// Whether it was found by comparing rows: what else has happened to the row is not known.
    pub is_synthetic: bool,
}

/// A change as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its number in the log of the source, from 1.
    pub seq: u64,
    /// How many gaps there were before it.
    pub gap_seq: u64,
    /// Which row.
    pub key: String,
    /// What was done to it.
    pub operation: Operation,
    /// JSON text.
    pub value: Box<str>,
    /// JSON text.
    pub old_value: Option<Box<str>>,
    /// Where it stands in the log of the database.
    pub position: Option<Position>,
    /// When it came, in milliseconds since 1970.
    pub at: i64,
    /// Whether the value holds only the key and what has changed.
    pub partial: bool,
    /// Whether a value was too large and is left out.
    pub truncated: bool,
    /// Whether it was found by comparing rows ([`Received::is_synthetic`]).
    #[serde(default)]
    pub synthetic: bool,
}

impl Change {
    /// Its size as it counts for the ring, in bytes.
    pub fn bytes(&self) -> u64 {
        let old = self.old_value.as_ref().map_or(0, |old| old.len());
        (self.key.len() + self.value.len() + old) as u64
    }

    /// As it is told.
    pub fn to_json(&self) -> Json {
        let parsed = |text: &str| serde_json::from_str::<Json>(text).unwrap_or(Json::Null);
        let mut told = Map::new();
        told.insert("seq".into(), self.seq.into());
        told.insert("operation".into(), self.operation.as_str().into());
        told.insert("key".into(), self.key.as_str().into());
        told.insert("value".into(), parsed(&self.value));
        if let Some(old) = &self.old_value {
            told.insert("old_value".into(), parsed(old));
        }
        for (name, holds) in [("partial", self.partial), ("synthetic", self.synthetic), ("truncated", self.truncated)] {
            if holds {
                told.insert(name.into(), true.into());
            }
        }
        // As text: the position of a commit has 64 bits.
        told.insert("tx".into(), self.position.map(|position| position.tx.to_string()).into());
        told.insert("op".into(), self.position.map(|position| position.op).into());
        told.insert("at".into(), self.at.into());
        Json::Object(told)
    }
}

/// A value as it is kept: its text, or what says how large it was. Tells whether it was left out.
pub(crate) fn kept(value: &Json, key: &str) -> (Box<str>, bool) {
    let text = value.to_string();
    let is_large = text.len() > MAX_VALUE_BYTES;
    let text = if is_large { json!({"truncated": true, "size": text.len(), "key": key}).to_string() } else { text };
    (text.into(), is_large)
}
