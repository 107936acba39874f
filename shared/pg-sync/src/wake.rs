//! When an observer is woken (pg-sync.md 4.2, 4.9).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::change::Operation;
use crate::fields::Fields;
use crate::options::{MAX_COLUMNS, MAX_PARAM_BYTES, Replica};

/// The longest pause between a change and its wake, in milliseconds: a day. Also the longest `max_wait_ms`.
pub const MAX_DEBOUNCE_MS: i64 = 86_400_000;
/// How long a wake waits at least for a pause, where nothing else is asked for, in milliseconds.
const LEAST_MAX_WAIT_MS: i64 = 30_000;
/// The longest life of an observation, in seconds: a year.
const MAX_LIFE_S: i64 = 366 * 86_400;

/// What wakes an observer, and how soon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wake {
    /// Which operations; `None` is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ops: Option<BTreeSet<Operation>>,
    /// Columns that hold these texts, or null.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Option<String>>,
    /// How long it has to be quiet before the wake, in milliseconds. 0: a wake with each answer that holds a match.
    #[serde(default)]
    pub debounce_ms: i64,
    /// How long after the first change the wake comes at the latest, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait_ms: Option<i64>,
    /// Whether the first wake ends the observation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_shot: bool,
    /// How long it is observed, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<i64>,
}

/// Why a wake is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WakeError {
    /// Members that are wrong or unknown.
    #[error("wrong members of wake")]
    Fields(Vec<String>),
    /// With `replica: "default"` an update carries only what has changed, so that equality of another column cannot be told.
    #[error("a filter needs replica full")]
    FilterNeedsFullReplica,
}

impl Wake {
    /// Reads the member `wake` of a body.
    pub fn read(given: &Json, replica: Replica) -> Result<Self, WakeError> {
        let mut fields = Fields::of(given).ok_or_else(|| WakeError::Fields(vec![String::new()]))?;
        let within = |least: i64, most: i64| move |value: &Json| value.as_i64().filter(|n| (least..=most).contains(n));
        let ops = fields.optional("ops", |value| {
            let ops = value.as_array().filter(|ops| !ops.is_empty() && ops.len() <= Operation::ALL.len())?;
            ops.iter().map(|op| Operation::deserialize(op).ok()).collect()
        });
        let filter = fields.optional("filter", |value| {
            let filter = value.as_object().filter(|filter| (1..=MAX_COLUMNS).contains(&filter.len()))?;
            let one = |(column, value): (&String, &Json)| {
                let value = match value {
                    Json::Null => None,
                    Json::String(text) if text.len() <= MAX_PARAM_BYTES => Some(text.clone()),
                    _ => return None,
                };
                Some((column.clone(), value)).filter(|(column, _)| column.len() <= MAX_PARAM_BYTES)
            };
            filter.iter().map(one).collect::<Option<BTreeMap<_, _>>>()
        });
        let wake = Self {
            ops,
            filter: filter.unwrap_or_default(),
            debounce_ms: fields.optional("debounce_ms", within(0, MAX_DEBOUNCE_MS)).unwrap_or(0),
            max_wait_ms: fields.optional("max_wait_ms", within(0, MAX_DEBOUNCE_MS)),
            one_shot: fields.optional("one_shot", Json::as_bool).unwrap_or(false),
            expires_in_s: fields.optional("expires_in_s", within(1, MAX_LIFE_S)),
        };
        fields.finish().map_err(WakeError::Fields)?;
        if !wake.filter.is_empty() && replica != Replica::Full {
            return Err(WakeError::FilterNeedsFullReplica);
        }
        Ok(wake)
    }

    /// Whether a change is one that this observer waits for: the operation first, then the filter. A column that the change
    /// does not carry matches nothing. Of a row that was found to be gone when rows were compared (`is_synthetic`) no column is known:
    /// it matches every filter, because a wake too many does less harm than one that never comes.
    pub fn matches(&self, operation: Operation, value: &Json, is_synthetic: bool) -> bool {
        let is_waited_for = self.ops.as_ref().is_none_or(|ops| ops.contains(&operation));
        if is_synthetic && operation == Operation::Delete {
            return is_waited_for;
        }
        is_waited_for
            && self.filter.iter().all(|(column, wanted)| match (value.get(column), wanted) {
                (Some(Json::Null), None) => true,
                (Some(Json::String(held)), Some(wanted)) => held == wanted,
                _ => false,
            })
    }

    /// When the wake is due, in milliseconds since 1970, after a match at `now`. The first match that waits was at `first`.
    pub fn due(&self, first: i64, now: i64) -> i64 {
        if self.debounce_ms == 0 {
            return now;
        }
        let max_wait = self.max_wait_ms.unwrap_or_else(|| self.debounce_ms.saturating_mul(10).max(LEAST_MAX_WAIT_MS));
        now.saturating_add(self.debounce_ms).min(first.saturating_add(max_wait))
    }
}
