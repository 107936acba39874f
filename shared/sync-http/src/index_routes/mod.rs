//! The routes of the index (sync.md 4) and what precedes each of them (2.2).

mod graphs;
mod keys;
mod members;

use http::{Method, Request, Response};
use index::activity::Entity;
use index::{access, users};
use protocol::bodies::Body as _;
use protocol::bodies::graphs::GraphDeleted;
use protocol::body_text;
use protocol::limits::{ID_CHARS, INDEX_BODY_BYTES};
use web::{Failure, RequestBody, Undone, url};

use crate::error::Error;
use crate::platform::Platform;
use crate::route::{IndexMatch, IndexRoute, index_route};
use crate::service::Service;
use crate::{delete_graph, identity, respond};

/// What the handlers of a route work with.
struct Call<'a, P: Platform> {
    platform: &'a P,
    db: &'a P::Db,
    /// The caller's id.
    user: String,
    graph_id: Option<String>,
    member_id: Option<String>,
    now_ms: i64,
}

impl<P: Platform> Call<'_, P> {
    /// The graph in the path, decoded. Every route that asks has one.
    fn graph_id(&self) -> Result<&str, Error> {
        self.graph_id.as_deref().ok_or(Error::BadRequest("missing graph id"))
    }

    fn member_id(&self) -> Result<&str, Error> {
        self.member_id.as_deref().ok_or(Error::BadRequest("invalid user id"))
    }

    async fn require_access(&self) -> Result<(), Error> {
        let allowed = access::has_access(self.db, self.graph_id()?, &self.user).await?;
        allowed.then_some(()).ok_or(Error::Forbidden)
    }

    async fn require_manager(&self) -> Result<(), Error> {
        let allowed = access::is_manager(self.db, self.graph_id()?, &self.user).await?;
        allowed.then_some(()).ok_or(Error::Forbidden)
    }
}

/// Answers a request that the dispatch table sends to the index.
pub(crate) async fn handle<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    if request.method() == Method::OPTIONS || request.method() == Method::HEAD {
        return Ok(respond::no_content());
    }
    let db = platform.db().ok_or(Error::IndexMissing)?;
    let path = request.uri().path().to_owned();
    let found = index_route(request.method(), &path).ok_or(Error::NotFound)?;
    if found.route == IndexRoute::AdminDeleteGraph {
        return admin_delete(platform, service, db, request, &found).await;
    }
    let now_ms = platform.now_ms();
    let user = identify(platform, service, db, request, now_ms).await?;
    touch(platform, service, db, Entity::User(&user), now_ms);
    let call = Call {
        platform,
        db,
        user,
        graph_id: found.graph_id.map(graph_id).transpose()?,
        member_id: found.member_id.map(member_id).transpose()?,
        now_ms,
    };
    let body = answer(&call, service, found.route, request).await?;
    // A graph that has just been deleted was active today all the same.
    if let Some(graph_id) = call.graph_id.as_deref() {
        touch(platform, service, db, Entity::Graph(graph_id), now_ms);
    }
    Ok(respond::ok(body))
}

fn graph_id(encoded: &str) -> Result<String, Error> {
    id(encoded).ok_or(Error::BadRequest("invalid graph id"))
}

fn member_id(encoded: &str) -> Result<String, Error> {
    id(encoded).ok_or(Error::BadRequest("invalid user id"))
}

fn id(encoded: &str) -> Option<String> {
    url::decode(encoded).filter(|id| id.chars().count() <= ID_CHARS)
}

async fn admin_delete<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    db: &P::Db,
    request: &Request<P::Request>,
    found: &IndexMatch<'_>,
) -> Result<Response<P::Response>, Error> {
    if !identity::is_admin(&service.settings, request) {
        return Err(Error::Unauthorized);
    }
    let graph_id = found.graph_id.map(graph_id).transpose()?.ok_or(Error::BadRequest("missing graph id"))?;
    let deleted = delete_graph::run(platform, db, &graph_id).await;
    service.forget_access(&graph_id);
    deleted?;
    Ok(respond::ok(GraphDeleted::new(graph_id).to_json()))
}

/// The caller's id, after its row has been written (sync.md 8.3).
async fn identify<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    db: &P::Db,
    request: &Request<P::Request>,
    now_ms: i64,
) -> Result<String, Error> {
    let claims = identity::claims(platform, service, request).await?.ok_or(Error::Unauthorized)?;
    let user = identity::user(&claims).ok_or(Error::Unauthorized)?;
    users::upsert(db, &service.users, &user, now_ms).await?;
    Ok(user.id.to_owned())
}

/// Notes activity, beside the answer: nobody waits for the note, and that it could not be written fails nothing.
pub(crate) fn touch<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    db: &P::Db,
    entity: Entity<'_>,
    now_ms: i64,
) {
    let Some(note) = service.activity.note(entity, now_ms) else { return };
    let event = match entity {
        Entity::User(_) => "db-sync/activity-touch-failed-user-failed",
        Entity::Graph(_) => "db-sync/activity-touch-failed-graph-failed",
    };
    let db = db.clone();
    platform.wait_until(async move {
        note.write(&db).await.map_err(|error| Undone { event, failure: Failure(error.to_string()) })
    });
}

async fn answer<P: Platform>(
    call: &Call<'_, P>,
    service: &Service<P::Keys>,
    route: IndexRoute,
    request: &mut Request<P::Request>,
) -> Result<String, Error> {
    match route {
        IndexRoute::ListGraphs => graphs::list(call).await,
        IndexRoute::GraphAccess => graphs::access(call).await,
        IndexRoute::DeleteGraph => {
            let answer = graphs::delete(call).await;
            // Also of what broke off a part was done.
            service.forget_access(call.graph_id()?);
            answer
        }
        IndexRoute::ListMembers => members::list(call).await,
        IndexRoute::RemoveMember => {
            let answer = members::remove(call).await;
            service.forget_access(call.graph_id()?);
            answer
        }
        IndexRoute::UserKeys => keys::user_keys(call).await,
        IndexRoute::PublicKey => keys::public_key(call, url::query(request.uri(), "email").as_deref()).await,
        IndexRoute::GraphKey => keys::graph_key(call).await,
        IndexRoute::AdminDeleteGraph => Err(Error::NotFound),
        IndexRoute::CreateGraph => graphs::create(call, &text(request).await?).await,
        IndexRoute::AddMember => {
            let answer = members::add(call, &text(request).await?).await;
            service.forget_access(call.graph_id()?);
            answer
        }
        IndexRoute::ChangeRole => members::change_role(call, &text(request).await?).await,
        IndexRoute::SetUserKeys => keys::set_user_keys(call, &text(request).await?).await,
        IndexRoute::SetGraphKey => keys::set_graph_key(call, &text(request).await?).await,
        IndexRoute::GrantAccess => keys::grant_access(call, &text(request).await?).await,
    }
}

async fn text<B: RequestBody>(request: &mut Request<B>) -> Result<String, Error> {
    let bytes = web::read(request, INDEX_BODY_BYTES).await?;
    Ok(body_text(&bytes).into_owned())
}
