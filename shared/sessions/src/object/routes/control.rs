//! Pause, resume, interrupt, cancel (agents.md 2.6.6).

use std::rc::Rc;

use http::Response;
use serde_json::json;

use super::{Caller, ok};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::session::decide;

pub(super) async fn pause<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    session.change(|core, decide| decide::pause(&mut core.state, decide, user))??;
    Ok(ok::<P>(&json!({"ok": true})))
}

pub(super) async fn interrupt<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    session.change(|core, decide| decide::interrupt(&mut core.state, decide, user))??;
    Ok(ok::<P>(&json!({"ok": true})))
}

pub(super) async fn resume<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    session.ask_user_day().await?;
    let flushed = session.change(|core, decide| {
        decide::count_time(&mut core.state, decide);
        if let Some(kind) = decide::reached_limits(&core.state, decide).first() {
            return Err(Error::BudgetReached(*kind));
        }
        Ok(decide::resume(&mut core.state, decide, user)?)
    })??;
    Ok(ok::<P>(&json!({"ok": true, "flushed": flushed})))
}

pub(super) async fn cancel<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    session.change(|core, decide| decide::cancel(&mut core.state, decide, user))?;
    Ok(ok::<P>(&json!({"ok": true})))
}
