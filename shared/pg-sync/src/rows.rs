//! What is remembered of the rows of a source, so that what a gap has hidden can be told afterwards (pg-sync.md 4.8): of each column
//! a short hash of its name and one of its value, never the value.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

/// Most rows that are remembered. A table with more is not compared.
pub const MAX_KNOWN_ROWS: u64 = 50_000;
/// The most that they take, in bytes: keys, and 16 for each column.
pub const MAX_KNOWN_BYTES: u64 = 16 * 1024 * 1024;
/// The largest answer with all rows that is read, in bytes.
pub const MAX_ROWS_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of a column's name or value that are kept.
const HALF: usize = 6;
/// Bytes of a column.
const COLUMN: usize = 2 * HALF;

/// Whether the rows of a source are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Known {
    /// They were not asked for, or not told.
    #[default]
    Unavailable,
    /// There are too many, or they are too large.
    TooLarge,
    /// They are.
    Rows {
        /// How many.
        count: u64,
        /// Their size ([`Row::bytes`]).
        bytes: u64,
    },
}

/// Why rows could not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incomparable {
    /// Those before or those after are not known.
    Unavailable,
    /// There are too many of them, or of differences.
    TooLarge,
}

impl Incomparable {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TooLarge => "too_large",
        }
    }
}

impl From<Incomparable> for Known {
    fn from(why: Incomparable) -> Self {
        match why {
            Incomparable::Unavailable => Self::Unavailable,
            Incomparable::TooLarge => Self::TooLarge,
        }
    }
}

/// One row: its columns by the hashes of their names, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row(Vec<[u8; COLUMN]>);

impl Row {
    /// The row with these columns.
    pub fn of(value: &Json, types: &Types) -> Self {
        Self::default().with(value, types)
    }

    /// The same row after these columns have changed. Others stay.
    #[must_use]
    pub fn with(mut self, value: &Json, types: &Types) -> Self {
        for (name, value) in value.as_object().into_iter().flatten() {
            let column = column(name, &types.canonical(name, value));
            match self.0.binary_search_by(|known| name_of(known).cmp(name_of(&column))) {
                Ok(at) => self.0.iter_mut().skip(at).take(1).for_each(|known| *known = column),
                Err(at) => self.0.insert(at, column),
            }
        }
        self
    }

    /// What it takes with its key, in bytes.
    pub const fn bytes(&self, key: &str) -> u64 {
        (key.len() + self.0.len() * (COLUMN + COLUMN / 3)) as u64
    }

    /// As it is stored.
    pub fn to_text(&self) -> String {
        STANDARD_NO_PAD.encode(self.0.as_flattened())
    }

    /// What was stored; `None` for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = STANDARD_NO_PAD.decode(text).ok()?;
        let (columns, rest) = bytes.as_chunks::<COLUMN>();
        rest.is_empty().then(|| Self(columns.to_vec()))
    }
}

fn name_of(column: &[u8; COLUMN]) -> &[u8] {
    column.split_at(HALF).0
}

fn column(name: &str, value: &str) -> [u8; COLUMN] {
    let mut column = [0; COLUMN];
    let (of_name, of_value) = (Sha256::digest(name), Sha256::digest(value));
    for (byte, hash) in column.iter_mut().zip(of_name.iter().take(HALF).chain(of_value.iter().take(HALF))) {
        *byte = *hash;
    }
    column
}

/// The types of columns, as far as they decide how one value is written in two ways: a database writes it one way into its log, and
/// another way where it is cast to a text, as a service may do with rows of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    booleans: BTreeSet<String>,
    padded: BTreeSet<String>,
    addresses: BTreeSet<String>,
}

impl Types {
    /// Reads the header `electric-schema`. What cannot be read names no types: then values that are written otherwise count as others.
    pub fn read(schema: Option<&str>) -> Self {
        let columns: BTreeMap<String, Json> =
            schema.and_then(|schema| serde_json::from_str(schema).ok()).unwrap_or_default();
        let mut types = Self::default();
        // The schema's length bounds it.
        for (name, column) in columns {
            let is_array = column.get("dims").and_then(Json::as_u64).is_some_and(|dims| dims > 0);
            match column.get("type").and_then(Json::as_str).filter(|_| !is_array) {
                Some("bool") => types.booleans.insert(name),
                Some("bpchar") => types.padded.insert(name),
                Some("inet") => types.addresses.insert(name),
                _ => continue,
            };
        }
        types
    }

    /// A value as a text of its own: a text is not the number or the null that looks like it.
    fn canonical(&self, name: &str, value: &Json) -> String {
        let Json::String(text) = value else { return value.to_string() };
        let text = match text.as_str() {
            "t" if self.booleans.contains(name) => "true",
            "f" if self.booleans.contains(name) => "false",
            text if self.padded.contains(name) => text.trim_end_matches(' '),
            text if self.addresses.contains(name) => {
                let whole = if text.contains(':') { "/128" } else { "/32" };
                text.strip_suffix(whole).unwrap_or(text)
            }
            text => text,
        };
        format!("\"{text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_row_is_what_its_columns_are() {
        let types = Types::default();
        let of = |value: Json| Row::of(&value, &types);
        let row = of(json!({"id": "1", "n": "7", "text": null}));
        assert_eq!(row, of(json!({"text": null, "n": "7", "id": "1"})));
        for other in [
            json!({"id": "1", "n": "8", "text": null}),
            json!({"id": "1", "n": 7, "text": null}),
            json!({"id": "1", "n": "7", "text": "null"}),
            json!({"id": "1", "n": "7"}),
        ] {
            assert_ne!(row, of(other));
        }
        let partly = of(json!({"id": "1", "n": "6", "text": null}));
        assert_eq!(partly.with(&json!({"id": "1", "n": "7"}), &types), row, "columns that are not named stay");
        assert_eq!(Row::from_text(&row.to_text()), Some(row.clone()));
        assert_eq!(row.bytes("key"), 3 + row.to_text().len() as u64);
        assert_eq!(Row::from_text(""), Some(Row::default()));
        assert!(["A", "AAAA", "*"].into_iter().all(|text| Row::from_text(text).is_none()));
    }

    #[test]
    fn one_value_may_be_written_in_two_ways() {
        let schema = r#"{"b":{"type":"bool"},"c":{"type":"bpchar","max_length":5},"i":{"type":"inet"},"t":{"type":"text"},
            "l":{"type":"bool","dims":1}}"#;
        let types = Types::read(Some(schema));
        let same = |a: Json, b: Json| Row::of(&a, &types) == Row::of(&b, &types);
        for (column, log, cast) in [
            ("b", "t", "true"),
            ("b", "f", "false"),
            ("c", "ab   ", "ab"),
            ("i", "10.0.0.1", "10.0.0.1/32"),
            ("i", "::1", "::1/128"),
        ] {
            assert!(same(json!({column: log}), json!({column: cast})), "{column} {log}");
            assert!(
                !same(json!({"t": log}), json!({"t": cast})) && !same(json!({"l": log}), json!({"l": cast})),
                "{log}"
            );
        }
        assert!(!same(json!({"i": "10.0.0.1"}), json!({"i": "10.0.0.1/31"})));
        for schema in [None, Some("["), Some("[]"), Some(r#"{"a":7}"#)] {
            assert_eq!(Types::read(schema), Types::default());
        }
    }
}
