//! Members: list, add, change, remove (sync.md 4.6).

use http::StatusCode;
use index::members::{self, Removal};
use index::users;
use protocol::bodies::members::{AddMember, ChangeRole, MemberList, MemberTarget};
use protocol::bodies::{self, Body as _};
use protocol::limits::ID_CHARS;
use web::{Event, Failure, Level};

use super::Call;
use crate::error::Error;
use crate::graph_call::{self, Operation};
use crate::graph_subject;
use crate::platform::Platform;

pub(super) async fn list<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    call.require_access().await?;
    let members = members::list(call.db, call.graph_id()?).await?;
    Ok(MemberList { members }.to_json())
}

pub(super) async fn add<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let wanted = AddMember::parse(body)?;
    call.require_manager().await?;
    let user_id = match wanted.target {
        MemberTarget::UserId(id) => id.into_owned(),
        MemberTarget::Email(email) => {
            users::id_by_email(call.db, &email).await?.ok_or(Error::BadRequest("user not found"))?
        }
    };
    let graph_id = call.graph_id()?;
    if !members::upsert(call.db, graph_id, &user_id, wanted.role, &call.user, call.now_ms).await? {
        return Err(Error::Forbidden);
    }
    // Whoever was removed a moment ago is let in at once. If the graph cannot be told it finds out by itself, because it
    // asks the index about those whom it keeps out.
    tell(call, graph_id, &Operation::Restore(user_id), "db-sync/restore-access-failed").await;
    Ok(bodies::OK.to_owned())
}

pub(super) async fn change_role<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let wanted = ChangeRole::parse(body)?;
    if !members::set_role(call.db, call.graph_id()?, call.member_id()?, wanted.role, &call.user).await? {
        return Err(Error::Forbidden);
    }
    Ok(bodies::OK.to_owned())
}

/// Removes a member. The graph, which remembers it and closes that user's sockets (D-04), is told before and after, whatever
/// becomes of the removal between: the index may have done it although its answer got lost. Told for nothing it finds out
/// by itself, because it asks the index about those whom it keeps out; and the removal stands even if it cannot be told,
/// because it asks for membership itself before it answers (D-18).
pub(super) async fn remove<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    let (graph_id, member_id) = (call.graph_id()?, call.member_id()?);
    let removed = || Ok(bodies::OK.to_owned());
    match members::removal(call.db, graph_id, member_id, &call.user).await? {
        Removal::Forbidden => return Err(Error::Forbidden),
        Removal::Gone => return finish_leaving(call, graph_id).await,
        Removal::Allowed => {}
    }
    let revoke = Operation::Revoke(member_id.to_owned());
    // If it cannot be told now it is told below, and that is reported.
    let _ = try_tell(call, graph_id, &revoke).await;
    let outcome = members::remove(call.db, graph_id, member_id, &call.user).await;
    if matches!(outcome, Ok(false))
        && members::removal(call.db, graph_id, member_id, &call.user).await? == Removal::Forbidden
    {
        // The caller's rights, or the member's, have changed since they were looked at.
        tell(call, graph_id, &Operation::Restore(member_id.to_owned()), "db-sync/restore-access-failed").await;
        return Err(Error::Forbidden);
    }
    tell(call, graph_id, &revoke, "db-sync/revoke-access-failed").await;
    match outcome {
        Ok(_) => removed(),
        // For whoever left the index has nothing more to say: what is true now counts, not the answer that got lost.
        Err(_)
            if member_id == call.user
                && matches!(members::removal(call.db, graph_id, member_id, &call.user).await, Ok(Removal::Gone)) =>
        {
            removed()
        }
        Err(error) => Err(error.into()),
    }
}

/// Somebody leaves who is no member. If they were until a moment ago, or still sit at the graph, an earlier attempt was
/// left half done, and the graph does the rest; it touches nothing for anybody else.
async fn finish_leaving<P: Platform>(call: &Call<'_, P>, graph_id: &str) -> Result<String, Error> {
    match graph_call::send(call.platform, graph_id, &Operation::Leave(call.user.clone())).await? {
        StatusCode::OK => Ok(bodies::OK.to_owned()),
        _ => Err(Error::Forbidden),
    }
}

/// Tells the graph about a change of its members. That it could not be told fails nothing.
async fn tell<P: Platform>(call: &Call<'_, P>, graph_id: &str, operation: &Operation, failed: &'static str) {
    if let Err(failure) = try_tell(call, graph_id, operation).await {
        let event = Event::new(Level::Warning, failed);
        call.platform.report(&event.about(graph_subject(graph_id)).with_error(&failure.to_string()));
    }
}

/// The same. An id that nobody can have is not worth telling, and might be longer than a header may be.
async fn try_tell<P: Platform>(call: &Call<'_, P>, graph_id: &str, operation: &Operation) -> Result<(), Failure> {
    match operation {
        Operation::Revoke(id) | Operation::Restore(id) if id.chars().count() > ID_CHARS => Ok(()),
        _ => graph_call::ask(call.platform, graph_id, operation).await,
    }
}
