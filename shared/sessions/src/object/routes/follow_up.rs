//! What GitHub tells of a pull request of the session (agents.md 20.4).

use std::rc::Rc;

use http::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::caller::CallerKind;
use super::{Caller, body, ok};
use crate::error::Error;
use crate::follow_up::{About, News};
use crate::object::{Platform, Session};
use crate::session::decide;
use crate::session::store::Feedback;

/// What the front worker sends on. It has checked the signature and the author.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Told {
    /// GitHub's name of the delivery.
    pub(crate) delivery: String,
    /// The repository.
    pub(crate) repository: String,
    /// The pull request.
    pub(crate) number: u64,
    /// What it was said about.
    pub(crate) about: About,
    /// What was said.
    pub(crate) news: News,
}

/// Takes it, or leaves it: either is answered the same, once it is written down.
pub(super) async fn take<P: Platform>(
    session: &Rc<Session<P>>,
    caller: &Caller,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if caller.kind != CallerKind::Service || !session.is_there()? {
        return Err(Error::NotFound);
    }
    let (told, _): (Told, _) = body::<P, _>(request).await?;
    let is_wanted = session.look(|core| {
        let loops = &core.state.follow_up;
        let is_of_session = match &told.about {
            About::Pull(number) => *number == told.number && loops.open(&told.repository, told.number).is_some(),
            About::Commit(commit) => loops.at_commit(&told.repository, commit).any(|pull| pull.number == told.number),
        };
        is_of_session && core.task.follow_up() && decide::hears(&core.state)
    })?;
    let (feedback, now) = (Feedback(session.platform.sql()), session.platform.now_ms());
    if is_wanted && !feedback.knows(&told.delivery)? {
        session.change_with(
            |core, decide| match &told.news {
                News::Said { .. } => decide::on_said(&mut core.state, decide),
                News::Closed { by, merged } => {
                    decide::on_closed(&mut core.state, decide, &told.repository, told.number, by, *merged);
                }
            },
            &|rows| match &told.news {
                News::Said { by, text } => Feedback(rows.0).put(&told.delivery, told.number, by, text, now),
                News::Closed { .. } => Feedback(rows.0).remember(&told.delivery, now),
            },
        )?;
    }
    Ok(ok::<P>(&json!({"ok": true})))
}
