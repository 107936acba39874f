//! Messages (agents.md 2.6.5, 3.7).

use std::rc::Rc;

use http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::repeated::{self, Repeat};
use super::{Caller, body, ok, publish};
use crate::error::Error;
use crate::event::Draft;
use crate::object::{Platform, Session};
use crate::session::decide;
use crate::session::store::Order;

#[derive(Deserialize)]
struct Message {
    message: String,
    kind: Option<String>,
}

pub(super) async fn post<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    let user = session.steered_by(caller).await?;
    let (message, bytes): (Message, _) = body::<P, _>(request).await?;
    let taken = match repeated::begin(session, caller, request, &bytes)? {
        Repeat::Answered(response) => return Ok(response),
        Repeat::First(taken) => Some(taken),
        Repeat::Unkeyed => None,
    };
    let answer = accept(session, user, message).await;
    if let Some(taken) = taken {
        taken.finish(session, &answer)?;
    }
    Ok(ok::<P>(&answer?))
}

async fn accept<P: Platform>(session: &Rc<Session<P>>, user: &str, message: Message) -> Result<Value, Error> {
    if let Some(published) = publish::by_chat(session, user, &message.message, message.kind.as_deref()).await? {
        return Ok(json!({"ok": true, "publish": published}));
    }
    let (seq, waiting) = session.look(|core| (core.state.next_order, core.state.waiting_orders()))?;
    if waiting >= session.settings.session.max_orders {
        return Err(Error::QueueFull);
    }
    let now = session.platform.now_ms();
    let logged = Draft::user_message(user, message.kind.as_deref(), &message.message);
    let order = Order { message: message.message, by: user.to_owned(), kind: message.kind };
    session.change_with(
        |core, decide| {
            core.incoming = Some((seq, order.clone()));
            core.state.next_order = seq.saturating_add(1);
            decide::on_message(&mut core.state, decide, user, seq, logged);
        },
        &|rows| rows.put_order(seq, &order, now),
    )?;
    Ok(json!({"ok": true}))
}
