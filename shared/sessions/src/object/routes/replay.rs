//! A notification is sent again, because the user of its webhook wants it (agents.md 20.3).

use std::rc::Rc;

use http::Response;
use serde_json::json;

use super::caller::CallerKind;
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
) -> Result<Response<P::Response>, Error> {
    if caller.kind != CallerKind::Service || !session.load()? || session.look(|core| core.state.removal.is_some())? {
        return Err(Error::NotFound);
    }
    let delivery_id = web::url::decode(delivery_id).ok_or(Error::NotFound)?;
    let now = session.platform.now_ms();
    if !Outbox(session.platform.sql()).replay(&delivery_id, now)? {
        return Err(Error::NotFound);
    }
    session.change(|core, decide| decide::start_notifying(&mut core.state, decide))?;
    Ok(ok::<P>(&json!({"ok": true})))
}
