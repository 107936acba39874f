//! The front worker of the agents service: who asks, for what, and who answers (agents.md 2).
//!
//! One table of routes decides ([`route`]); what was decided is what is sent on: the object is called by the decoded name of the
//! session, under a path of the table's own, with headers that the front worker writes itself.

mod auth_routes;
mod bodies;
mod forward;
mod git_credentials;
mod github_routes;
mod health;
mod identity;
mod mailbox_routes;
mod mcp_routes;
mod openapi;
mod overview;
mod paging;
mod pg_connection_routes;
mod pg_sync_routes;
mod platform;
mod rates;
mod reconcile;
pub mod route;
mod runner_routes;
mod scheduled;
mod service;
mod session_list;
mod session_routes;
mod stream_routes;
mod transcripts;
pub mod view;
mod webhook_routes;

pub use mailbox_routes::RunnerVerb;
pub use pg_sync_routes::look_after_bridges;
pub use platform::Platform;
pub(crate) use reconcile::UNUSED_SINCE;
pub use reconcile::{GRACE_MS, Listed, MAX_KILLS, MAX_PAGES, MAX_SANDBOXES, SandboxPage, Sandboxes, reconcile};
pub use scheduled::scheduled;
pub use service::Service;
pub use transcripts::{TranscriptVerb, sweep_transcripts};

use http::{Method, Request, Response, StatusCode};
use serde_json::Value;
use web::{RequestBody as _, ResponseBody, Trace};

use crate::error::{CORS, Error};
use route::{Place, Target};

/// Answers a request to the front worker.
pub async fn handle<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    mut request: Request<P::Request>,
) -> Response<P::Response> {
    let started_ms = platform.now_ms();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let place = route::place(&method, &path);
    let response = match dispatch(platform, service, &mut request, &place).await {
        Ok(response) => response,
        Err(error) => {
            // A known sender who is cut off while writing may see a broken connection instead of the answer, and send it all again.
            if error.is_of_known_sender() {
                web::hear_out(request.body_mut(), &service.heard_out).await;
            } else {
                request.body_mut().cancel().await;
            }
            web::refuse(&error, &CORS, platform.random_uuid(), |event| platform.report(event))
        }
    };
    let (status, ended_ms) = (response.status().as_u16(), platform.now_ms());
    platform.trace(&Trace { method: method.as_str(), route: place.pattern(), status, started_ms, ended_ms });
    response
}

/// The order of checks of agents.md 2.1.
async fn dispatch<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
    place: &Place,
) -> Result<Response<P::Response>, Error> {
    if *place == Place::Health {
        return health::answer(platform, service).await;
    }
    let is_preflight = request.method() == Method::OPTIONS;
    let target = match place {
        Place::Outside if is_preflight => return Ok(web::no_content(&CORS)),
        Place::Health | Place::Outside => return Err(Error::NotFound),
        Place::View(view) => return view::answer(view),
        Place::Stream(stream) => return Ok(stream_routes::answer(platform, service, stream, request).await),
        Place::Inside(_) if is_preflight || request.method() == Method::HEAD => return Ok(web::no_content(&CORS)),
        Place::Inside(found) => found.as_ref().map(|found| &found.target),
    };
    match target {
        Some(Target::OpenApi) => return Ok(openapi::answer()),
        Some(Target::Overview) => return overview::answer(platform, service, request).await,
        // GitHub signs, and whoever runs the agent of a session has a token of another kind.
        Some(Target::GitHubWebhook) => return github_routes::take(platform, service, request).await,
        Some(Target::TranscriptAlias) => return transcripts::alias(platform, service, request).await,
        Some(Target::GitCredentials(id)) => return git_credentials::answer(platform, service, id, request).await,
        Some(Target::Mcp(id)) => return mcp_routes::answer(platform, service, id, request).await,
        Some(Target::Transcript(id, verb)) => return transcripts::answer(platform, service, id, verb, request).await,
        Some(Target::OfRunner(id, verb)) => return mailbox_routes::answer(platform, service, id, verb, request).await,
        Some(Target::DeleteRunner(id)) if mailbox_routes::is_runner(request) => {
            return mailbox_routes::delete(platform, service, id, request).await;
        }
        _ => {}
    }
    let caller = identity::caller(service, request, target, platform.now_ms()).await?;
    match target.ok_or(Error::NotFound)? {
        Target::Import => auth_routes::import(platform, service, &caller, request).await,
        Target::LoginStatus => auth_routes::status(platform, service, &caller).await,
        Target::Logout => auth_routes::revoke(platform, service, &caller).await,
        Target::Runners => runner_routes::list(platform, service, &caller).await,
        Target::RegisterRunner => runner_routes::register(platform, service, &caller, request).await,
        Target::Runner(id) => runner_routes::get(platform, &caller, id).await,
        Target::DeleteRunner(id) => runner_routes::delete(platform, &caller, id).await,
        Target::Heartbeat(id) => runner_routes::heartbeat(platform, &caller, id, request).await,
        Target::Webhooks => webhook_routes::list(platform, &caller).await,
        Target::AddWebhook => webhook_routes::add(platform, service, &caller, request).await,
        Target::DeleteWebhook(id) => webhook_routes::delete(platform, service, &caller, id).await,
        Target::Deliveries(id) => webhook_routes::deliveries(platform, &caller, id, request).await,
        Target::Replay(id, delivery) => webhook_routes::replay(platform, service, &caller, id, delivery, request).await,
        Target::Changes(id) => pg_sync_routes::changes(platform, &caller, id, request).await,
        Target::Connections => pg_connection_routes::list(platform, service, &caller).await,
        Target::PutConnection(name) => pg_connection_routes::put(platform, service, &caller, name, request).await,
        Target::DeleteConnection(name) => pg_connection_routes::delete(platform, service, &caller, name).await,
        Target::TestConnection(name) => pg_connection_routes::test(platform, service, &caller, name, request).await,
        Target::Sessions => session_list::list(platform, &caller, request).await,
        Target::Create => session_routes::create(platform, service, &caller, request).await,
        Target::ObserverToken(id) => session_routes::observer_token(platform, service, &caller, id, request).await,
        Target::OpenApi
        | Target::Overview
        | Target::GitHubWebhook
        | Target::GitCredentials(_)
        | Target::Mcp(_)
        | Target::TranscriptAlias
        | Target::OfRunner(..)
        | Target::Transcript(..) => Err(Error::NotFound),
        Target::Session(id, verb) => session_routes::forward(platform, service, &caller, id, verb, request).await,
    }
}

/// An answer with status 200.
fn ok<R: ResponseBody>(body: &Value) -> Response<R> {
    web::json(&CORS, StatusCode::OK, body.to_string())
}
