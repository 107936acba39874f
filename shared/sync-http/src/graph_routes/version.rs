//! The schema version that clients are told, the same wherever they are told it (D-44).

use std::future::Future;
use std::rc::Rc;

use web::Failure;

use super::admission::{PATIENCE_MS, within};
use super::{GraphHost, GraphState};
use crate::error::Error;

/// What the index says, else what the graph itself says, which the index then learns, so that it does not change under the
/// clients when the graph is migrated. None where neither knows. Kept for as long as the graph is in memory.
pub(super) async fn find<H: GraphHost>(host: &H, state: &GraphState) -> Result<Option<Rc<str>>, Error> {
    if let Some(version) = known(state) {
        return Ok(Some(version));
    }
    let graph_id = state.graph_id().ok_or(Error::BadRequest("missing graph id"))?;
    let db = host.db().ok_or(Error::IndexMissing)?;
    let (index, id) = (Rc::clone(&db), graph_id.clone());
    let named = ask(host, async move { index::graphs::schema_version(&*index, &id).await }).await?;
    let version = if let Some(version) = named {
        version
    } else {
        let told = host.graph().borrow_mut().schema_version();
        let version = match told {
            Ok(Some(version)) => version,
            // An upload is under way: what it brings is not to be asked yet.
            Ok(None) | Err(graph::Error::NotReady) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (id, told) = (graph_id, version.clone());
        ask(host, async move { index::graphs::name_schema_version(&*db, &id, &told).await }).await?;
        version
    };
    let version: Rc<str> = version.into();
    *state.schema_version.borrow_mut() = Some(Rc::clone(&version));
    Ok(Some(version))
}

/// The version, if it was found before.
pub(super) fn known(state: &GraphState) -> Option<Rc<str>> {
    state.schema_version.borrow().clone()
}

async fn ask<H: GraphHost, T: 'static>(
    host: &H,
    question: impl Future<Output = Result<T, index::Error>> + 'static,
) -> Result<T, Error> {
    match within(question, host.sleep_ms(PATIENCE_MS)).await {
        Some(answer) => Ok(answer?),
        None => Err(Failure("the index gave no answer in time".into()).into()),
    }
}
