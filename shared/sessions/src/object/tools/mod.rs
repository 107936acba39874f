//! Tools that the agent of a session calls (pg-sync.md 4.12): a file each, with its name, its schemas and what it does.
//!
//! What an agent says is a stranger's: each tool reads its arguments strictly, out of a body that was bounded before.

mod list_pg_changes;
mod observe_pg_sync;
mod unobserve_pg_sync;

use mcp::{Outcome, Tool};
use serde_json::{Map, Value, json};
use web::Refusal as _;

use super::{Platform, Session};
use crate::error::Error;
use crate::pg_sync::PgSyncError;

/// What comes of a call: the result, or why there is none.
type Result = std::result::Result<Value, NotDone>;

/// Why there is no result.
enum NotDone {
    /// These arguments are missing, wrong or unknown.
    Arguments(Vec<String>),
    /// It was refused, or failed.
    Failed(Error),
}

impl From<Error> for NotDone {
    fn from(error: Error) -> Self {
        match error {
            Error::PgSync(PgSyncError::InvalidOptions(fields)) => Self::Arguments(fields),
            other => Self::Failed(other),
        }
    }
}

impl From<PgSyncError> for NotDone {
    fn from(error: PgSyncError) -> Self {
        Error::from(error).into()
    }
}

/// Every tool.
pub(super) fn all() -> Vec<Tool> {
    vec![observe_pg_sync::tool(), unobserve_pg_sync::tool(), list_pg_changes::tool()]
}

/// Calls a tool by its name.
pub(super) async fn call<P: Platform>(session: &Session<P>, tool: &str, arguments: &Map<String, Value>) -> Outcome {
    // An object as the readers of bodies take it.
    let arguments = Value::Object(arguments.clone());
    let done = match tool {
        observe_pg_sync::NAME => observe_pg_sync::call(session, &arguments).await,
        unobserve_pg_sync::NAME => unobserve_pg_sync::call(session, &arguments).await,
        list_pg_changes::NAME => list_pg_changes::call(session, &arguments).await,
        _ => Err(NotDone::Failed(Error::NotFound)),
    };
    match done {
        Ok(told) => Outcome::Done(told),
        Err(NotDone::Arguments(fields)) if fields.is_empty() => Outcome::Arguments("arguments".to_owned()),
        Err(NotDone::Arguments(fields)) => Outcome::Arguments(fields.join(", ")),
        Err(NotDone::Failed(error)) => Outcome::Failed(refusal(session, &error)),
    }
}

/// What people would be answered (pg-sync.md 4.2), which says nothing of what failed inside.
fn refusal<P: Platform>(session: &Session<P>, error: &Error) -> Value {
    let (_, text) = error.answer();
    let mut told = Map::from_iter([("error".to_owned(), Value::from(text))]);
    told.extend(error.members());
    if let Some(name) = error.event() {
        session.warn(name, error);
    }
    Value::Object(told)
}

/// A text that may not be empty.
fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The schema of an object with these members and no others. `required` are separated by blanks.
fn object(required: &str, properties: &Value) -> Value {
    let required: Vec<&str> = required.split_whitespace().collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if let (Some(members), false) = (schema.as_object_mut(), required.is_empty()) {
        members.insert("required".to_owned(), json!(required));
    }
    schema
}

/// The schema of what somebody else may add members to.
fn open_object(required: &str, properties: &Value) -> Value {
    let mut schema = object(required, properties);
    if let Some(members) = schema.as_object_mut() {
        members.remove("additionalProperties");
    }
    schema
}
