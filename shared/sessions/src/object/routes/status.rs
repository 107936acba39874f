//! What a session is, for whoever may see it (agents.md 2.6.4), and what the service itself asks.

use std::rc::Rc;

use http::{Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use web::url;

use super::caller::CallerKind;
use super::{Caller, ok};
use crate::error::{CORS, Error};
use crate::event::{Draft, Kind};
use crate::front::UNUSED_SINCE;
use crate::object::core::Core;
use crate::object::workspace::Leaving;
use crate::object::{Platform, Session};

pub(super) async fn status<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    Ok(ok::<P>(&session.look(shown)?))
}

pub(super) async fn access<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    Ok(ok::<P>(&json!({"ok": true})))
}

fn shown(core: &Core) -> Value {
    let state = &core.state;
    let mut task = core.task.0.clone();
    if let (Some(members), Some(checkpoint)) = (task.as_object_mut(), &core.checkpoint) {
        members.insert("sandbox-checkpoint".to_owned(), checkpoint.clone());
    }
    if let Some(agent) = task.get_mut("agent") {
        crate::event::strip_agent(agent);
    }
    let mut shown = runtime_members(core);
    if let Some(holder) = state.holder().filter(|_| state.is_at_desk()) {
        shown.insert(
            "runner".to_owned(),
            json!({
                "runner-id": holder.runner_id,
                "online": holder.outage.is_none(),
                "last-seen-at": holder.last_seen_at,
                "queued": state.orders.len(),
                "phase": holder.phase,
            }),
        );
    }
    if let Some(offer) = state.tools.offer {
        let told = match offer.why_not() {
            None => json!({"offered": true}),
            Some(why) => json!({"offered": false, "reason": why}),
        };
        shown.insert("tools".to_owned(), told);
    }
    shown.insert("session-id".to_owned(), state.id.as_str().into());
    shown.insert("status".to_owned(), state.status.as_str().into());
    shown.insert("task".to_owned(), task);
    shown.insert("audit".to_owned(), json!({"requested-by": state.requested_by, "requested-at": state.created_at}));
    shown.insert("created-at".to_owned(), state.created_at.into());
    shown.insert("updated-at".to_owned(), core.log.last_ts().unwrap_or(state.created_at).into());
    Value::Object(shown)
}

/// What every answer about a session says of its runtime.
pub(super) fn runtime_members(core: &Core) -> Map<String, Value> {
    let provider = core.state.runtime.as_ref().map(|runtime| runtime.provider);
    let mut members = Map::new();
    members.insert("runtime-provider".to_owned(), provider.map(crate::runtime::ProviderKind::as_str).into());
    let has_terminal = provider.is_some_and(crate::runtime::ProviderKind::has_terminal);
    members.insert("terminal-enabled".to_owned(), has_terminal.into());
    members
}

pub(super) async fn branches<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    caller.user()?;
    let is_member = match session.seen_by(caller).await {
        Ok(()) => true,
        Err(Error::NotFound | Error::Forbidden) => false,
        Err(error) => return Err(error),
    };
    let own = if is_member { session.look(|core| core.task.repo_url().map(str::to_owned))? } else { None };
    let asked =
        url::query(request.uri(), "repo-url").filter(|url| !url.trim().is_empty()).map(std::borrow::Cow::into_owned);
    // Elsewhere any repository may be asked for, as far as the App can see it (agents.md 14.3).
    if session.settings.strict_access
        && (own.is_none() || asked.as_ref().is_some_and(|asked| Some(asked) != own.as_ref()))
    {
        return Err(Error::Forbidden);
    }
    let repo = asked.or(own).ok_or(Error::MissingRepository)?;
    let names = session.branches(&repo).await?;
    Ok(ok::<P>(&json!({"branches": names})))
}

/// Whether the session is bound to a sandbox, for the search for sandboxes that nobody owns (agents.md 6.7).
///
/// The status is the answer: 200 when it is and was used lately, 202 when it is and was not, 410 when it is not, 404 without a
/// session.
pub(super) fn disown<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    sandbox_id: &str,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let sandbox_id = of_service(caller, sandbox_id)?;
    if !session.load()? {
        return Err(Error::NotFound);
    }
    let is_unbound = session.is_being_made(&sandbox_id)?;
    let (is_bound, used_at) =
        session.look(|core| (core.state.is_bound_to(&sandbox_id) || is_unbound, core.state.active_at))?;
    let since = request.headers().get(UNUSED_SINCE).and_then(|since| since.to_str().ok()?.parse::<i64>().ok());
    let status = match (is_bound, since) {
        (false, _) => StatusCode::GONE,
        (true, Some(since)) if used_at < since => StatusCode::ACCEPTED,
        (true, _) => StatusCode::OK,
    };
    Ok(web::json(&CORS, status, json!({"bound": is_bound, "last-used-at": used_at}).to_string()))
}

/// The sandbox of the session is removed, because nobody used it for long. What was not pushed is kept first; whoever begins to use
/// the session meanwhile keeps the sandbox.
pub(super) async fn expire<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    sandbox_id: &str,
) -> Result<Response<P::Response>, Error> {
    let sandbox_id = of_service(caller, sandbox_id)?;
    if !session.load()? {
        return Err(Error::NotFound);
    }
    let was_active = session.look(|core| core.state.runtime_active)?;
    let is_free = |core: &Core| {
        let state = &core.state;
        let is_busy = state.turn.is_some()
            || state.ending.is_some()
            || state.publishing.is_some()
            || !state.terminals.is_empty()
            || state.runtime_active != was_active;
        state.is_bound_to(&sandbox_id) && !is_busy
    };
    let runtime = session.look(|core| core.state.runtime.clone().filter(|_| is_free(core)))?;
    let _alone = session.saving.lock().await;
    if let Some(runtime) = runtime {
        session.save_tree(&runtime, Leaving::Removed, session.times.saving()).await;
    }
    session.change(|core, decide| {
        if is_free(core) {
            let state = &mut core.state;
            state.runtime = None;
            state.runtime_active = false;
            state.workspace.seen = None;
            decide.append(state, Draft::new(Kind::SandboxExpired, json!({"sandbox-id": sandbox_id})));
        }
    })?;
    Ok(ok::<P>(&json!({"ok": true})))
}

fn of_service(caller: &Caller, sandbox_id: &str) -> Result<String, Error> {
    if caller.kind != CallerKind::Service {
        return Err(Error::NotFound);
    }
    url::decode(sandbox_id).ok_or(Error::NotFound)
}
