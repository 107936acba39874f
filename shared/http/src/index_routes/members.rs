//! Members: list, add, change, remove (sync.md 4.6).

use index::members::{self, Removal};
use index::users;
use protocol::bodies::members::{AddMember, ChangeRole, MemberList, MemberTarget};
use protocol::bodies::{self, Body as _};

use super::Call;
use crate::error::Error;
use crate::graph_calls;
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
    members::upsert(call.db, call.graph_id()?, &user_id, wanted.role, &call.user, call.now_ms).await?;
    Ok(bodies::OK.to_owned())
}

pub(super) async fn change_role<P: Platform>(call: &Call<'_, P>, body: &str) -> Result<String, Error> {
    let wanted = ChangeRole::parse(body)?;
    call.require_manager().await?;
    members::set_role(call.db, call.graph_id()?, call.member_id()?, wanted.role).await?;
    Ok(bodies::OK.to_owned())
}

/// Removes a member, then tells the graph to close that user's sockets (D-04). The removal stands even if the graph
/// cannot be told: it checks membership itself before it applies transactions (D-18).
pub(super) async fn remove<P: Platform>(call: &Call<'_, P>) -> Result<String, Error> {
    let (graph_id, member_id) = (call.graph_id()?, call.member_id()?);
    match members::remove(call.db, graph_id, member_id, &call.user).await? {
        Removal::Forbidden => Err(Error::Forbidden),
        Removal::Removed => {
            if let Err(failure) = graph_calls::revoke_access(call.platform, graph_id, member_id).await {
                let event = Event::new(Level::Warning, "db-sync/revoke-access-failed");
                call.platform.report(&event.about(graph_id).with_error(&failure.to_string()));
            }
            Ok(bodies::OK.to_owned())
        }
    }
}
