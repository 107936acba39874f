//! Whether a caller may still do what the front worker let pass: its answer may be five seconds old, and removals and
//! deletions are told to the graph itself (D-18, D-70).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use graph::Revocation;
use index::access;
use web::{Event, Level};

use super::question::{Asking, Turn};
use super::{GraphHost, GraphState};
use crate::error::Error;
use crate::graph_call::Caller;
use crate::graph_subject;

/// How long an answer of the index that a socket needs is waited for, in milliseconds. After it the index counts as out of
/// reach.
pub(crate) const PATIENCE_MS: u32 = 3_000;

/// Refuses callers who were removed, and everyone once the graph is deleted. Nothing may be awaited between this and what
/// it is asked for.
pub(super) async fn require<H: GraphHost>(host: &H, state: &GraphState, caller: &Caller) -> Result<(), Error> {
    require_undeleted(host)?;
    if let Caller::User(user) = caller
        && host.graph().borrow_mut().revocation(user)?.is_some()
        && !ask(host, state, user).await
    {
        return Err(Error::Forbidden);
    }
    require_undeleted(host)
}

/// The same between two steps of long work, where nothing can be asked: a removal counts as soon as it is known.
pub(super) fn require_still<H: GraphHost>(host: &H, caller: &Caller) -> Result<(), Error> {
    require_undeleted(host)?;
    match caller {
        Caller::User(user) if host.graph().borrow_mut().revocation(user)?.is_some() => Err(Error::Forbidden),
        _ => Ok(()),
    }
}

/// Refuses once the graph is deleted.
pub(super) fn require_undeleted<H: GraphHost>(host: &H) -> Result<(), Error> {
    if host.graph().borrow_mut().is_deleted()? { Err(Error::NotFound) } else { Ok(()) }
}

/// Membership, asked of the index, about one user once at a time. Everything else goes on meanwhile: who waits for an
/// answer that never comes, because the instance has died or the index hangs, keeps nobody but himself.
///
/// About somebody whose removal is remembered the index's primary copy is asked, at most every five seconds: it has
/// known the removal before the graph did, so when it says yes the user was added again, and the removal is forgotten.
/// When the index cannot be asked a user stays what was known before: an outage is no revocation, and no pardon either.
pub(super) async fn ask<H: GraphHost>(host: &H, state: &GraphState, user_id: &str) -> bool {
    match state.questions.enter(user_id).await {
        Turn::Ask(asking) => {
            let answer = ask_index(host, state, user_id, &asking).await;
            asking.answer(answer)
        }
        // A removal that came since is newer than the answer.
        Turn::Answered(answer) => answer && revocation(host, user_id) == Ok(None),
    }
}

async fn ask_index<H: GraphHost>(host: &H, state: &GraphState, user_id: &str, asking: &Asking<'_>) -> bool {
    let Ok(before) = revocation(host, user_id) else { return false };
    let unknown = before.is_none();
    let (Some(graph_id), Some(db)) = (state.graph_id(), host.db()) else { return unknown };
    let now_ms = host.now_ms();
    if before.is_some() && state.access.get(&graph_id, user_id, now_ms) == Some(false) {
        return false;
    }
    let asked = async {
        // A copy may not have heard of the removal yet. Of others it is believed when it says yes.
        if unknown {
            access::has_access(&*db, &graph_id, user_id).await
        } else {
            access::has_access_now(&*db, &graph_id, user_id).await
        }
    };
    let answer = match within(asked, host.sleep_ms(PATIENCE_MS)).await {
        Some(answer) => answer.map_err(|error| error.to_string()),
        None => Err("no answer in time".to_owned()),
    };
    let allowed = answer.unwrap_or_else(|error| {
        let event = Event::new(Level::Warning, "db-sync/access-recheck-failed");
        host.report(&event.about(graph_subject(&graph_id)).with_error(&error));
        unknown
    });
    // A removal that came with the answer is newer than the answer.
    let Ok(after) = revocation(host, user_id) else { return false };
    if after.is_some() && after != before {
        return false;
    }
    if allowed
        && let Some(revocation) = after
        && host.graph().borrow_mut().lift(user_id, revocation).is_err()
    {
        return false;
    }
    // Also what an outage leaves: each message would wait for it anew. A "no" is kept for those alone whose removal is
    // remembered; to anybody else it is said once, and the socket closed.
    if asking.is_current() && (allowed || !unknown) {
        state.access.put(&graph_id, user_id, allowed, now_ms);
    }
    allowed
}

/// The removal of a user, if one is remembered; an error when that cannot be read.
fn revocation<H: GraphHost>(host: &H, user_id: &str) -> Result<Option<Revocation>, ()> {
    host.graph().borrow_mut().revocation(user_id).map_err(|_| ())
}

/// What `work` gives, unless `timer` ends first.
pub(crate) async fn within<T>(work: impl Future<Output = T>, timer: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut timer) = (pin!(work), pin!(timer));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => timer.as_mut().poll(context).map(|()| None),
    })
    .await
}
