//! How a runner is to end, beyond that it is (docs/spec/session-mailbox.md 8.1): `stop` and `restart` say so over its daemon's socket, before they
//! end it.

use std::path::Path;
use std::time::Duration;

use daemon_lifecycle::endpoint::{self, Endpoint};
use daemon_lifecycle::{Scope, record};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The route of the daemon.
pub(crate) const ROUTE: &str = "/leave";
/// How long an answer may take that is not waited for on purpose.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Leaving {
    /// How long turns are waited for, in milliseconds. From now on no prompts are taken.
    pub(crate) drain_ms: u64,
    /// What works for sessions ends with the runner.
    pub(crate) kill_sessions: bool,
    /// Another runner follows at once.
    pub(crate) upgrade: bool,
}

/// Says it to the runner of a state folder, and waits for its turns as long as it says. Whether none runs any more; none when there is no runner, or
/// it does not hear: whoever ends it then says so.
///
/// # Errors
/// The folder's name is none.
pub(crate) fn tell(state: &Path, leaving: &Leaving) -> Result<Option<bool>, Failure> {
    let scope = Scope::new(state, None).map_err(|error| Failure::Configuration(error.to_string()))?;
    let Ok(text) = std::fs::read(scope.record()) else { return Ok(None) };
    let reading = record::read(&text);
    let Some(record) = reading.record() else { return Ok(None) };
    let (Some(endpoint), Some(token)) = (Endpoint::read(&record.endpoint), endpoint::token(&scope, record)) else {
        return Ok(None);
    };
    let body = serde_json::to_vec(leaving).map_err(|error| Failure::other("a request", error))?;
    let limit = Duration::from_millis(leaving.drain_ms).saturating_add(PATIENCE);
    let answer = endpoint::request(&endpoint, "POST", ROUTE, Some(&token), &body, limit);
    let Some(answer) = answer.ok().filter(|answer| answer.status == 200) else { return Ok(None) };
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    Ok(said.get("drained").and_then(serde_json::Value::as_bool))
}
