//! Members: list, add, change, remove (sync.md 4.6).

use index::members::{self, Removal};
use index::users;
use protocol::bodies::members::{AddMember, ChangeRole, MemberList, MemberTarget};
use protocol::bodies::{self, Body as _};
use protocol::limits::ID_CHARS;

use super::Call;
use crate::error::Error;
use crate::graph_call::{self, Operation};
use crate::platform::Platform;
use crate::report::{Event, Level};

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
    members::upsert(call.db, graph_id, &user_id, wanted.role, &call.user, call.now_ms).await?;
    // Whoever was removed a moment ago is let in at once. If the graph cannot be told it finds out by itself, because it
    // asks the index about those whom it keeps out.
    tell(call, graph_id, &Operation::Restore(user_id), "db-sync/restore-access-failed").await;
    Ok(bodies::OK.to_owned())
}

pub(super) async fn change_role<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let wanted = ChangeRole::parse(body)?;
    call.require_manager().await?;
    members::set_role(call.db, call.graph_id()?, call.member_id()?, wanted.role).await?;
    Ok(bodies::OK.to_owned())
}

/// Removes a member, then tells the graph, which remembers it and closes that user's sockets (D-04). The removal stands
/// even if the graph cannot be told: it asks for membership itself before it answers (D-18).
pub(super) async fn remove<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    let (graph_id, member_id) = (call.graph_id()?, call.member_id()?);
    match members::remove(call.db, graph_id, member_id, &call.user).await? {
        Removal::Forbidden => Err(Error::Forbidden),
        Removal::Removed => {
            tell(call, graph_id, &Operation::Revoke(member_id.to_owned()), "db-sync/revoke-access-failed").await;
            Ok(bodies::OK.to_owned())
        }
    }
}

/// Tells the graph about a change of its members. That it could not be told fails nothing. An id that nobody can have is
/// not worth telling, and might be longer than a header may be.
async fn tell<P: Platform>(call: &Call<'_, P>, graph_id: &str, operation: &Operation, failed: &'static str) {
    let possible = match operation {
        Operation::Revoke(id) | Operation::Restore(id) => id.chars().count() <= ID_CHARS,
        Operation::Delete | Operation::Erase => true,
    };
    if !possible {
        return;
    }
    if let Err(failure) = graph_call::ask(call.platform, graph_id, operation).await {
        let event = Event::new(Level::Warning, failed);
        call.platform.report(&event.about(graph_id).with_error(&failure.to_string()));
    }
}
