//! A notification is sent again, because the user of its webhook wants it (agents.md 20.3).

use std::rc::Rc;

use http::{Request, Response};
use serde_json::json;

use super::caller::CallerKind;
use super::repeated::{self, Repeat};
use super::{Caller, ok};
use crate::error::Error;
use crate::object::{Platform, Session};
use crate::session::decide;
use crate::session::store::Outbox;

/// The front worker has looked whose the delivery is.
pub(super) fn replay<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    delivery_id: &str,
    request: &Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if caller.kind != CallerKind::Service || !session.load()? || session.look(|core| core.state.removal.is_some())? {
        return Err(Error::NotFound);
    }
    let delivery_id = web::url::decode(delivery_id).ok_or(Error::NotFound)?;
    if !Outbox(session.platform.sql()).knows(&delivery_id)? {
        return Err(Error::NotFound);
    }
    let taken = match repeated::begin(session, caller, request, b"")? {
        Repeat::Answered(response) => return Ok(response),
        Repeat::First(taken) => Some(taken),
        Repeat::Unkeyed => None,
    };
    let now = session.platform.now_ms();
    session.change_with(|core, decide| decide::start_notifying(&mut core.state, decide), &|rows| {
        Outbox(rows.0).replay(&delivery_id, now)
    })?;
    let answer = json!({"ok": true});
    if let Some(taken) = taken {
        taken.finish(session, &Ok(answer.clone()))?;
    }
    Ok(ok::<P>(&answer))
}
