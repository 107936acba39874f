//! What is observed: a table, or a part of it (pg-sync.md 2.1, 4.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::fields::Fields;
use crate::js;

/// Most columns of a source.
pub const MAX_COLUMNS: usize = 100;
/// The longest `where`, in bytes.
pub const MAX_WHERE_BYTES: usize = 4 * 1024;
/// Most parameters of a `where`.
pub const MAX_PARAMS: usize = 32;
/// The longest parameter, in bytes; also the longest name of a table or a column.
pub const MAX_PARAM_BYTES: usize = 1024;

/// What changes carry besides what has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Replica {
    /// An update carries the key and the changed columns.
    #[default]
    Default,
    /// An update carries the whole row, and what it was.
    Full,
}

impl Replica {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Full => "full",
        }
    }
}

/// What follows when changes cannot be known (pg-sync.md 4.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGap {
    /// Observers are told.
    #[default]
    Event,
    /// Rows are compared with what they were, and the differences told.
    Diff,
}

impl OnGap {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Diff => "diff",
        }
    }
}

/// Values for `$1`, `$2` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Params {
    /// From 1.
    List(Vec<String>),
    /// By number.
    Map(BTreeMap<String, String>),
}

impl Params {
    /// Number and value of each, in the order of an identity.
    pub fn numbered(&self) -> Vec<(String, &str)> {
        match self {
            Self::List(values) => {
                values.iter().enumerate().map(|(at, value)| ((at + 1).to_string(), value.as_str())).collect()
            }
            Self::Map(values) => {
                let mut pairs: Vec<_> = values.iter().map(|(key, value)| (key.clone(), value.as_str())).collect();
                pairs.sort_by(|(a, _), (b, _)| js::compare_keys(a, b));
                pairs
            }
        }
    }

    fn read(given: &Json) -> Option<Self> {
        let text = |value: &Json| value.as_str().filter(|text| text.len() <= MAX_PARAM_BYTES).map(str::to_owned);
        match given {
            Json::Array(values) if values.len() <= MAX_PARAMS => {
                values.iter().map(text).collect::<Option<_>>().map(Self::List)
            }
            Json::Object(values) if values.len() <= MAX_PARAMS => {
                // Placeholders are numbers; another key could end the bracket that it is put into.
                let is_number = |key: &String| key.parse::<u16>().is_ok_and(|number| number.to_string() == *key);
                let pair =
                    |(key, value): (&String, &Json)| Some((key.clone(), text(value)?)).filter(|_| is_number(key));
                values.iter().map(pair).collect::<Option<_>>().map(Self::Map)
            }
            _ => None,
        }
    }
}

/// What is observed, without the address of who serves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The table as it was named, quoted where its name needs it.
    pub table: String,
    /// Columns by name; their order counts. `None` is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// Which rows. An empty text counts.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Values that `where` refers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Params>,
    /// What changes carry.
    #[serde(default)]
    pub replica: Replica,
    /// What follows when changes cannot be known.
    #[serde(default)]
    pub on_gap: OnGap,
}

impl Options {
    /// Reads the members of options out of a body, and leaves in `fields` the names of those that are wrong. `replica` is
    /// what holds where none is given.
    pub fn read(fields: &mut Fields<'_>, replica: Replica) -> Self {
        let name = |value: &Json| value.as_str().is_some_and(|name| !name.is_empty() && name.len() <= MAX_PARAM_BYTES);
        let table = fields.required("table", |value| {
            value.as_str().filter(|table| !table.trim().is_empty() && name(value)).map(str::to_owned)
        });
        let columns = fields.optional("columns", |value| {
            let columns = value.as_array().filter(|columns| (1..=MAX_COLUMNS).contains(&columns.len()))?;
            columns.iter().map(|column| column.as_str().filter(|_| name(column)).map(str::to_owned)).collect()
        });
        let filter = fields.optional("where", |value| {
            value.as_str().filter(|filter| filter.len() <= MAX_WHERE_BYTES).map(str::to_owned)
        });
        Self {
            table: table.unwrap_or_default(),
            columns,
            filter,
            params: fields.optional("params", Params::read),
            replica: fields.optional("replica", |value| Replica::deserialize(value).ok()).unwrap_or(replica),
            on_gap: fields.optional("on_gap", |value| OnGap::deserialize(value).ok()).unwrap_or_default(),
        }
    }

    /// Appends the members that make an identity, after others, in their order.
    pub(crate) fn write_canonical(&self, out: &mut String) {
        let mut member = |name: &str, value: &Json| {
            out.push(',');
            js::write_text(name, out);
            out.push(':');
            js::write_sorted(value, out);
        };
        member("table", &self.table.as_str().into());
        if let Some(columns) = &self.columns {
            member("columns", &columns.as_slice().into());
        }
        if let Some(filter) = &self.filter {
            member("where", &filter.as_str().into());
        }
        match &self.params {
            Some(Params::List(values)) => member("params", &values.as_slice().into()),
            Some(Params::Map(values)) => {
                member(
                    "params",
                    &values.iter().map(|(key, value)| (key.clone(), Json::from(value.as_str()))).collect(),
                );
            }
            None => {}
        }
        member("replica", &self.replica.as_str().into());
        member("on_gap", &self.on_gap.as_str().into());
    }
}
