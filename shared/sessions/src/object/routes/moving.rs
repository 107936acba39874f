//! A session goes to another runtime (session-mailbox.md 7.5).

use std::rc::Rc;

use http::{Request, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Caller, body, ok};
use crate::error::Error;
use crate::mailbox::limits::CLOSE_MS;
use crate::object::{Platform, Session};
use crate::runtime::ProviderKind;
use crate::session::MovedTo;

/// Between two looks whether it has left, in milliseconds.
const LOOK_MS: u32 = 50;
/// Added to the time that its runner has to answer.
const SLACK_MS: i64 = 5_000;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Asked {
    runtime_provider: String,
    runner_id: Option<String>,
    force: bool,
}

pub(super) async fn post<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    session.steered_by(caller).await?;
    let (asked, _): (Asked, _) = body::<P, _>(request).await?;
    let provider = ProviderKind::parse(&asked.runtime_provider).ok_or(Error::InvalidBody)?;
    let (is_terminal, owner) = session
        .look(|core| (core.state.status.is_terminal() || core.state.archived, core.state.requested_by.clone()))?;
    if is_terminal {
        return Err(Error::NotWritable);
    }
    match provider {
        ProviderKind::LocalRunner => session.check_runner(&owner, asked.runner_id.as_deref()).await?,
        // Where the operator has no sandboxes, the session stays where it is: nothing could ever be made there.
        ProviderKind::E2b if session.settings.runtime.e2b_api_key.is_none() => return Err(Error::RuntimeUnavailable),
        ProviderKind::E2b | ProviderKind::LocalDev => {}
    }
    let to = MovedTo { provider, runner_id: asked.runner_id };
    session.begin_move(&to, asked.force)?;
    let until = session.platform.now_ms().saturating_add(CLOSE_MS).saturating_add(SLACK_MS);
    while session.look(|core| core.state.moving.is_some())? && session.platform.now_ms() < until {
        session.platform.sleep_ms(LOOK_MS).await;
    }
    if session.look(|core| core.state.moved_to.as_ref() == Some(&to))? {
        Ok(ok::<P>(&json!({"ok": true})))
    } else {
        Err(Error::RunnerOffline)
    }
}
