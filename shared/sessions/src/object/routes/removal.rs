//! Archive, bring back, delete (agents.md 20.5).

use std::rc::Rc;

use http::Response;
use serde_json::json;

use super::{Caller, ok};
use crate::access;
use crate::error::Error;
use crate::object::mailbox::take_leave;
use crate::object::{Platform, Session};
use crate::session::decide;

pub(super) async fn archive<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    session.change(|core, decide| decide::archive(&mut core.state, decide, user))??;
    Ok(ok::<P>(&json!({"ok": true})))
}

pub(super) async fn unarchive<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    session.change(|core, decide| decide::unarchive(&mut core.state, decide, user))?;
    Ok(ok::<P>(&json!({"ok": true})))
}

/// Whoever created the session, or owns its graph, deletes it.
pub(super) async fn delete<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    let (creator, graph) =
        session.look(|core| (core.state.requested_by.clone(), core.task.graph_id().map(str::to_owned)))?;
    if user != creator {
        access::owns(session.platform.db().as_deref(), user, graph.as_deref()).await?;
    }
    // Whoever holds a token of an earlier run reads nothing more, from the answer on; what is stored meanwhile goes with the rest.
    session.remove_conversation().await?;
    let new_id = || session.platform.random_uuid().to_string();
    session.change(|core, decide| {
        decide::remove(&mut core.state, decide);
        take_leave(core, decide, &new_id);
    })?;
    Ok(ok::<P>(&json!({"ok": true})))
}
