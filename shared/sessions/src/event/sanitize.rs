//! What must not leave the service inside an event (agents.md 3.15).

use serde_json::{Map, Value};

use super::Redactor;

/// Members of an `agent` object that are credentials.
const CREDENTIALS: [&str; 3] = ["api-token", "auth-json", "managed-auth"];

/// Takes the credentials out of an `agent` object. An agent that is a text stays as it is.
pub fn strip_agent(agent: &mut Value) {
    if let Value::Object(members) = agent {
        for credential in CREDENTIALS {
            members.remove(credential);
        }
    }
}

/// Takes credentials out of the data of an event: those of `agent` and of `task.agent`, and whatever looks like a secret or
/// is one, in every text.
pub fn sanitize(data: &mut Value, redactor: &Redactor) {
    if let Some(agent) = data.get_mut("agent") {
        strip_agent(agent);
    }
    if let Some(agent) = data.get_mut("task").and_then(|task| task.get_mut("agent")) {
        strip_agent(agent);
    }
    redact(data, redactor);
}

/// Values are read by `serde_json`, which refuses more than 128 levels: that bounds the recursion.
fn redact(value: &mut Value, redactor: &Redactor) {
    match value {
        Value::String(text) => {
            if let Some(clean) = redactor.clean(text) {
                *text = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| redact(value, redactor)),
        Value::Object(members) => {
            if members.keys().any(|key| redactor.clean(key).is_some()) {
                let old = std::mem::take(members);
                *members = old
                    .into_iter()
                    .map(|(key, value)| (redactor.clean(&key).unwrap_or(key), value))
                    .collect::<Map<_, _>>();
            }
            members.values_mut().for_each(|value| redact(value, redactor));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
