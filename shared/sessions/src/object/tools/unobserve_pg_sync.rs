//! The agent is woken by a table no more; or it looks at what wakes it.

use mcp::Tool;
use pg_sync::fields::Fields;
use pg_sync::reference::of_source;
use serde_json::{Value, json};

use super::{NotDone, Result, object, open_object, text};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::pg_sync::resolve;
use crate::session::store::Watches;

pub(super) const NAME: &str = "unobserve_pg_sync";

pub(super) fn tool() -> Tool {
    let observation =
        open_object("source_id", &json!({"source_id": {"type": "string"}, "table": {"type": ["string", "null"]}}));
    let observations = json!({"type": "array", "items": observation});
    let named = |description: &str| json!({"type": "string", "minLength": 1, "description": description});
    Tool {
        name: NAME,
        description: "End an observation of a table, by the source_id that observe_pg_sync gave or by the table. Without arguments nothing is \
            ended: the answer lists what is observed. Where several observations are of that table, none is ended and they are listed as candidates.",
        input: object(
            "",
            &json!({
                "source_id": named("The observation, as observe_pg_sync named it."),
                "sourceRef": named("The same by its other name; not beside source_id."),
                "table": named("The table, as it was observed."),
            }),
        ),
        output: object(
            "removed",
            &json!({"removed": {"type": "boolean"}, "observations": observations, "candidates": observations}),
        ),
    }
}

/// What is to be ended.
struct Wanted {
    source_id: Option<String>,
    source_ref: Option<String>,
    table: Option<String>,
}

impl Wanted {
    fn read(arguments: &Value) -> std::result::Result<Self, Vec<String>> {
        let mut fields = Fields::of(arguments).ok_or_else(Vec::new)?;
        let source_id = fields.optional("source_id", text);
        let source_ref = fields.optional("sourceRef", text);
        let table = fields.optional("table", text);
        if source_id.is_some() && source_ref.is_some() {
            fields.refuse("sourceRef");
        }
        fields.finish()?;
        Ok(Self { source_id, source_ref, table })
    }

    fn is_nothing(&self) -> bool {
        self.source_id.is_none() && self.source_ref.is_none() && self.table.is_none()
    }
}

pub(super) async fn call<P: Platform>(session: &Session<P>, arguments: &Value) -> Result {
    let wanted = Wanted::read(arguments).map_err(NotDone::Arguments)?;
    if session.platform().bridges().is_none() {
        return Err(crate::pg_sync::PgSyncError::Disabled.into());
    }
    let observations = session.observations().await?;
    if wanted.is_nothing() {
        return Ok(json!({"removed": false, "observations": observations}));
    }
    let mut candidates = Vec::new();
    // At most MAX_WATCHES.
    for observation in observations {
        if is_wanted(session, &wanted, &observation).await? {
            candidates.push(observation);
        }
    }
    let source_id = match candidates.as_slice() {
        [] => return Err(Error::NotFound.into()),
        [one] => one.get("source_id").and_then(Value::as_str).unwrap_or_default(),
        _ => return Ok(json!({"removed": false, "candidates": candidates})),
    };
    if session.unobserve(source_id).await? { Ok(json!({"removed": true})) } else { Err(Error::NotFound.into()) }
}

async fn is_wanted<P: Platform>(
    session: &Session<P>,
    wanted: &Wanted,
    observation: &Value,
) -> std::result::Result<bool, Error> {
    let is = |name: &str, asked: &Option<String>| {
        asked.as_deref().is_none_or(|asked| observation.get(name).and_then(Value::as_str) == Some(asked))
    };
    if !is("source_id", &wanted.source_id) || !is("table", &wanted.table) {
        return Ok(false);
    }
    let Some(asked) = &wanted.source_ref else { return Ok(true) };
    let id = observation.get("subscription_id").and_then(Value::as_str).unwrap_or_default();
    let Some(known) = Watches(session.platform().sql()).observation(id)? else { return Ok(false) };
    let (db, source) = (session.platform().db(), &known.source);
    // The name holds the address: of a connection that is gone nobody knows it.
    let found = resolve(db.as_deref(), &session.settings, &source.owner, &source.connection).await;
    Ok(found.is_ok_and(|found| of_source(&found.url, &source.options) == *asked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted() {
        let read = |arguments: Value| Wanted::read(&arguments);
        assert!(read(json!({})).is_ok_and(|wanted| wanted.is_nothing()));
        assert!(read(json!({"source_id": "a", "table": "t"})).is_ok_and(|wanted| wanted.table.as_deref() == Some("t")));
        for (arguments, wrong) in [
            (json!({"source_id": "a", "sourceRef": "b"}), vec!["sourceRef"]),
            (json!({"source_id": "", "table": 5, "all": true}), vec!["all", "source_id", "table"]),
            (json!([]), vec![]),
        ] {
            let expected: Vec<String> = wrong.into_iter().map(str::to_owned).collect();
            assert_eq!(read(arguments.clone()).err(), Some(expected), "{arguments}");
        }
    }
}
