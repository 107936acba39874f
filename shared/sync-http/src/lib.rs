//! The HTTP surface of the sync server, once, over ports.
//!
//! [`handle`] is the front worker: it authenticates, authorises, answers the routes of the index and of assets itself
//! and forwards the rest to the graph it belongs to. [`graph_routes`] is what answers inside a graph. Both know their
//! platform only through ports: those of [`web`], of [`platform`] and of [`graph_routes`]. Statuses and error bodies are decided
//! in `error.rs` alone.

pub mod address;
pub mod agents;
pub mod early;
pub mod graph_routes;
pub mod platform;
pub mod route;
pub mod service;

mod asset_conditions;
mod asset_path;
mod assets;
mod delete_graph;
mod error;
mod graph_call;
mod guests;
mod health;
mod identity;
mod index_routes;
mod respond;
mod sync;

use http::header::ORIGIN;
use http::{Request, Response};

use error::Error;
use platform::Platform;
use route::Target;
use service::Service;
use web::{Event, RequestBody as _, ResponseBody, Subject, Trace};

/// Answers a request to the front worker.
pub async fn handle<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    mut request: Request<P::Request>,
) -> Response<P::Response> {
    let started_ms = platform.now_ms();
    let method = request.method().clone();
    let route = route::pattern(&method, request.uri().path());
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = match dispatch(platform, service, &mut request).await {
        Ok(response) => response,
        Err(error) => {
            if error.is_of_known_sender() {
                web::hear_out(request.body_mut(), &service.heard_out).await;
            } else {
                request.body_mut().cancel().await;
            }
            refuse(&error, platform.random_uuid(), |event| platform.report(&Event { route: Some(route), ..*event }))
        }
    };
    guests::name_origin(service.settings.auth.guests(), origin.as_ref(), response.headers_mut());
    let (status, ended_ms) = (response.status().as_u16(), platform.now_ms());
    platform.trace(&Trace { method: method.as_str(), route, status, started_ms, ended_ms });
    response
}

/// Whose token this is, where its owner may enter at all: for what an adapter answers by itself. None where that cannot be found
/// out. Without a token whoever needs none.
pub async fn whose<P: Platform>(platform: &P, service: &Service<P::Keys>, token: Option<&str>) -> Option<auth::Claims> {
    identity::claims_of(platform, service, token).await.ok().flatten()
}

async fn dispatch<P: Platform>(
    platform: &P,
    service: &Service<P::Keys>,
    request: &mut Request<P::Request>,
) -> Result<Response<P::Response>, Error> {
    guests::admit(&service.settings, request)?;
    let path = request.uri().path().to_owned();
    match route::target(request.method(), &path) {
        Target::Health => health::answer(platform, service).await,
        Target::Index => index_routes::handle(platform, service, request).await,
        Target::Agents => agents::forward(platform, service, request).await,
        Target::Asset(rest) => assets::handle(platform, service, request, rest).await,
        Target::Preflight => Ok(respond::no_content()),
        Target::Graph(rest) => sync::forward(platform, service, request, rest).await,
        Target::None => Err(Error::NotFound),
    }
}

/// The answer for an error. An internal one is reported under an id that the answer carries (D-21).
fn refuse<B: ResponseBody>(error: &Error, id: uuid::Uuid, report: impl FnOnce(&Event<'_>)) -> Response<B> {
    web::refuse(error, &respond::CORS, id, report)
}

/// A graph as the subject of an event.
fn graph_subject(id: &str) -> Subject<'_> {
    Subject { kind: "graph-id", id }
}
