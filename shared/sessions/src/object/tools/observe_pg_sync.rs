//! The agent is woken when rows of a table change.

use mcp::Tool;
use pg_sync::fields::Fields;
use pg_sync::wake::MAX_DEBOUNCE_MS;
use serde_json::{Map, Value, json};

use super::{NotDone, Result, object, open_object};
use crate::object::{Platform, Session};

pub(super) const NAME: &str = "observe_pg_sync";

/// Arguments that mean the same in the body of `POST /sessions/:id/pg-sync`.
const SAME: [&str; 7] = ["connection", "url", "table", "columns", "where", "params", "replica"];

pub(super) fn tool() -> Tool {
    let text = json!({"type": "string"});
    let operations = json!({"type": "array", "minItems": 1, "items": {"enum": ["insert", "update", "delete"]}});
    let debounce = json!({"type": "integer", "minimum": 0, "maximum": MAX_DEBOUNCE_MS,
        "description": "Wake only after so many milliseconds without a further change. 0, the default: at once."});
    let wake = object("", &json!({"ops": operations, "debounceMs": debounce}));
    Tool {
        name: NAME,
        description: "Observe a table of a PostgreSQL database: from now on you are sent a message whenever rows of it change, without asking \
            again. Name a connection (of the user whose session this is) or, where that is allowed, the url of a shape service. Observing \
            the same twice is once. The answer holds the source_id for the other tools.",
        input: object(
            "table",
            &json!({
                "connection": {"type": "string", "description": "The name of a connection; either this or url."},
                "url": {"type": "string", "description": "The address of a shape service; either this or connection."},
                "table": {"type": "string", "pattern": "\\S", "description": "The table, such as orders or shop.orders."},
                "columns": {"type": "array", "items": text, "description": "Only these columns; all by default."},
                "where": {"type": "string", "description": "Only rows for which this SQL condition holds, such as status = $1."},
                "params": {"type": ["array", "object"], "description": "The texts that $1, $2, … of where stand for."},
                "replica": {"enum": ["default", "full"], "description": "With full, updates carry the whole row and its old values."},
                "wake": wake,
            }),
        ),
        output: object(
            "source_id subscription_id sourceRef streamUrl wake",
            &json!({"source_id": text, "subscription_id": text, "sourceRef": text, "streamUrl": text,
                "wake": open_object("debounceMs", &json!({"ops": operations, "debounceMs": {"type": "integer"}}))}),
        ),
    }
}

pub(super) async fn call<P: Platform>(session: &Session<P>, arguments: &Value) -> Result {
    let observed = session.observe(&body(arguments).map_err(NotDone::Arguments)?).await.map_err(renamed)?;
    let of = |name: &str| observed.shown.get(name).cloned().unwrap_or_default();
    let wake = observed.shown.get("wake");
    let mut told = Map::from_iter(wake.and_then(|wake| wake.get("ops")).map(|ops| ("ops".to_owned(), ops.clone())));
    let debounce = wake.and_then(|wake| wake.get("debounce_ms")).and_then(Value::as_i64).unwrap_or_default();
    told.insert("debounceMs".to_owned(), debounce.into());
    Ok(json!({
        "source_id": of("source_id"),
        "subscription_id": of("subscription_id"),
        "sourceRef": of("sourceRef"),
        "streamUrl": of("streamUrl"),
        "wake": told,
    }))
}

/// The body of `POST /sessions/:id/pg-sync` that asks for the same. What is wrong with its members is found there; here are the names of
/// arguments that there are none of.
fn body(arguments: &Value) -> std::result::Result<Value, Vec<String>> {
    let mut fields = Fields::of(arguments).ok_or_else(Vec::new)?;
    let mut body = Map::new();
    for name in SAME {
        body.extend(fields.optional(name, |value| Some((name.to_owned(), value.clone()))));
    }
    let wake = fields.optional("wake", |wake| Some(wake.clone()));
    if let Some(wake) = wake {
        let Some(mut members) = Fields::of(&wake) else { return Err(vec!["wake".to_owned()]) };
        let mut told = Map::new();
        for (name, ours) in [("ops", "ops"), ("debounceMs", "debounce_ms")] {
            told.extend(members.optional(name, |value| Some((ours.to_owned(), value.clone()))));
        }
        for name in members.finish().err().unwrap_or_default() {
            fields.refuse(format!("wake.{name}"));
        }
        body.insert("wake".to_owned(), told.into());
    }
    fields.finish()?;
    Ok(Value::Object(body))
}

/// What is wrong, under the name that the agent knows it by.
fn renamed(error: crate::error::Error) -> NotDone {
    match error.into() {
        NotDone::Arguments(fields) => NotDone::Arguments(
            fields
                .into_iter()
                .map(|name| if name == "wake.debounce_ms" { "wake.debounceMs".to_owned() } else { name })
                .collect(),
        ),
        failed @ NotDone::Failed(_) => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fact 29 of pg-sync.md 3, as far as it is about what is asked.
    #[test]
    fn arguments_become_the_body_of_the_route() {
        let asked = json!({"connection": "main", "table": "t", "params": {"1": "a"}, "wake": {"ops": ["insert"], "debounceMs": 0}});
        let expected = json!({"connection": "main", "table": "t", "params": {"1": "a"}, "wake": {"ops": ["insert"], "debounce_ms": 0}});
        assert_eq!(body(&asked), Ok(expected));
        assert_eq!(body(&json!({})), Ok(json!({})));
        for (asked, wrong) in [
            (json!({"table": "t", "replace": true, "on_gap": "diff"}), vec!["on_gap", "replace"]),
            (
                json!({"wake": {"timeoutMs": 5, "debounce_ms": 1}, "more": 1}),
                vec!["more", "wake.debounce_ms", "wake.timeoutMs"],
            ),
            (json!({"wake": 5}), vec!["wake"]),
            (json!([]), vec![]),
        ] {
            assert_eq!(body(&asked), Err(wrong.into_iter().map(str::to_owned).collect()), "{asked}");
        }
    }
}
