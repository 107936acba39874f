//! What a session may use and has used (agents.md 20.1).

use std::rc::Rc;

use http::{Request, Response};
use serde_json::{Value, json};

use super::{Caller, body, ok};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::session::budget::Budget;
use crate::session::decide;

pub(super) async fn get<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
) -> Result<Response<P::Response>, Error> {
    session.seen_by(caller).await?;
    Ok(ok::<P>(&shown(session).await?))
}

pub(super) async fn set<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    if !session.look(|core| core.state.requested_by == user)? {
        return Err(Error::Forbidden);
    }
    let (budget, _): (Budget, _) = body::<P, _>(request).await?;
    session.change(|core, decide| decide::set_budget(&mut core.state, decide, user, budget))??;
    Ok(ok::<P>(&shown(session).await?))
}

async fn shown<P: Platform>(session: &Rc<Session<P>>) -> Result<Value, Error> {
    session.ask_user_day().await?;
    let user_day = &session.settings.session.budget_user_day;
    session.change(|core, decide| {
        decide::count_time(&mut core.state, decide);
        let usage = &core.state.usage;
        let reached: Vec<&str> =
            decide::reached_limits(&core.state, decide).into_iter().map(crate::session::budget::Kind::as_str).collect();
        json!({
            "budget": core.state.budget.shown(),
            "used": usage.total.shown(),
            "user-day": {"budget": user_day.shown(), "used": usage.user_day(decide.now).shown()},
            "reached": reached,
        })
    })
}
