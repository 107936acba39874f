//! Why an entry fails, as its sender hears it (sync.md 11.3).

use crate::rules;
use transit::Value;

/// A refused entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// For people: no stack, no stored value.
    pub(super) detail: String,
    /// Blocks that the entry refers to and the graph does not hold.
    pub(super) missing_block_uuids: Vec<String>,
}

impl Failure {
    pub(super) fn new(detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), missing_block_uuids: Vec::new() }
    }

    /// D-34: a row of the entry would pass what one row holds.
    pub(super) fn too_large() -> Self {
        Self::new("entry too large to store")
    }

    /// The log rows of the batch would pass [`limits::BATCH_LOG_BYTES`](protocol::limits::BATCH_LOG_BYTES).
    pub(super) fn batch_too_large() -> Self {
        Self::new("batch too large to store")
    }

    /// The graph would have more attribute names than [`limits::ATTRIBUTE_NAMES`](protocol::limits::ATTRIBUTE_NAMES).
    pub(super) fn too_many_names() -> Self {
        Self::new("too many attribute names")
    }

    /// A value of the entry would be written deeper than readers go.
    pub(super) fn too_deep() -> Self {
        Self::new("nested too deeply")
    }

    /// It would take more steps than [`limits::WORK_STEPS`](protocol::limits::WORK_STEPS).
    pub(super) fn too_much_work() -> Self {
        Self::new("entry needs too much work")
    }

    /// Sorts what a rule or the transactor says: refusals are the entry's fault, anything else is the graph's.
    pub(super) fn from_rule(error: rules::Error) -> Result<Self, datascript::Error> {
        match error {
            rules::Error::Db(datascript::Error::Transact(refusal)) => {
                let missing = refusal.entity_id.as_ref().and_then(missing_block);
                Ok(Self { detail: refusal.message.clone(), missing_block_uuids: missing.into_iter().collect() })
            }
            rules::Error::Db(datascript::Error::TooMuchWork) => Ok(Self::too_much_work()),
            rules::Error::Db(datascript::Error::TooManyNames) => Ok(Self::too_many_names()),
            rules::Error::Db(error) => Err(error),
            refusal => Ok(Self::new(refusal.to_string())),
        }
    }
}

/// The uuid's text of a reference `[:block/uuid uuid]`.
fn missing_block(reference: &Value) -> Option<String> {
    match reference.as_seq()? {
        [attr, uuid] if attr.is_keyword("block/uuid") => match uuid {
            Value::Uuid(uuid) => Some(uuid.to_string()),
            Value::Scalar(malformed) if malformed.tag == 'u' => Some(malformed.rep.to_string()),
            _ => None,
        },
        _ => None,
    }
}
